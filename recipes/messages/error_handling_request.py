import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    return web.Response(text=request.query["name"])
    # cure: return web.Response(text=request.query.get("name", "nobody"))


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
