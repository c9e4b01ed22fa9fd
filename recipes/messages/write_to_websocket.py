import asyncio
import logging

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

logging.basicConfig()


async def show(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    await ws.write(b"text")
    # cure: await ws.send_bytes(b"text")
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", show)
    async with TestClient(TestServer(app)) as client:
        async with client.ws_connect("/") as ws:
            await ws.receive()


asyncio.run(main())
