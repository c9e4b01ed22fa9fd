import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp_session import SimpleCookieStorage, get_session, setup


class Storage(SimpleCookieStorage):
    async def load_session(self, request):
        return {}


async def index(request):
    await get_session(request)
    return web.Response()


async def main():
    app = web.Application()
    setup(app, Storage())
    app.router.add_get("/", index)
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
