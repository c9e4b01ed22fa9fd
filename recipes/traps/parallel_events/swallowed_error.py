"""The reader fails, `task.cancel()` buries the error, the socket is deaf.

The FAQ's `redis.subscribe` is of aioredis; redis-py has no such thing. The task
ends at once with AttributeError, and nobody looks. `cancel()` on a task that
has failed counts as having looked: asyncio no longer says that the exception
was never retrieved. The socket stays open, without events and without a log
line.

Try it::

    $ python -m websockets "ws://localhost:8080/ws?channel=news"
    $ curl -d "It rains." localhost:8080/channels/news
    {"receivers": 0}
    < (nothing for 1 s)
    Log: (nothing in the log)
"""

import asyncio
import os

from aiohttp import web
from redis.asyncio import Redis

REDIS = web.AppKey("REDIS", Redis)

routes = web.RouteTableDef()


@routes.get("/ws")
async def listen(request: web.Request) -> web.StreamResponse:
    """Send the events of a channel."""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    reader = asyncio.create_task(read_events(ws, request.app[REDIS]))
    try:
        async for _ in ws:
            pass
    finally:
        reader.cancel()  # wrong
    return ws


async def read_events(ws: web.WebSocketResponse, redis: Redis) -> None:
    # No such attribute: that is the error.
    (channel,) = await redis.subscribe("events:news")  # type: ignore[attr-defined]
    async for message in channel.iter():
        await ws.send_str(message)


@routes.post("/channels/{channel}")
async def publish(request: web.Request) -> web.Response:
    """Publish the body; answer how many are subscribed."""
    channel = f"events:{request.match_info['channel']}"
    count = await request.app[REDIS].publish(channel, await request.text())
    return web.json_response({"receivers": count})


def create_app() -> web.Application:
    app = web.Application()
    app[REDIS] = Redis.from_url(os.environ["REDIS_URL"])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
