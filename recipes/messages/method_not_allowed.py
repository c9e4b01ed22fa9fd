import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    return web.Response()


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    # cure: app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.post("/") as response:
            print(await response.text())


asyncio.run(main())
