import asyncio

from aiohttp import ClientSession, ClientTimeout, web
from aiohttp.test_utils import TestServer


async def handler(request):
    await asyncio.sleep(0.2)
    return web.Response()


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    timeout = ClientTimeout(sock_read=0.1)
    # cure: timeout = ClientTimeout(sock_read=10)
    async with (
        TestServer(app) as server,
        ClientSession(timeout=timeout) as session,
    ):
        async with session.get(server.make_url("/")) as response:
            print(response.status)


asyncio.run(main())
