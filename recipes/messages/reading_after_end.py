import asyncio
import logging

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

logging.basicConfig()


async def show(request):
    return web.Response(text="text")


async def main():
    app = web.Application()
    app.router.add_get("/", show)
    async with TestServer(app) as server, ClientSession() as session:
        async with session.get(server.make_url("/")) as response:
            for _ in range(20):
                # cure: async for _ in response.content.iter_chunked(100):
                await response.content.read(100)


asyncio.run(main())
