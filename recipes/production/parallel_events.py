# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10,<4", "redis>=5.0.1"]
# ///
"""Can a handler receive incoming events from different sources in parallel?

Start from this file when you go live. A send never waits: a client that does
not read is cut off, and delays nobody. A Redis that is away, frozen or behind a
network that swallows everything is noticed within two seconds, and while it is
away, publishing is refused.

Try it::

    $ python -m websockets "ws://localhost:8080/ws?channel=news"
    < {"type": "ready", "channel": "news"}
    $ curl -d "It rains." localhost:8080/channels/news
    {"receivers": 1}
    < {"type": "event", "data": "It rains."}
    $ curl localhost:8080/stats
    {"sockets": 1, "channels": 1}
    $ head -c 65537 /dev/zero >big
    $ curl --data-binary @big localhost:8080/channels/news
    {"error": "an event has at most 65536 bytes"}
    $ curl -X PUT localhost:8080/channels/news
    {"error": "Method Not Allowed"}

Good to know:

- A client may leave 512 KiB unread, and send 1000 messages a second (else it
  is closed with 1008), each of 64 KiB. An event has 64 KiB at most. If another
  program publishes a larger one, it is skipped and logged.
- `ready` comes again after an outage: what was published in between is lost.
- A publisher gets 503 with `Retry-After` while Redis is away, and while this
  process is not subscribed: its own clients would miss the event.
- This process holds up to twenty connections to Redis: one subscribes, and the
  others publish. One more request waits for its turn, up to a second in all.
- Pages of other sites can connect and publish. Put a check of `Origin` in front
  of it as soon as a cookie says who somebody is.
"""

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp.typedefs import Handler
from redis.asyncio import BlockingConnectionPool, Redis, RedisError
from redis.asyncio.client import PubSub

MAX_MESSAGE = 2**16
"""Bytes of a message from a client."""

MAX_EVENT = 2**16
"""Bytes of an event."""

MAX_UNREAD = 2**19
"""Bytes that a client may leave unread before it is cut off."""

MAX_WRITTEN = 2**20
"""Bytes from which on aiohttp would wait: see `open_socket`."""

MAX_RATE = 1000
"""Messages that a client may send in a second."""

HEARTBEAT = 20.0
"""Seconds of silence after which a client is asked whether it is there."""

GOODBYE_TIMEOUT = 1.0
"""Seconds that a client has for its part of the closing."""

FLOOD_TIMEOUT = 0.1
"""Seconds of it for a client that floods: closing reads on, at full speed."""

REDIS_TIMEOUT = 1.0
"""Seconds that Redis has for an answer."""

CONNECTION_WAIT = 0.75
"""Seconds of it that a publisher waits for one of the connections."""

REDIS_SILENCE = 1.0
"""Seconds without an event after which Redis is asked whether it is there."""

CANCEL_AGAIN = 0.1
"""Seconds after which the reader is cancelled once more."""

SUBSCRIBE_AGAIN = 0.5
"""Seconds between two attempts to subscribe."""

MAX_CONNECTIONS = 20
"""Connections to Redis, the one of the subscription included."""

CHANNEL = "[A-Za-z0-9_-]{1,64}"
PREFIX = b"events:"


class Socket(NamedTuple):
    """A WebSocket, and what it is written to."""

    channel: str
    ws: web.WebSocketResponse
    transport: asyncio.Transport


@dataclass
class Meter:
    """Counts the messages of a client, second by second."""

    second: int = 0
    count: int = 0

    def is_too_fast(self) -> bool:
        second = int(time.monotonic())
        if second != self.second:
            self.second = second
            self.count = 0
        self.count += 1
        return self.count > MAX_RATE


REDIS = web.AppKey("REDIS", Redis)
SUBSCRIBED = web.AppKey("SUBSCRIBED", asyncio.Event)
TRIED = web.AppKey("TRIED", asyncio.Event)
SOCKETS = web.AppKey("SOCKETS", dict[str, set[Socket]])
INTERVAL = web.AppKey("INTERVAL", float)

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


