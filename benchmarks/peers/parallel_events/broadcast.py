"""The `broadcast` of the library websockets: one reader, no waiting."""

import json
import sys

import uvloop
from redis.asyncio import Redis
from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.peers.parallel_events import CHANNEL


async def main(redis_url: str) -> None:
    connections = set[ServerConnection]()

    async def handler(websocket: ServerConnection) -> None:
        connections.add(websocket)
        try:
            await websocket.send('{"type": "ready", "channel": "news"}')
            await websocket.wait_closed()
        finally:
            connections.discard(websocket)

    redis = Redis.from_url(redis_url, decode_responses=True)
    async with redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        async with serve(handler, "127.0.0.1", 0) as server:
            [listener] = server.sockets
            print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
            async for message in pubsub.listen():
                if message["type"] == "message":
                    event = {"type": "event", "data": message["data"]}
                    broadcast(connections, json.dumps(event))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
