import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def factory(app, handler):
    async def middleware(request):
        return await handler(request)

    return middleware


@web.middleware
async def new_style(request, handler):
    return await handler(request)


async def main():
    app = web.Application(middlewares=[factory])
    # cure: app = web.Application(middlewares=[new_style])
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
