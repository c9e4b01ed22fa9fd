import asyncio
from io import BytesIO

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    body = await request.read()
    return web.Response(text=str(len(body)))


async def main():
    app = web.Application()
    # cure: app = web.Application(client_max_size=2**22)
    app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.post("/", data=BytesIO(bytes(2**20 + 1))) as response:
            print(await response.text())


asyncio.run(main())
