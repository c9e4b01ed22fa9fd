import asyncio

from aiohttp import ClientSession, DigestAuthMiddleware, web
from aiohttp.test_utils import TestServer


async def show(request):
    headers = {"WWW-Authenticate": 'Digest nonce="1"'}
    raise web.HTTPUnauthorized(headers=headers)


async def main():
    app = web.Application()
    app.router.add_get("/", show)
    middleware = DigestAuthMiddleware("ann", "secret")
    async with TestServer(app) as server:
        async with ClientSession(middlewares=[middleware]) as session:
            await session.get(server.make_url("/"))


asyncio.run(main())
