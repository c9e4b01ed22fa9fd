import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/ws", handler)
    async with TestClient(TestServer(app)) as client:
        path = "/"
        # cure: path = "/ws"
        async with client.ws_connect(path) as ws:
            print(await ws.receive())


asyncio.run(main())
