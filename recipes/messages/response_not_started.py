import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def index(request):
    ws = web.WebSocketResponse()
    await ws.write_eof()
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", index)
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
