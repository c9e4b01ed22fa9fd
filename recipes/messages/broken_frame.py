import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def talk(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    request.transport.write(b"\xf1\x00")
    await ws.close()
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", talk)
    async with TestClient(TestServer(app)) as client:
        ws = await client.ws_connect("/")
        print(await ws.receive())


asyncio.run(main())
