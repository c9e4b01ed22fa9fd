import asyncio
import logging

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

logging.basicConfig()


async def show(request):
    response = web.StreamResponse()
    await response.prepare(request)
    response.set_status(404)
    return response


async def main():
    app = web.Application()
    app.router.add_get("/", show)
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
