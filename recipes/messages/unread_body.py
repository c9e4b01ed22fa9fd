import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def show(request):
    return web.Response(body=b"text", content_type="text/plain")


async def main():
    app = web.Application()
    app.router.add_get("/", show)
    async with TestServer(app) as server, ClientSession() as session:
        async with session.get(server.make_url("/")) as response:
            response.get_encoding()


asyncio.run(main())
