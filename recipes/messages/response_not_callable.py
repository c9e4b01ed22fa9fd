import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handle(request):
    return web.Response()


async def middleware(request, handler):
    return web.Response()


async def main():
    app = web.Application(middlewares=[middleware])
    # cure: app = web.Application(middlewares=[web.middleware(middleware)])
    app.router.add_get("/", handle)
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
