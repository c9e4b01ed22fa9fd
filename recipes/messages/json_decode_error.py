import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    return web.json_response(await request.json())


async def main():
    app = web.Application()
    app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:
        await client.post("/")
        # cure: await client.post("/", json={})


asyncio.run(main())