# answer
async def read_events(app: web.Application) -> None:
    """Subscribe, and hand out events until the connection is lost."""
    async with app[REDIS].pubsub() as pubsub:
        async with asyncio.timeout(REDIS_TIMEOUT):
            # Those that publish are as dead as the one that was lost. One that
            # is in use finds out by itself.
            pool = app[REDIS].connection_pool
            await pool.disconnect(inuse_connections=False)
            await pubsub.psubscribe(PREFIX + b"*")
        while True:
            message = await next_message(pubsub)
            await hand_out(app, message)
            # In a burst of events, nothing above lets others run.
            await asyncio.sleep(0)


# end of answer


async def next_message(pubsub: PubSub) -> dict[str, Any]:
    """Wait for a message. Raises TimeoutError where Redis is silent.

    `listen()` would wait forever for a Redis that is frozen.
    """
    async with asyncio.timeout(REDIS_SILENCE + REDIS_TIMEOUT):
        while True:
            message: dict[str, Any] | None
            message = await pubsub.get_message(timeout=REDIS_SILENCE)
            if message is not None:
                return message
            # The answer is a message, too.
            await pubsub.ping()


async def keep_reading(app: web.Application) -> None:
    """Own the subscription of this process: one, for all its sockets."""
    while True:
        try:
            await read_events(app)
        except (RedisError, OSError) as error:
            # Once for each outage, not for each attempt.
            if app[SUBSCRIBED].is_set() or not app[TRIED].is_set():
                logger.warning("no events from Redis: %s", describe(error))
        except Exception:
            # A mistake in this program, and no outage.
            logger.exception("no events, by a mistake")
        app[TRIED].set()
        app[SUBSCRIBED].clear()
        await asyncio.sleep(SUBSCRIBE_AGAIN)


def describe(error: Exception) -> str:
    # A TimeoutError has no text, and the errors of redis-py 8 show none in %r.
    return f"{type(error).__name__}: {error}"


async def hand_out(app: web.Application, message: dict[str, Any]) -> None:
    if message["type"] == "psubscribe":
        app[SUBSCRIBED].set()
        app[TRIED].set()
        for channel, sockets in app[SOCKETS].items():
            await send(sockets, type="ready", channel=channel)
    elif message["type"] == "pmessage":
        name: bytes = message["channel"].removeprefix(PREFIX)
        sockets = app[SOCKETS].get(name.decode(errors="replace"), set())
        event = read_payload(message["data"])
        if event is None:
            logger.warning("skipped what is no event, on channel %r", name)
        else:
            await send(sockets, type="event", data=event)


def read_payload(payload: bytes) -> str | None:
    """Return the text of an event, or None: anybody may publish anything."""
    if len(payload) > MAX_EVENT:
        return None
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


# answer
@routes.get("/ws", allow_head=False)
async def listen(request: web.Request) -> web.WebSocketResponse:
    """Send the events of a channel, and echo what the client sends."""
    ws = web.WebSocketResponse(
        heartbeat=request.app[INTERVAL],
        # aiohttp refuses a message of the size that it is given.
        max_msg_size=MAX_MESSAGE + 1,
        # aiohttp's own pong would wait for a client that does not read.
        autoping=False,
        # A send would wait for the thread that compresses.
        compress=False,
    )
    socket = await open_socket(request, ws)
    # No event comes before `ready`: nothing waits from here to the loop.
    sockets = request.app[SOCKETS].setdefault(socket.channel, set())
    sockets.add(socket)
    meter = Meter()
    try:
        await send([socket], type="ready", channel=socket.channel)
        async for message in ws:
            if meter.is_too_fast():
                await say_goodbye(socket, WSCloseCode.POLICY_VIOLATION)
            if message.type is WSMsgType.TEXT:
                await send([socket], type="echo", data=message.data)
            elif message.type is WSMsgType.PING and may_send(socket):
                await ws.pong(message.data)
            # A flood of small messages would let nobody else run.
            await asyncio.sleep(0)
    finally:
        sockets.discard(socket)
        if not sockets:
            del request.app[SOCKETS][socket.channel]
        # aiohttp closes the transport of a client that missed its heartbeat.
        # But one that is closed waits until the client has read everything.
        socket.transport.abort()
    return ws


