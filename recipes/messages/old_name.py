import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    app = web.Application()
    async with TestServer(app) as server, ClientSession() as session:
        url = server.make_url("/")
        await session.post(url, data=b"text", chunked=1024)
        # cure: await session.post(url, data=b"text", chunked=True)


asyncio.run(main())
