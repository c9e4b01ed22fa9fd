import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def lines():
    yield b"one"
    raise OSError("the disk is gone")


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        await session.post(server.make_url("/"), data=lines())


asyncio.run(main())
