from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from asyncio import run


async def handler(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    ws.can_prepare(request)
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.ws_connect("/") as ws:
            await ws.receive()


run(main())
