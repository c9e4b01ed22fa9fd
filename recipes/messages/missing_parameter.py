import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def show(request):
    return web.Response(text=request.match_info["user"])
    # cure: return web.Response(text=request.match_info["id"])


async def main():
    app = web.Application()
    app.router.add_get("/users/{id}", show)
    async with TestClient(TestServer(app)) as client:
        await client.get("/users/42")


asyncio.run(main())
