import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer


async def main():
    inner = web.Application()
    async with TestServer(inner):
        app = web.Application()
        app.add_subapp("/inner", inner)
        # cure: app.add_subapp("/inner", web.Application())


asyncio.run(main())
