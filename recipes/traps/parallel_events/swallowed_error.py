# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10,<4", "redis>=5.0.1"]
# ///
"""The task that reads Redis fails, and nobody hears of it.

Here it takes each event for JSON, and the first that is none ends the task.
The sockets stay open, and deaf. Nobody looks at the task, and asyncio reports
its error only when the process ends. The FAQ of 3.14 cancels the task, which
hides the error even then. Its reader fails at once: redis-py has no
`redis.subscribe`. Catch what the task can raise, log it, and begin again.

Try it::

    $ python -m websockets "ws://localhost:8080/ws?channel=news"
    < {"type": "ready", "channel": "news"}
    $ curl -d "It rains." localhost:8080/channels/news
    {"receivers": 1}
    < (nothing for 1 s)
    Log: (nothing in the log)
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web
from redis.asyncio import BlockingConnectionPool, Redis, RedisError


class Socket(NamedTuple):
    channel: str
    ws: web.WebSocketResponse
    transport: asyncio.Transport


REDIS = web.AppKey("REDIS", Redis)
READY = web.AppKey("READY", asyncio.Event)
SOCKETS = web.AppKey("SOCKETS", set[Socket])
# Seconds that a client has to take a message, and Redis to answer.
WAIT = 1.0
# The names that a channel may have.
CHANNEL = "[A-Za-z0-9_-]{1,64}"

routes = web.RouteTableDef()


# answer
async def read_redis(app: web.Application) -> None:
    async with app[REDIS].pubsub() as pubsub:
        # One subscription, for the channels of all sockets.
        await pubsub.psubscribe("events:*")
        async for message in pubsub.listen():
            await hand_out(app, message)
            # In a burst of events, nothing above lets others run.
            await asyncio.sleep(0)


@routes.get("/ws", allow_head=False)
async def listen(request: web.Request) -> web.WebSocketResponse:
    """Send the events of a channel, and echo what the client sends."""
    socket = await open_socket(request)
    request.app[SOCKETS].add(socket)
    try:
        await send([socket], type="ready", channel=socket.channel)
        async for message in socket.ws:
            if message.type is WSMsgType.TEXT:
                await send([socket], type="echo", data=message.data)
            if message.type is WSMsgType.PING:
                await send_in_time(socket, socket.ws.pong(message.data))
            # A flood of small messages would let nobody else run.
            await asyncio.sleep(0)
    finally:
        request.app[SOCKETS].discard(socket)
        # Else a client that has stopped reading keeps its connection.
        socket.transport.abort()
    return socket.ws


# end of answer


async def send(sockets: list[Socket], **message: str) -> None:
    text = json.dumps(message)
    for socket in sockets:
        await send_in_time(socket, socket.ws.send_str(text))


# answer
async def send_in_time(socket: Socket, sending: Awaitable[object]) -> None:
    # Abort who is late. close() would wait until the client reads.
    timer = asyncio.get_running_loop().call_later(WAIT, socket.transport.abort)
    with suppress(ConnectionError):
        await sending
    timer.cancel()


# end of answer


async def hand_out(app: web.Application, message: dict[str, str]) -> None:
    if message["type"] == "psubscribe":
        app[READY].set()
        for socket in app[SOCKETS].copy():
            await send([socket], type="ready", channel=socket.channel)
    else:
        sockets = on_channel(app, message["channel"].removeprefix("events:"))
        await send(sockets, type="event", data=json.loads(message["data"]))


def on_channel(app: web.Application, channel: str) -> list[Socket]:
    return [socket for socket in app[SOCKETS] if socket.channel == channel]


async def open_socket(request: web.Request) -> Socket:
    channel = request.query.get("channel", "news")
    transport = request.transport
    # Without a transport, the client has left, and nobody reads this.
    if transport is None or not re.fullmatch(CHANNEL, channel):
        raise json_error(web.HTTPBadRequest, "channel must be a name")
    # aiohttp's own pongs have no limit. Those of listen() have one.
    ws = web.WebSocketResponse(heartbeat=20, autoping=False)
    try:
        await asyncio.wait_for(request.app[READY].wait(), WAIT)
        await ws.prepare(request)
    except TimeoutError:
        raise json_error(web.HTTPServiceUnavailable, "Redis is away") from None
    except (ConnectionError, ValueError, web.HTTPBadRequest):
        raise json_error(web.HTTPBadRequest, "this is no handshake") from None
    return Socket(channel, ws, transport)


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.post(f"/channels/{{channel:{CHANNEL}}}")
async def publish(request: web.Request) -> web.Response:
    """Publish the body; answer how many sockets here are on the channel."""
    channel = request.match_info["channel"]
    try:
        event = (await request.read()).decode()
    except (ValueError, web.RequestPayloadError):
        raise json_error(web.HTTPBadRequest, "an event is UTF-8") from None
    try:
        async with asyncio.timeout(WAIT):
            await request.app[READY].wait()
            await request.app[REDIS].publish(f"events:{channel}", event)
    except (RedisError, OSError) as error:
        request.app.logger.warning("cannot publish: %r", error)
        raise json_error(web.HTTPServiceUnavailable, "Redis is away") from error
    receivers = on_channel(request.app, channel)
    return web.json_response({"receivers": len(receivers)})


@routes.get("/stats")
async def count_sockets(request: web.Request) -> web.Response:
    """Count the sockets of this process, and their channels."""
    channels = [socket.channel for socket in request.app[SOCKETS]]
    counts = {"sockets": len(channels), "channels": len(set(channels))}
    return web.json_response(counts)


async def reader(app: web.Application) -> AsyncIterator[None]:
    async with app[REDIS]:
        task = asyncio.create_task(keep_reading(app))
        yield
        # Python 3.11 may swallow a cancel(), in a wait_for() of redis-py.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)


async def keep_reading(app: web.Application) -> None:
    while True:
        await read_redis(app)
        app[READY].clear()
        await asyncio.sleep(WAIT)


async def close_sockets(app: web.Application) -> None:
    goodbyes = []
    for socket in app[SOCKETS]:
        goodbye = socket.ws.close(code=WSCloseCode.GOING_AWAY)
        goodbyes.append(send_in_time(socket, goodbye))
    await asyncio.gather(*goodbyes)


def create_app(*, redis_url: str = "redis://localhost") -> web.Application:
    app = web.Application()
    # It lets publishers wait for a connection, where redis-py's own pool fails.
    pool = BlockingConnectionPool.from_url(
        redis_url, decode_responses=True, encoding_errors="replace"
    )
    app[REDIS] = Redis.from_pool(pool)
    app[READY] = asyncio.Event()
    app[SOCKETS] = set()
    app.cleanup_ctx.append(reader)
    app.on_shutdown.append(close_sockets)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(redis_url=os.environ.get("REDIS_URL", "redis://localhost"))
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
