import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with TestServer(web.Application()) as server:
        async with ClientSession() as session:
            pass
        await session.get(server.make_url("/"))


asyncio.run(main())
