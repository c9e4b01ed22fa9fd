import asyncio
import logging

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

logging.basicConfig()


@web.middleware
async def check(request, handler):
    return await handler(request)


async def main():
    app = web.Application()
    app.router.add_get("/", check)
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
