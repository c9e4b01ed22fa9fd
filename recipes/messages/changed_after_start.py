import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer


async def main():
    app = web.Application()
    async with TestServer(app):
        app["name"] = "cookbook"


asyncio.run(main())
