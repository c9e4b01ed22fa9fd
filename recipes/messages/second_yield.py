import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer


async def context(app):
    yield
    yield
    # cure: print("closed")


async def main():
    app = web.Application()
    app.cleanup_ctx.append(context)
    async with TestServer(app):
        pass


asyncio.run(main())
