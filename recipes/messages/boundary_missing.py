import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    await request.post()
    return web.Response()


async def main():
    app = web.Application()
    app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:
        headers = {"Content-Type": "multipart/form-data"}
        # cure: headers = {}
        await client.post("/", data=b"name=value", headers=headers)


asyncio.run(main())
