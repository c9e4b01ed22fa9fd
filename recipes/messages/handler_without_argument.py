import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def index():
    # cure: async def index(request):
    return web.Response()


async def main():
    app = web.Application()
    app.router.add_get("/", index)
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
