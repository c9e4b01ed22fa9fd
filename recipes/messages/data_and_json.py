import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        body = {"data": b"1", "json": 1}
        # cure: body = {"json": 1}
        async with session.post(server.make_url("/"), **body) as response:
            print(response.status)


asyncio.run(main())
