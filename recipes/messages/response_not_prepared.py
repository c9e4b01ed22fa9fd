import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    ws = web.WebSocketResponse()
    # cure: ws = web.WebSocketResponse(); await ws.prepare(request)
    await ws.send_str("Hello")
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        try:
            await client.ws_connect("/")
        except OSError:
            print("The client gets an error of its own.")


asyncio.run(main())
