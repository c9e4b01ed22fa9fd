import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        headers = {"X-Number": 5}
        # cure: headers = {"X-Number": "5"}
        async with session.get(
            server.make_url("/"), headers=headers
        ) as response:
            print(response.status)


asyncio.run(main())
