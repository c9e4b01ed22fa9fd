import asyncio

from aiohttp import ClientSession


async def make_session():
    return ClientSession()


async def fetch(session):
    await session.get("http://127.0.0.1:1")


loop = asyncio.new_event_loop()
session = loop.run_until_complete(make_session())
try:
    asyncio.run(fetch(session))
finally:
    loop.run_until_complete(session.close())
    loop.close()
