import asyncio

import aiohttp_session
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    return {"answer": 42}
    # cure: return web.json_response({"answer": 42})


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    aiohttp_session.setup(app, aiohttp_session.SimpleCookieStorage())
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
