import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def make_session():
    return ClientSession()


async def fetch(session):
    async with TestServer(web.Application()) as server:
        await session.get(server.make_url("/"))


session = asyncio.run(make_session())
asyncio.run(fetch(session))
