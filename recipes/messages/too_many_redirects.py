import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def handler(request):
    raise web.HTTPFound("/")


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server, ClientSession() as session:
        follow = True
        # cure: follow = False
        url = server.make_url("/")
        async with session.get(url, allow_redirects=follow) as response:
            print(response.status)


asyncio.run(main())
