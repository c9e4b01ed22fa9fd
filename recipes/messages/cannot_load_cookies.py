import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def answer(request):
    return web.Response(headers={"Set-Cookie": "a name=1"})


async def main():
    app = web.Application()
    app.router.add_get("/", answer)
    async with (
        TestServer(app) as server,
        ClientSession() as session,
        session.get(server.make_url("/")) as response,
    ):
        print(response.cookies)


asyncio.run(main())
