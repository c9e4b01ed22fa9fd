import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        response = session.get(server.make_url("/"))
        # cure: response = await session.get(server.make_url("/"))
        print(response.status)


asyncio.run(main())
