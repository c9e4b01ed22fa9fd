import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    return web.Response()


async def main():
    app = web.Application()
    app.router.add_get("/items", handler)
    async with TestClient(TestServer(app)) as client:
        path = "/items/"
        # cure: path = "/items"
        async with client.get(path) as response:
            print(await response.text())


asyncio.run(main())
