"""Shows what an echo sends that does not await `send_str()`, and one that does.

A client says hello to each, and ends the connection.
"""

import asyncio
import warnings

from aiohttp import WSMessage, web
from aiohttp.test_utils import TestClient, TestServer

warnings.showwarning = lambda message, *_: print(message)  # type: ignore[assignment]


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        if request.path == "/printed":
            ws.send_str(message.data)  # type: ignore[unused-coroutine]
        else:
            await ws.send_str(message.data)
        await ws.close()
    return ws


async def main() -> None:
    app = web.Application()
    app.router.add_get("/{shape}", echo)
    async with TestClient(TestServer(app)) as client:
        for path in ("/printed", "/awaited"):
            async with client.ws_connect(path) as ws:
                await ws.send_str("hello")
                message: WSMessage = await ws.receive()
                print(path, message.type.name, message.data)


asyncio.run(main())
