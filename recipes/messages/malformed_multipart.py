import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def upload(request):
    await request.post()
    return web.Response()


async def main():
    app = web.Application()
    app.router.add_post("/", upload)
    kind = "multipart/form-data; boundary=one"
    async with TestClient(TestServer(app)) as client:
        headers = {"Content-Type": kind}
        await client.post("/", data=b"--two\r\n", headers=headers)


asyncio.run(main())