async def send(sockets: Iterable[Socket], **message: str) -> None:
    """Send to all of them, without waiting for any.

    Because nothing waits, nobody else runs meanwhile. So `sockets` may be the
    live registry, and messages come in order.
    """
    text = json.dumps(message)
    for socket in sockets:
        if may_send(socket):
            # One that has just left keeps nobody else from the message.
            with suppress(ConnectionError):
                await socket.ws.send_str(text)


def may_send(socket: Socket) -> bool:
    """Say whether a client reads what it is sent; cut it off otherwise."""
    if socket.transport.get_write_buffer_size() > MAX_UNREAD:
        logger.info("cut off a client that does not read")
        # Not close(): it would wait until the client reads.
        socket.transport.abort()
        return False
    return not (socket.ws.closed or socket.transport.is_closing())


# end of answer


async def open_socket(
    request: web.Request, ws: web.WebSocketResponse
) -> Socket:
    """Shake hands, and name what the WebSocket is written to."""
    channel = read_channel(request)
    require_subscription(request.app)
    transport = request.transport
    try:
        if transport is None:
            raise ConnectionResetError
        await ws.prepare(request)
    except (ConnectionError, ValueError, web.HTTPBadRequest):
        # ValueError: a header is not in ASCII. ConnectionError: the client has
        # left, and nobody hears this.
        reason = "this is no WebSocket handshake"
        raise json_error(web.HTTPBadRequest, reason) from None
    # aiohttp waits while more than this is unread. may_send() allows less, by
    # more than a message has: JSON makes it six times as long, at most. With a
    # lower limit, a client that does not read would stop all others.
    transport.set_write_buffer_limits(high=MAX_WRITTEN, low=MAX_WRITTEN)
    return Socket(channel, ws, transport)


def read_channel(request: web.Request) -> str:
    channels = request.query.getall("channel", ["news"])
    if len(channels) == 1 and re.fullmatch(CHANNEL, channels[0]):
        return channels[0]
    reason = "channel must be one name: 1 to 64 letters, digits, _ or -"
    raise json_error(web.HTTPBadRequest, reason)


def require_subscription(app: web.Application) -> None:
    if not app[SUBSCRIBED].is_set():
        raise redis_is_away()


