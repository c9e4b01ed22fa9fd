import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def talk(request):
    ws = web.WebSocketResponse(protocols=["notes"])
    # cure: ws = web.WebSocketResponse(protocols=["notes", "chat"])
    await ws.prepare(request)
    await ws.close()
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", talk)
    async with TestClient(TestServer(app)) as client:
        ws = await client.ws_connect("/", protocols=["chat"])
        await ws.close()


asyncio.run(main())
