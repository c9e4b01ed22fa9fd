import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    while True:
        # cure: async for message in ws:
        await ws.receive()
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.ws_connect("/") as ws:
            await ws.close()


asyncio.run(main())
