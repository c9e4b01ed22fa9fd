import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer

app = web.Application()


async def main():
    async with TestServer(app):
        # cure: async with TestServer(web.Application()):
        pass


asyncio.run(main())
asyncio.run(main())
