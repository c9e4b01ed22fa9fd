import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def index(request):
    return web.Response(body=bytes(1_000_000))


async def main():
    app = web.Application()
    app.router.add_get("/", index)
    async with TestServer(app) as server, ClientSession() as session:
        response = await session.get(server.make_url("/"))
        print(response.status)
        # cure: response.close()


asyncio.run(main(), debug=True)
