import asyncio

from aiohttp import web


async def handler(request):
    raise web.HTTPFound("/login")


asyncio.run(handler(None))
