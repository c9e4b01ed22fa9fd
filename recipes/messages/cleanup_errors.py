import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer


async def fail(app):
    yield
    raise RuntimeError("A context has failed.")


async def main():
    app = web.Application()
    app.cleanup_ctx.extend([fail, fail])
    async with TestServer(app):
        pass


asyncio.run(main())
