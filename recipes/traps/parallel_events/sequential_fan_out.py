"""One peer that does not read stops the events of all others.

`await ws.send_str()` waits while a peer's buffers are full. In a loop over all
sockets, everybody behind it waits too, for as long as it pleases the peer
(aiohttp#1823); a heartbeat marks it as closed, and the send still waits. Give
each socket a bounded buffer, and drop who does not read.

Try it::

    $ curl -N -o /dev/null -H "Connection: Upgrade" -H "Upgrade: websocket" \\
        -H "Sec-WebSocket-Version: 13" \\
        -H "Sec-WebSocket-Key: $(printf %022d 0)==" \\
        "localhost:8080/ws?channel=big" & sleep 0.5; kill -STOP $!
    $ python -m websockets "ws://localhost:8080/ws?channel=news"
    < {"type": "ready", "channel": "news"}
    $ head -c 60000 /dev/zero | tr '\\0' x >big; \\
        curl -o /dev/null -d @big "localhost:8080/channels/big?n=[1-200]"
    $ curl -d "It rains." localhost:8080/channels/news
    {"receivers": 1}
    < (nothing for 1 s)
"""

import asyncio
import os
from collections.abc import AsyncIterator

from aiohttp import web
from redis.asyncio import Redis

REDIS = web.AppKey("REDIS", Redis)
SOCKETS = web.AppKey("SOCKETS", set[tuple[str, web.WebSocketResponse]])

routes = web.RouteTableDef()


async def reader(app: web.Application) -> AsyncIterator[None]:
    async with Redis.from_url(os.environ["REDIS_URL"]) as app[REDIS]:
        task = asyncio.create_task(read_events(app))
        yield
        task.cancel()


async def read_events(app: web.Application) -> None:
    async with app[REDIS].pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.psubscribe("events:*")
        async for message in pubsub.listen():
            event = {"type": "event", "data": message["data"].decode()}
            for channel, ws in app[SOCKETS].copy():
                if channel == message["channel"].decode():
                    await ws.send_json(event)  # wrong


@routes.get("/ws")
async def listen(request: web.Request) -> web.StreamResponse:
    """Send the events of a channel."""
    ws, channel = web.WebSocketResponse(), request.query["channel"]
    await ws.prepare(request)
    await ws.send_json({"type": "ready", "channel": channel})
    request.app[SOCKETS].add((f"events:{channel}", ws))
    async for _ in ws:
        pass
    request.app[SOCKETS].discard((f"events:{channel}", ws))
    return ws


@routes.post("/channels/{channel}")
async def publish(request: web.Request) -> web.Response:
    """Publish the body; answer how many sockets are on the channel."""
    channel = f"events:{request.match_info['channel']}"
    await request.app[REDIS].publish(channel, await request.text())
    on_channel = [ws for name, ws in request.app[SOCKETS] if name == channel]
    return web.json_response({"receivers": len(on_channel)})


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = set()
    app.cleanup_ctx.append(reader)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
