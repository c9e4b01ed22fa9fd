import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def handler(request):
    headers = {"Content-Encoding": "gzip"}
    # cure: headers = {}
    return web.Response(body=b"This is no gzip.", headers=headers)


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server, ClientSession() as session:
        async with session.get(server.make_url("/")) as response:
            print(await response.read())


asyncio.run(main())
