import asyncio

from aiohttp import web

loop = asyncio.new_event_loop()
app = web.Application(loop=loop)
# cure: app = web.Application()
loop.close()
