import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    await ws.send_str({"answer": 42})
    # cure: await ws.send_json({"answer": 42})
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.ws_connect("/") as ws:
            print(await ws.receive())


asyncio.run(main())
