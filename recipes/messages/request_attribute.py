import asyncio
import logging

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

logging.basicConfig()


async def show(request):
    return web.Response(text=str(request.args))
    # cure: return web.Response(text=str(request.query))


async def main():
    app = web.Application()
    app.router.add_get("/", show)
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
