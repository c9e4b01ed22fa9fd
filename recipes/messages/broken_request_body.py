import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    return web.Response(body=await request.read())


async def main():
    app = web.Application()
    app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:
        headers = {"Content-Encoding": "gzip"}
        # cure: headers = {}
        await client.post("/", data=b"no gzip", headers=headers)


asyncio.run(main())
