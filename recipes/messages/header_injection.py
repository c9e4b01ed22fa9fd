import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        headers = {"X-Token": "secret\n"}
        # cure: headers = {"X-Token": "secret"}
        async with session.get(
            server.make_url("/"), headers=headers
        ) as response:
            print(response.status)


asyncio.run(main())
