import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with TestServer(web.Application()) as server:
        url = server.make_url("/").with_scheme("https")
        # cure: url = server.make_url("/")
        async with ClientSession() as session, session.get(url) as response:
            print(response.status)


asyncio.run(main())
