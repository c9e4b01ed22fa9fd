"""Shows what aiohttp answers to two keys of a handshake that are no keys."""

import asyncio
import logging

from aiohttp import web

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    try:
        await ws.prepare(request)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
        raise
    return ws


async def main() -> None:
    logging.disable()
    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    for key in (b"short", b"\xff" * 24):
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(HANDSHAKE % key)
        print((await reader.readline()).decode().strip())
        writer.close()
    await runner.cleanup()


asyncio.run(main())
