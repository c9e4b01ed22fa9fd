import asyncio
import logging

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

logging.basicConfig()


async def show(request):
    return web.Response(text=str(request.http_range))


async def main():
    app = web.Application()
    app.router.add_get("/", show)
    async with TestClient(TestServer(app)) as client:
        await client.get("/", headers={"Range": "lines=1-2"})
        # cure: await client.get("/", headers={"Range": "bytes=1-2"})


asyncio.run(main())
