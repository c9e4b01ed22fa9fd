import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        await session.get(server.make_url("/"), verify=False)
        # cure: await session.get(server.make_url("/"), ssl=False)


asyncio.run(main())
