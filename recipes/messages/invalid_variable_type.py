import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        params = {"flag": True}
        # cure: params = {"flag": "true"}
        async with session.get(server.make_url("/"), params=params) as response:
            print(response.status)


asyncio.run(main())