def redis_is_away() -> web.HTTPError:
    error = json_error(web.HTTPServiceUnavailable, "Redis is away")
    error.headers[hdrs.RETRY_AFTER] = "1"
    return error


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@web.middleware
async def explain_errors(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Answer in JSON also what aiohttp itself refuses."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        if error.headers["Content-Type"].startswith("application/json"):
            raise
        # In aiohttp 4.0 an error is no response, and cannot be changed.
        headers = error.headers.copy()
        headers["Content-Type"] = "application/json"
        text = json.dumps({"error": error.reason})
        return web.Response(text=text, status=error.status, headers=headers)


@routes.post(f"/channels/{{channel:{CHANNEL}}}")
async def publish(request: web.Request) -> web.Response:
    """Publish the body; answer how many sockets here are on the channel."""
    channel = request.match_info["channel"]
    event = await read_event(request)
    # Redis would take it, but the clients of this process would miss it.
    require_subscription(request.app)
    try:
        # The wait for one of the connections counts, too.
        async with asyncio.timeout(REDIS_TIMEOUT):
            await request.app[REDIS].publish(PREFIX + channel.encode(), event)
    except (RedisError, OSError) as error:
        logger.warning("cannot publish: %s", describe(error))
        raise redis_is_away() from error
    receivers = len(request.app[SOCKETS].get(channel, set()))
    return web.json_response({"receivers": receivers})


async def read_event(request: web.Request) -> str:
    try:
        # Not by a clone with a limit of its own: a middleware that has read
        # the body makes that a RuntimeError.
        body = await request.read()
        event = body.decode()
    except (ValueError, web.RequestPayloadError):
        reason = "an event must be text in UTF-8"
        raise json_error(web.HTTPBadRequest, reason) from None
    if len(body) > MAX_EVENT:
        reason = f"an event has at most {MAX_EVENT} bytes"
        raise web.HTTPRequestEntityTooLarge(
            max_size=MAX_EVENT,
            actual_size=len(body),
            text=json.dumps({"error": reason}),
            content_type="application/json",
        )
    return event


@routes.get("/stats")
async def count_sockets(request: web.Request) -> web.Response:
    """Count the sockets of this process, and their channels."""
    counts = [len(sockets) for sockets in request.app[SOCKETS].values()]
    return web.json_response({"sockets": sum(counts), "channels": len(counts)})


async def reader(app: web.Application, redis_url: str) -> AsyncIterator[None]:
    """Read Redis for as long as the application runs."""
    redis = open_redis(redis_url)
    app[REDIS] = redis
    task = asyncio.create_task(keep_reading(app))
    try:
        # Without Redis it starts all the same, and answers 503. With it, the
        # first request finds a subscription.
        with suppress(TimeoutError):
            await asyncio.wait_for(app[TRIED].wait(), REDIS_TIMEOUT)
        yield
    finally:
        # Not once: on Python 3.11, a wait_for() inside redis-py swallows a
        # cancellation that comes while it connects.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_AGAIN)
        # A connection that cannot be closed in time ends with the process.
        with suppress(RedisError, OSError):
            async with asyncio.timeout(REDIS_TIMEOUT):
                await redis.aclose()


def open_redis(url: str) -> Redis:
    """Make a client; it connects when it is used."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=CONNECTION_WAIT,
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
    )
    # The URL can ask for text. Then a payload that is none would end the
    # reader, and it would find no bytes where it expects them.
    pool.connection_kwargs["decode_responses"] = False
    return Redis.from_pool(pool)


async def close_sockets(app: web.Application) -> None:
    """Say goodbye to all clients at once, and wait a second at most."""
    goodbyes = []
    for sockets in app[SOCKETS].values():
        for socket in sockets:
            goodbye = say_goodbye(socket, WSCloseCode.GOING_AWAY)
            goodbyes.append(goodbye)
    await asyncio.gather(*goodbyes)


async def say_goodbye(socket: Socket, code: WSCloseCode) -> None:
    # close() waits for the client's part, up to 10 s.
    is_flood = code is WSCloseCode.POLICY_VIOLATION
    timeout = FLOOD_TIMEOUT if is_flood else GOODBYE_TIMEOUT
    loop = asyncio.get_running_loop()
    loop.call_later(timeout, socket.transport.abort)
    await socket.ws.close(code=code)


def create_app(
    *, redis_url: str = "redis://localhost", heartbeat: float = HEARTBEAT
) -> web.Application:
    app = web.Application(middlewares=[explain_errors])
    app[SUBSCRIBED] = asyncio.Event()
    app[TRIED] = asyncio.Event()
    app[SOCKETS] = {}
    app[INTERVAL] = heartbeat
    app.cleanup_ctx.append(partial(reader, redis_url=redis_url))
    app.on_shutdown.append(close_sockets)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(redis_url=os.environ.get("REDIS_URL", "redis://localhost"))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except (OSError, ValueError) as error:
        # ValueError: REDIS_URL is no URL of Redis.
        raise SystemExit(f"cannot start: {error}") from None
