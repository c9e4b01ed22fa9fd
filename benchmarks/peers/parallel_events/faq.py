"""The shape that the FAQ of aiohttp gives: a reader for each socket."""

import asyncio
import sys

from aiohttp import WSMsgType, web
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from benchmarks.peers.parallel_events import CHANNEL
from benchmarks.serve import serve

REDIS = web.AppKey("REDIS", Redis)

MAX_CONNECTIONS = 20_000
"""One for each socket."""


async def handler(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async with request.app[REDIS].pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        task = asyncio.create_task(read_subscription(ws, pubsub))
        try:
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    await ws.send_json({"type": "echo", "data": message.data})
        finally:
            task.cancel()
    return ws


async def read_subscription(ws: web.WebSocketResponse, pubsub: PubSub) -> None:
    async for message in pubsub.listen():
        if message["type"] == "subscribe":
            await ws.send_json({"type": "ready", "channel": "news"})
        else:
            await ws.send_json({"type": "event", "data": message["data"]})


if __name__ == "__main__":
    app = web.Application()
    app[REDIS] = Redis.from_url(
        sys.argv[1], decode_responses=True, max_connections=MAX_CONNECTIONS
    )
    app.router.add_get("/ws", handler)
    serve(app)
