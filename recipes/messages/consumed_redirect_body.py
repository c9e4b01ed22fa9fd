import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def handler(request):
    await request.read()
    raise web.HTTPTemporaryRedirect("/")


async def body():
    yield b"once"


async def main():
    app = web.Application()
    app.router.add_post("/", handler)
    async with TestServer(app) as server, ClientSession() as session:
        await session.post(server.make_url("/"), data=body())


asyncio.run(main())
