import asyncio
import logging

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiojobs.aiohttp import setup, spawn

logging.basicConfig()


async def show(request):
    await spawn(request, asyncio.sleep(0))
    return web.Response()


async def main():
    app = web.Application()
    # This application lacks `setup(app)`.
    assert setup
    app.router.add_get("/", show)
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
