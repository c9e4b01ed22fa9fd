"""What is published before the subscription is confirmed is lost.

Redis keeps nothing for later, and a task that has just been created has not
subscribed yet. Who publishes as soon as the WebSocket is open loses events, 19
of 20 when we counted without the delay below. Wait for the message of type
`subscribe`, and only then tell the client `ready`.

Try it::

    $ python -m websockets "ws://localhost:8080/ws?channel=news"
    < {"type": "ready", "channel": "news"}
    $ curl -d "It rains." localhost:8080/channels/news
    {"receivers": 0}
    < (nothing for 1 s)
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
    ws, channel = web.WebSocketResponse(), request.query["channel"]
    await ws.prepare(request)
    async with request.app[REDIS].pubsub() as pubsub:
        reader = asyncio.create_task(read_events(ws, pubsub))  # wrong
        await ws.send_json({"type": "ready", "channel": channel})
        async for _ in ws:
            pass
        reader.cancel()
    return ws


async def read_events(ws: web.WebSocketResponse, pubsub: PubSub) -> None:
    await asyncio.sleep(0.5)  # a network that is slow for a moment
    await pubsub.subscribe("events:news")
    async for message in pubsub.listen():
        if message["type"] == "message":
            event = {"type": "event", "data": message["data"].decode()}
            await ws.send_json(event)


@routes.post("/channels/{channel}")
async def publish(request: web.Request) -> web.Response:
    """Publish the body."""
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
