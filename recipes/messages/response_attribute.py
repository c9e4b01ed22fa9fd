import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
        session.get(server.make_url("/")) as response,
    ):
        print(response.status_code)
        # cure: print(response.status)


asyncio.run(main())
