import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.ws_connect("/") as ws:
            print(await ws.receive_str())
            # cure: print([message async for message in ws])


asyncio.run(main())
