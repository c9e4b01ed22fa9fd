# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""Can a handler receive incoming events from different sources in parallel?

Yes: one task reads the WebSocket, another Redis, and either may send. But let
one reader serve all: the FAQ's reader for each socket costs a connection each
(redis-py 8 refuses the 101st). Let no send wait: one peer that does not read
would stop all the others (aiohttp#1823). Wait for `ready`: what is published
before Redis has confirmed the subscription is lost.

Try it::

    $ python -m websockets ws://localhost:8080/ws?channel=news
    < {"type": "ready", "channel": "news"}
    $ curl -d "It rains." localhost:8080/channels/news
    {"receivers": 1}
    < {"type": "event", "data": "It rains."}
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import chain, count

from aiohttp import WSMsgType, web
from aiojobs import Scheduler
from redis.asyncio import Redis, RedisError

REDIS = web.AppKey("REDIS", Redis)
RETRY = {"Retry-After": "1"}
Sockets = dict[web.WebSocketResponse, asyncio.Transport]
SOCKETS = web.AppKey("SOCKETS", dict[str, Sockets])
SUBSCRIBED = web.AppKey("SUBSCRIBED", asyncio.Event)
respond = web.json_response
routes = web.RouteTableDef()


@asynccontextmanager
async def reader(app: web.Application) -> AsyncIterator[None]:
    async with aclosing(app[REDIS]), Scheduler(wait_timeout=0) as tasks:
        await tasks.spawn(read_events(app))
        with suppress(TimeoutError):
            await asyncio.wait_for(app[SUBSCRIBED].wait(), 1)
        yield


async def read_events(app: web.Application) -> None:
    for attempt in count():
        try:
            await subscribe(app)
        except Exception as error:
            if app[SUBSCRIBED].is_set() or attempt == 0:
                app.logger.warning("no events: %s", str(error) or "no reply")
            app[SUBSCRIBED].clear()
            await asyncio.sleep(0.5)


async def subscribe(app: web.Application) -> None:
    await app[REDIS].connection_pool.disconnect()  # an outage made it stale
    async with app[REDIS].pubsub() as pubsub:
        await pubsub.psubscribe("events:*")
        while True:
            async with asyncio.timeout(2):
                while not (got := await pubsub.get_message(timeout=1)):
                    await pubsub.ping()  # listen() misses that Redis is frozen
            if got["type"] == "psubscribe":
                app[SUBSCRIBED].set()
                for channel, sockets in app[SOCKETS].items():
                    await send(sockets, type="ready", channel=channel)
            elif got["type"] == "pmessage" and len(got["data"]) <= 2**16:
                with suppress(UnicodeDecodeError):
                    sockets = app[SOCKETS].get(got["channel"][7:].decode(), {})
                    await send(sockets, type="event", data=got["data"].decode())
            await asyncio.sleep(0)  # in a burst, nothing above lets others run


@routes.get("/ws")
async def listen(request: web.Request) -> web.StreamResponse:
    """Send the events of a channel, and echo what the client sends."""
    channel = ",".join(request.query.getall("channel", ["news"]))
    registry, transport = request.app[SOCKETS], request.transport
    if not (transport and re.fullmatch("[A-Za-z0-9_-]{1,64}", channel)):
        return respond({"error": "this is no name of a channel"}, status=400)
    if not request.app[SUBSCRIBED].is_set():
        return respond({"error": "Redis is away"}, status=503, headers=RETRY)
    ws = web.WebSocketResponse(heartbeat=20, max_msg_size=65537, compress=False)
    try:
        await ws.prepare(request)
    except (ValueError, web.HTTPBadRequest):
        return respond({"error": "this is no handshake"}, status=400)
    # Twice what send() lets a peer leave unread, so that it never waits.
    transport.set_write_buffer_limits(high=2**20, low=2**20)
    registry.setdefault(channel, {})[ws] = transport
    try:
        await send({ws: transport}, type="ready", channel=channel)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await send({ws: transport}, type="echo", data=message.data)
    finally:
        del registry[channel][ws]
        if not registry[channel]:
            del registry[channel]
        transport.abort()
    return ws


async def send(sockets: Sockets, **message: str) -> None:
    frame = json.dumps(message).encode()
    for ws, transport in sockets.items():
        if transport.get_write_buffer_size() > 2**19:
            transport.abort()
        elif not (ws.closed or transport.is_closing()):
            await ws.send_frame(frame, WSMsgType.TEXT)


@routes.post("/channels/{channel:[A-Za-z0-9_-]{1,64}}")
async def publish(request: web.Request) -> web.Response:
    """Publish the body; answer how many sockets here are on the channel."""
    redis, channel = request.app[REDIS], request.match_info["channel"]
    try:
        event = (await request.clone(client_max_size=2**16).read()).decode()
        await asyncio.wait_for(redis.publish(f"events:{channel}", event), 1)
    except web.HTTPRequestEntityTooLarge:
        return respond({"error": "an event has at most 64 KiB"}, status=413)
    except (ValueError, web.RequestPayloadError):
        return respond({"error": "an event is text in UTF-8"}, status=400)
    except (RedisError, TimeoutError):
        return respond({"error": "Redis is away"}, status=503, headers=RETRY)
    return respond({"receivers": len(request.app[SOCKETS].get(channel, {}))})


@routes.get("/stats")
async def count_sockets(request: web.Request) -> web.Response:
    """Count the sockets of this process, and their channels."""
    groups = request.app[SOCKETS].values()
    return respond({"sockets": sum(map(len, groups)), "channels": len(groups)})


async def close_sockets(app: web.Application) -> None:
    sockets = dict(chain(*map(dict.items, app[SOCKETS].values())))
    for transport in sockets.values():
        asyncio.get_running_loop().call_later(1, transport.abort)
    await asyncio.gather(*(ws.close(code=1001, drain=False) for ws in sockets))


def create_app(*, redis_url: str = "redis://localhost") -> web.Application:
    app = web.Application()
    app[REDIS] = Redis.from_url(redis_url, single_connection_client=True)
    app[SOCKETS], app[SUBSCRIBED] = {}, asyncio.Event()
    app.cleanup_ctx.append(reader)
    app.on_shutdown.append(close_sockets)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(redis_url=os.environ.get("REDIS_URL", "redis://localhost"))
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
