import aiohttp_session
from aiohttp import web

app = web.Application()
storage = aiohttp_session.SimpleCookieStorage
# cure: storage = aiohttp_session.SimpleCookieStorage()
aiohttp_session.setup(app, storage)
