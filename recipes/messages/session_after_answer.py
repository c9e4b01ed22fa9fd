import asyncio

import aiohttp_session
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    response = web.Response()
    await response.prepare(request)
    session = await aiohttp_session.get_session(request)
    session["user"] = "Ann"
    return response


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    aiohttp_session.setup(app, aiohttp_session.SimpleCookieStorage())
    async with TestClient(TestServer(app)) as client:
        async with client.get("/") as response:
            print(response.status)


asyncio.run(main())
