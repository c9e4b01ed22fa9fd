import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        raises = True
        # cure: raises = False
        async with session.get(server.make_url("/"), raise_for_status=raises):
            print("answered")


asyncio.run(main())
