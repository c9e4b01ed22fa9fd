import asyncio

import aiohttp_session
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    session = await aiohttp_session.get_session(request)
    return web.Response(text=str(session.new))


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    # cure: aiohttp_session.setup(app, aiohttp_session.SimpleCookieStorage())
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
