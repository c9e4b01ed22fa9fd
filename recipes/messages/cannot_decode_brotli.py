import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def handler(request):
    brotli = bytes.fromhex("8b0080414203")
    if "br" not in request.headers["Accept-Encoding"]:
        return web.Response(body=b"A")
    return web.Response(body=brotli, headers={"Content-Encoding": "br"})


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server, ClientSession() as session:
        headers = {"Accept-Encoding": "gzip, deflate, br"}
        # cure: headers = {}
        async with session.get(
            server.make_url("/"), headers=headers
        ) as response:
            print(await response.read())


asyncio.run(main())
