import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer


async def handler(request):
    return web.Response()


async def main():
    app = web.Application()
    async with TestServer(app):
        app.router.add_get("/", handler)


asyncio.run(main())
