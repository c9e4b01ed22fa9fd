# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10,<4", "redis>=5.0.1"]
# ///
"""Can a handler receive incoming events from different sources in parallel?

Let the handler read its WebSocket, and let one task read Redis for the whole
process. Either may send, but only one task may read a WebSocket. Limit the time
of each send: one client that does not read would stop all others.

Try it::

    $ python -m websockets "ws://localhost:8080/ws?channel=news"
    < {"type": "ready", "channel": "news"}
    > Hello?
    < {"type": "echo", "data": "Hello?"}
    $ curl -d "It rains." localhost:8080/channels/news
    {"receivers": 1}
    < {"type": "event", "data": "It rains."}

Good to know:

- In the FAQ of aiohttp 3.14, each WebSocket has a reader of its own. With
  redis-py, that is a connection to Redis for each.
- Wait for `ready` before you publish: what is published before Redis confirms
  the subscription is lost. A second `ready` says that events may be missing.
- `receivers` counts the sockets of one process.
- While Redis is away, sockets stay open. New ones and publishers get a 503.
- Pages of other sites can connect and publish: check `Origin` to prevent that.
- production/parallel_events.py never waits for a send, and notices a Redis that
  is frozen. It limits names and floods, and a client that comes back gets what
  it has missed.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple, cast

from aiohttp import WSMsgType, web
from redis.asyncio import Redis, RedisError


class Socket(NamedTuple):
    channel: str
    ws: web.WebSocketResponse
    transport: asyncio.Transport


REDIS = web.AppKey("REDIS", Redis)
# Set while this process is subscribed.
READY = web.AppKey("READY", asyncio.Event)
SOCKETS = web.AppKey("SOCKETS", set[Socket])
# Seconds that a send waits for its client, and that Redis has to answer.
WAIT = 1.0

routes = web.RouteTableDef()


# answer
async def read_redis(app: web.Application) -> None:
    async with app[REDIS].pubsub() as pubsub:
        # One subscription for all sockets, whatever their channels.
        await pubsub.psubscribe("events:*")
        async for message in pubsub.listen():
            # The first message confirms the subscription.
            app[READY].set()
            await hand_out(app, message)


async def hand_out(app: web.Application, message: dict[str, str]) -> None:
    # A copy: sockets come and go while a send waits.
    for socket in app[SOCKETS].copy():
        if message["type"] == "psubscribe":
            await send(socket, type="ready", channel=socket.channel)
        elif message["channel"] == f"events:{socket.channel}":
            await send(socket, type="event", data=message["data"])


# end of answer


async def keep_reading(app: web.Application) -> None:
    while True:
        try:
            await read_redis(app)
        except (RedisError, OSError) as error:
            app.logger.warning("no events: %s", error)
        except Exception:
            app.logger.exception("no events, by a mistake of ours")
        app[READY].clear()
        await asyncio.sleep(WAIT)


# answer
@routes.get("/ws", allow_head=False)
async def listen(request: web.Request) -> web.WebSocketResponse:
    """Send the events of a channel, and echo what the client sends."""
    socket = await open_socket(request)
    request.app[SOCKETS].add(socket)
    try:
        await send(socket, type="ready", channel=socket.channel)
        async for message in socket.ws:
            if message.type is WSMsgType.TEXT:
                await send(socket, type="echo", data=message.data)
            await asyncio.sleep(0)  # or a flood would stop everybody else
    except ConnectionError:
        pass  # aiohttp answered a ping, but the client had left
    finally:
        request.app[SOCKETS].discard(socket)
        socket.transport.abort()  # or a client that does not read keeps it open
    return socket.ws


# end of answer


async def open_socket(request: web.Request) -> Socket:
    channel = request.query.get("channel", "news")
    ws = web.WebSocketResponse(heartbeat=20)
    # The transport is None if the client has left. Then prepare() raises.
    transport = cast(asyncio.Transport, request.transport)
    try:
        await asyncio.wait_for(request.app[READY].wait(), WAIT)
        await ws.prepare(request)
    except TimeoutError:
        raise json_error(web.HTTPServiceUnavailable, "Redis is away") from None
    except (AssertionError, ConnectionError, ValueError, web.HTTPBadRequest):
        # The client has left: ConnectionError, or AssertionError before aiohttp
        # 3.14. A header is not ASCII: ValueError.
        raise json_error(web.HTTPBadRequest, "no WebSocket handshake") from None
    return Socket(channel, ws, transport)


# answer
async def send(socket: Socket, **message: str) -> None:
    # Abort who is late: one client that does not read would stop all others.
    timer = asyncio.get_running_loop().call_later(WAIT, socket.transport.abort)
    with suppress(ConnectionError):
        await socket.ws.send_json(message)
    timer.cancel()


# end of answer


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.post("/channels/{channel}")
async def publish(request: web.Request) -> web.Response:
    """Publish the body; answer how many sockets here are on the channel."""
    channel = request.match_info["channel"]
    try:
        event = (await request.read()).decode()
        async with asyncio.timeout(WAIT):
            await request.app[READY].wait()
            await request.app[REDIS].publish(f"events:{channel}", event)
    except (ValueError, web.RequestPayloadError):
        raise json_error(web.HTTPBadRequest, "an event is UTF-8") from None
    # uvloop raises a RuntimeError where a connection was reset.
    except (RedisError, OSError, RuntimeError) as error:
        # A TimeoutError has no text, and the errors of redis-py 8 show none
        # in %r.
        request.app.logger.warning("cannot publish: %r: %s", error, error)
        raise json_error(web.HTTPServiceUnavailable, "Redis is away") from error
    channels = [socket.channel for socket in request.app[SOCKETS]]
    return web.json_response({"receivers": channels.count(channel)})


@routes.get("/stats")
async def count_sockets(request: web.Request) -> web.Response:
    """Count the sockets of this process, and their channels."""
    here = [socket.channel for socket in request.app[SOCKETS]]
    return web.json_response({"sockets": len(here), "channels": len(set(here))})


async def reader(app: web.Application) -> AsyncIterator[None]:
    async with app[REDIS]:
        task = asyncio.create_task(keep_reading(app))
        yield
        # Python 3.11 may swallow a cancel(), in a wait_for() of redis-py.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)


async def close_sockets(app: web.Application) -> None:
    async with asyncio.TaskGroup() as tasks:
        # No await in this loop: no handler can change the set meanwhile.
        for socket in app[SOCKETS]:
            # close() waits for a client that does not read, without a limit.
            asyncio.get_running_loop().call_later(WAIT, socket.transport.abort)
            tasks.create_task(socket.ws.close(code=1001))  # going away


def create_app(*, redis_url: str = "redis://localhost") -> web.Application:
    app = web.Application()
    app[REDIS] = Redis.from_url(
        redis_url, decode_responses=True, encoding_errors="replace"
    )
    app[READY] = asyncio.Event()
    app[SOCKETS] = set()
    app.cleanup_ctx.append(reader)
    app.on_shutdown.append(close_sockets)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(redis_url=os.environ.get("REDIS_URL", "redis://localhost"))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
