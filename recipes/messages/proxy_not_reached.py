import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        proxy = "http://127.0.0.1:1"
        # cure: proxy = None
        async with session.get(server.make_url("/"), proxy=proxy) as response:
            print(response.status)


asyncio.run(main())
