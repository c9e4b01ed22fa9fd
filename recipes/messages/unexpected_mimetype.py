import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def handler(request):
    return web.Response(text='{"answer": 42}')


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server, ClientSession() as session:
        async with session.get(server.make_url("/")) as response:
            await response.json()
            # cure: await response.json(content_type=None)


asyncio.run(main())
