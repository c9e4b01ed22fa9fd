import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    ws = web.WebSocketResponse(max_msg_size=100)
    # cure: ws = web.WebSocketResponse(max_msg_size=1000)
    await ws.prepare(request)
    await ws.receive()
    if ws.exception():
        raise ws.exception()
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.ws_connect("/") as ws:
            await ws.send_str("x" * 200)
            await ws.receive()


asyncio.run(main())
