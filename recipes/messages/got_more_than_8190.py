import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def handler(request):
    return web.Response(headers={"X-Long": "x" * 9000})


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server:
        async with ClientSession() as session:
            # cure: async with ClientSession(max_field_size=16384) as session:
            async with session.get(server.make_url("/")) as response:
                print(response.status)


asyncio.run(main())
