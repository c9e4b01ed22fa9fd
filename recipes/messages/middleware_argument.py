import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


@web.middleware
async def middleware(request, next_handler):
    # cure: async def middleware(request, handler):
    return web.Response()


async def main():
    app = web.Application(middlewares=[middleware])
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
