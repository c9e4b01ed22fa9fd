import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def handler(request):
    return web.Response(body=bytes(2**20))


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server, ClientSession() as session:
        async with session.get(server.make_url("/")) as response:
            pass
        print(len(await response.read()))


asyncio.run(main())
