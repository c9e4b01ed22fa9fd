"""A subscription for each WebSocket: the 101st is deaf.

Each `pubsub()` holds a connection to Redis for itself, and since redis-py 8 a
client has 100 of them. The next socket gets no events, and every other command
of the client fails (hopeit.engine#222): here the publishing. One reader serves
all sockets on one connection.

Try it::

    $ for i in $(seq 100); do \\
        curl -Nm 4 -o /dev/null \\
        -H "Connection: Upgrade" -H "Upgrade: websocket" \\
        -H "Sec-WebSocket-Version: 13" \\
        -H "Sec-WebSocket-Key: $(printf %022d 0)==" \\
        "localhost:8080/ws?channel=news" 2>/dev/null & done; sleep 2
    $ curl -d "It rains." localhost:8080/channels/news
    500 Internal Server Error...
    Log: ...redis.exceptions.MaxConnectionsError: Too many connections
"""

import asyncio
import os

from aiohttp import web
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

REDIS = web.AppKey("REDIS", Redis)

routes = web.RouteTableDef()


@routes.get("/ws")
async def listen(request: web.Request) -> web.StreamResponse:
    """Send the events of a channel."""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    channel = f"events:{request.query['channel']}"
    async with request.app[REDIS].pubsub() as pubsub:  # wrong
        await pubsub.subscribe(channel)
        reader = asyncio.create_task(read_events(ws, pubsub))
        async for _ in ws:
            pass
        reader.cancel()
    return ws


async def read_events(ws: web.WebSocketResponse, pubsub: PubSub) -> None:
    async for message in pubsub.listen():
        if message["type"] == "message":
            await ws.send_str(message["data"].decode())


@routes.post("/channels/{channel}")
async def publish(request: web.Request) -> web.Response:
    """Publish the body."""
    channel = f"events:{request.match_info['channel']}"
    await request.app[REDIS].publish(channel, await request.text())
    return web.json_response({})


def create_app() -> web.Application:
    app = web.Application()
    app[REDIS] = Redis.from_url(os.environ["REDIS_URL"])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
