import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    await request.read()
    # cure: request = request.clone()
    return web.Response(text=request.clone(method="PUT").method)


async def main():
    app = web.Application()
    app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:
        await client.post("/", data=b"body")


asyncio.run(main())
