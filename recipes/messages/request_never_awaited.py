import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        session.get(server.make_url("/"))
        # cure: await session.get(server.make_url("/"))


asyncio.run(main())
