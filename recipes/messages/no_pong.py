import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    # A server that does not read answers no ping.
    await asyncio.sleep(0.3)
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.ws_connect("/", heartbeat=0.1) as ws:
            await ws.receive()
            raise ws.exception()


asyncio.run(main())
