import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer

NAME = web.AppKey("NAME", str)


async def main():
    app = web.Application()
    async with TestServer(app):
        app[NAME] = "cookbook"


asyncio.run(main())
