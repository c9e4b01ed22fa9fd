import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def handler(request):
    return web.Response(headers={"X-Long": "x" * 9000})


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    limit = 8190
    # cure: limit = 16384
    async with TestServer(app) as server:
        async with ClientSession(max_field_size=limit) as session:
            async with session.get(server.make_url("/")) as response:
                print(response.status)


asyncio.run(main())
