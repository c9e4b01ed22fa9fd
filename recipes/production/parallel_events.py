# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10,<4", "redis>=5.0.1"]
# ///
"""Can a handler receive incoming events from different sources in parallel?

Start from this file when you go live. No event is lost in silence: Redis keeps
the last ten thousand, and a client that comes back names the last one that it
has seen. What cannot be sent again is told as a gap. A send never waits: a
client that does not read is cut off, and delays nobody. Run as many processes
as you like.

Try it::

    $ python -m websockets "ws://localhost:8080/ws?channel=news"
    < {"type": "ready", "channel": "news", "id": "..."}
    $ curl -d "It rains." localhost:8080/channels/news
    {"receivers": 1}
    < {"type": "event", "data": "It rains.", "id": "..."}
    $ curl localhost:8080/stats
    {"sockets": 1, "channels": 1}
    $ python -m websockets "ws://localhost:8080/ws?after=7-0"
    < {"type": "ready", "channel": "news", "id": "7-0"}
    < {"type": "gap"}
    $ head -c 65537 /dev/zero >big
    $ curl --data-binary @big localhost:8080/channels/news
    {"error": "an event has at most 65536 bytes"}
    $ curl -X PUT localhost:8080/channels/news
    {"error": "Method Not Allowed"}

Good to know:

- Keep the last `id`, of `ready` or of an event, and reconnect with `after`. An
  id that Redis does not hold, because it is too old or made up, is a gap.
- A publisher that gets 503 does not know whether its event was stored. It
  repeats it with the same `Idempotency-Key`: within an hour, it is stored once.
- After a restart of Redis all are told of a gap, even with an append-only file:
  nobody can know whether its last second was written. So after a failover.
- All channels share one stream: to wait for 5000 streams costs 25 ms each time.
  A busy channel shortens the history of the others.
- Redis must not evict: set `maxmemory-policy noeviction`.
- A client may leave 512 KiB unread, and send 1000 messages a second (else it
  is closed with 1008), each of 64 KiB. An event has 64 KiB at most.
- A process notices within two seconds that its Redis is away or frozen. It
  keeps its sockets, and answers 503 with `Retry-After`. Afterwards the sockets
  hear `ready` again, and what they have missed.
"""

import asyncio
import json
import logging
import os
import re
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Handler
from redis.asyncio import BlockingConnectionPool, Redis, RedisError

# Events that Redis keeps, at least.
MAX_HISTORY = 10_000
# Seconds in which an event that is published again is stored once.
REPEAT_AGE = 3600
# Entries that are read at a time: 1 MiB at most.
PAGE = 16
# Bytes of a message from a client, and of an event.
MAX_MESSAGE = 2**16
MAX_EVENT = 2**16
# Bytes that a client may leave unread before it is cut off.
MAX_UNREAD = 2**19
# Messages that a client may send in a second.
MAX_RATE = 1000
# Sockets of a process.
MAX_SOCKETS = 10_000
# Seconds of silence after which a client is asked whether it is there.
HEARTBEAT = 20.0
# Seconds that a client has to take what it has missed.
CATCH_UP_TIMEOUT = 10.0
# Seconds that a client has for its part of the closing.
GOODBYE_TIMEOUT = 1.0
# Seconds of it for a client that floods: closing reads on, at full speed.
FLOOD_TIMEOUT = 0.1
# Seconds that Redis has for an answer to a publisher, and to the reader.
REDIS_TIMEOUT = 1.0
READ_TIMEOUT = 1.5
# Milliseconds of it after which Redis says that there is nothing new.
REDIS_SILENCE = 500
# Seconds that a publisher waits for one of the connections.
CONNECTION_WAIT = 0.75
# Connections to Redis, and how many of them those use who catch up.
MAX_CONNECTIONS = 20
MAX_CATCHING_UP = 8
# Seconds after which the reader is cancelled once more.
CANCEL_AGAIN = 0.1
# Seconds between two attempts to read.
READ_AGAIN = 0.5

NAME = "[A-Za-z0-9_-]{1,64}"
# Redis counts to twice as much, but knows nothing behind that.
MAX_ID = 2**63
EVENT_ID = "[0-9]{1,20}-[0-9]{1,20}"
STREAM = "parallel_events:events"
RUN = "parallel_events:run"
REPEATED = "parallel_events:repeated:"

# Redis runs nothing else meanwhile: of two with the same key, one is stored.
PUBLISH = """
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 then return end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*',
           'channel', ARGV[2], 'data', ARGV[3])
if KEYS[2] then redis.call('SET', KEYS[2], '', 'EX', ARGV[4]) end
"""

# A server that was started again may have lost its last events, or all. So may
# one that takes over after a failover. The first reader marks the place.
MARK = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  redis.call('SET', KEYS[2], ARGV[1])
  redis.call('XADD', KEYS[1], '*', 'run', ARGV[1])
end
"""


class Id(NamedTuple):
    """What Redis calls an entry of a stream. A later one is greater."""

    milliseconds: int
    number: int

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


class Entry(NamedTuple):
    """An event; without a channel it is a gap, which is told to all."""

    id: Id
    channel: str | None
    data: bytes


class Page(NamedTuple):
    """What comes behind an entry, and whether that one is still there."""

    entries: list[Entry]
    is_whole: bool


@dataclass(eq=False)
class Socket:
    """A WebSocket, what it is written to, and the last entry that it had.

    It is live once the reader serves it, and not a catch-up of its own.
    """

    channel: str
    ws: web.WebSocketResponse
    transport: asyncio.Transport
    writer: AbstractStreamWriter
    last: Id
    is_live: bool


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


@dataclass
class Hub:
    """What this process knows of Redis, and who listens."""

    redis: Redis
    history: int
    heartbeat: float
    # The last entry that was handed out.
    seen: Id = field(default=Id(2**64, 0))
    is_reading: bool = False
    has_tried: asyncio.Event = field(default_factory=asyncio.Event)
    sockets: dict[str, set[Socket]] = field(default_factory=dict)
    # Publishers have the other connections.
    turns: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(MAX_CATCHING_UP)
    )


HUB = web.AppKey("HUB", Hub)

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


# answer
async def read_events(hub: Hub) -> None:
    """Read for all sockets of this process, until the connection is lost."""
    # One connection, never another: each may be one to a new Redis.
    async with aclosing(hub.redis.client()) as redis:
        await begin(hub, redis)
        while True:
            seen = str(hub.seen)
            await redis.xread({STREAM: seen}, count=1, block=REDIS_SILENCE)
            page = await read_page(redis, hub.seen)
            for entry in page.entries:
                hub.seen = entry.id
                send_entry(receivers_of(hub, entry), entry)
                # In a burst of events, nothing above lets others run.
                await asyncio.sleep(0)


async def catch_up(hub: Hub, socket: Socket) -> None:
    """Send what a client has missed, at its own pace, until it is live."""
    while not socket.is_live:
        async with hub.turns:
            page = await read_page(hub.redis, socket.last)
        for entry in page.entries:
            socket.last = entry.id
            if entry.channel in (None, socket.channel):
                send_entry([socket], entry)
            # aiohttp waits here while more than 64 KiB are unread.
            await socket.writer.drain()
        if not page.entries and not page.is_whole:
            # It names what is not there, and nothing is behind it.
            send([socket], type="gap")
            socket.last = hub.seen
        # The reader hands out what comes next: nothing waits from here to the
        # loop. It may be behind a client that comes from another process.
        socket.is_live = socket.last >= hub.seen


# end of answer


async def begin(hub: Hub, redis: Redis) -> None:
    """Go on where the reader was, and tell all sockets so."""
    # Those that publish are as dead as the one that was lost. One that is in
    # use finds out by itself.
    await hub.redis.connection_pool.disconnect(inuse_connections=False)
    server = await redis.info("server")
    await redis.eval(MARK, 2, STREAM, RUN, server["run_id"])
    stream = await redis.xinfo_stream(STREAM)
    # The clock of a new server may be behind.
    newest = read_id(stream["last-generated-id"].decode())
    hub.seen = min(hub.seen, newest)
    hub.is_reading = True
    hub.has_tried.set()
    for channel, sockets in hub.sockets.items():
        for socket in sockets:
            socket.last = min(socket.last, newest)
        send(sockets, type="ready", channel=channel)


async def read_page(redis: Redis, last: Id) -> Page:
    """Read what comes behind an entry."""
    found: Any = await redis.xrange(STREAM, f"({last}", count=PAGE)
    # Asked afterwards: if it is there now, nothing behind it was dropped.
    itself: Any = await redis.xrange(STREAM, str(last), str(last))
    entries = [read_entry(*each) for each in found]
    is_whole = bool(itself)
    if entries and entries[0].channel is not None and not is_whole:
        entries.insert(0, Entry(entries[0].id, None, b""))
    return Page(entries, is_whole)


def read_entry(raw_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    entry_id = read_id(raw_id.decode())
    if b"run" in fields:
        return Entry(entry_id, None, b"")
    # Anybody may write to Redis. This is no channel, and no event.
    channel = fields.get(b"channel", b"").decode(errors="replace")
    return Entry(entry_id, channel, fields.get(b"data", b"\xff"))


def read_id(text: str) -> Id:
    milliseconds, _, number = text.partition("-")
    return Id(int(milliseconds), int(number))


def receivers_of(hub: Hub, entry: Entry) -> list[Socket]:
    """Return the sockets that have to get an entry from the reader."""
    groups: Iterable[set[Socket]] = hub.sockets.values()
    if entry.channel is not None:
        groups = [hub.sockets.get(entry.channel, set())]
    return [
        socket
        for sockets in groups
        for socket in sockets
        if socket.is_live and socket.last < entry.id
    ]


def send_entry(sockets: list[Socket], entry: Entry) -> None:
    if entry.channel is None:
        send(sockets, type="gap")
        return
    for socket in sockets:
        socket.last = entry.id
    event = read_payload(entry.data)
    if event is None:
        logger.warning("skipped what is no event: %s", entry.id)
    else:
        send(sockets, type="event", data=event, id=str(entry.id))


def read_payload(payload: bytes) -> str | None:
    """Return the text of an event, or None: anybody may write to Redis."""
    if len(payload) > MAX_EVENT:
        return None
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


# answer
def send(sockets: Iterable[Socket], **message: str) -> None:
    """Send to all of them, without waiting for any.

    Because nothing waits, nobody else runs meanwhile. So `sockets` may be the
    live registry, and messages come in order.
    """
    frame = make_frame(WSMsgType.TEXT, json.dumps(message).encode())
    for socket in sockets:
        write(socket, frame)


def write(socket: Socket, frame: bytes) -> None:
    """Write a frame where there is room; cut off a client that has none."""
    if socket.ws.closed or socket.transport.is_closing():
        return
    unread = socket.transport.get_write_buffer_size() + len(frame)
    if unread <= MAX_UNREAD:
        # Not by aiohttp: it makes a frame for each socket, and may wait.
        socket.transport.write(frame)
    else:
        logger.info("cut off a client that does not read")
        # Not close(): it would wait until the client reads.
        socket.transport.abort()


# end of answer


def make_frame(kind: WSMsgType, payload: bytes) -> bytes:
    """Return a whole WebSocket frame of a server (RFC 6455, 5.2)."""
    first = 0x80 | kind
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 2**16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


async def keep_reading(hub: Hub) -> None:
    """Own the reader of this process: one, for all its sockets."""
    while True:
        try:
            await read_events(hub)
        except (RedisError, OSError) as error:
            # Once for each outage, not for each attempt.
            if hub.is_reading or not hub.has_tried.is_set():
                logger.warning("no events from Redis: %s", describe(error))
        except Exception:
            # A mistake in this program, and no outage.
            logger.exception("no events, by a mistake")
        hub.has_tried.set()
        hub.is_reading = False
        await asyncio.sleep(READ_AGAIN)


def describe(error: Exception) -> str:
    # A TimeoutError has no text, and the errors of redis-py 8 show none in %r.
    return f"{type(error).__name__}: {error}"


@routes.get("/ws", allow_head=False)
async def listen(request: web.Request) -> web.WebSocketResponse:
    """Send the events of a channel, and echo what the client sends."""
    hub = request.app[HUB]
    refuse_foreign_origin(request)
    socket = await open_socket(request, hub)
    # No event comes before `ready`: nothing waits from here to the loop.
    sockets = hub.sockets.setdefault(socket.channel, set())
    sockets.add(socket)
    place = str(socket.last)
    try:
        send([socket], type="ready", channel=socket.channel, id=place)
        async with asyncio.timeout(CATCH_UP_TIMEOUT):
            await catch_up(hub, socket)
        await answer(socket)
    except (RedisError, OSError) as error:
        # It comes back, and goes on where it was.
        logger.info("left a client behind: %s", describe(error))
        await say_goodbye(socket, WSCloseCode.TRY_AGAIN_LATER)
    finally:
        sockets.discard(socket)
        if not sockets:
            del hub.sockets[socket.channel]
        # aiohttp closes the transport of a client that missed its heartbeat.
        # But one that is closed waits until the client has read everything.
        socket.transport.abort()
    return socket.ws


async def answer(socket: Socket) -> None:
    """Echo what a client sends, until it leaves."""
    meter = Meter()
    async for message in socket.ws:
        if meter.is_too_fast():
            await say_goodbye(socket, WSCloseCode.POLICY_VIOLATION)
        if message.type is WSMsgType.TEXT:
            send([socket], type="echo", data=message.data)
        elif message.type is WSMsgType.PING:
            # aiohttp's own pong would wait for a client that does not read.
            write(socket, make_frame(WSMsgType.PONG, message.data))
        # A flood of small messages would let nobody else run.
        await asyncio.sleep(0)


async def open_socket(request: web.Request, hub: Hub) -> Socket:
    """Shake hands, and name what the WebSocket is written to."""
    channel = read_channel(request)
    after = read_after(request)
    require_redis(hub)
    refuse_too_many(hub)
    # The reader may be a moment behind what it does not know yet.
    await ask(hub.redis.ping())
    ws = web.WebSocketResponse(
        heartbeat=hub.heartbeat,
        # aiohttp refuses a message of the size that it is given.
        max_msg_size=MAX_MESSAGE + 1,
        autoping=False,
        # Our frames are not compressed.
        compress=False,
    )
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
    last = hub.seen if after is None else after
    return Socket(
        channel, ws, transport, request.writer, last, is_live=after is None
    )


def read_channel(request: web.Request) -> str:
    channels = request.query.getall("channel", ["news"])
    if len(channels) == 1 and re.fullmatch(NAME, channels[0]):
        return channels[0]
    reason = "channel must be one name: 1 to 64 letters, digits, _ or -"
    raise json_error(web.HTTPBadRequest, reason)


def read_after(request: web.Request) -> Id | None:
    """Return the id that a client has seen last, or None."""
    values = request.query.getall("after", [])
    if not values:
        return None
    if len(values) == 1 and re.fullmatch(EVENT_ID, values[0]):
        after = read_id(values[0])
        if max(after) < MAX_ID:
            return after
    reason = "after must be the id of an event, such as 1767225600000-0"
    raise json_error(web.HTTPBadRequest, reason)


def refuse_foreign_origin(request: web.Request) -> None:
    """Refuse what a page of another site makes its visitor's browser send."""
    # Both schemes: behind a proxy that ends TLS, our page has https, we http.
    ours = {None, f"http://{request.host}", f"https://{request.host}"}
    if request.headers.get(hdrs.ORIGIN) not in ours:
        raise json_error(web.HTTPForbidden, "the Origin is foreign")


def refuse_too_many(hub: Hub) -> None:
    if sum(map(len, hub.sockets.values())) >= MAX_SOCKETS:
        reason = "too many sockets are open"
        error = json_error(web.HTTPTooManyRequests, reason)
        error.headers[hdrs.RETRY_AFTER] = "1"
        raise error


def require_redis(hub: Hub) -> None:
    if not hub.is_reading:
        raise redis_is_away()


async def ask(command: Awaitable[object]) -> None:
    """Wait for Redis; raise 503 where it does not answer in time.

    Perhaps it has done what it was told, and only the answer is lost.
    """
    try:
        # The wait for one of the connections counts, too.
        async with asyncio.timeout(REDIS_TIMEOUT):
            await command
    except (RedisError, OSError) as error:
        logger.warning("Redis does not answer: %s", describe(error))
        raise redis_is_away() from error


def redis_is_away() -> web.HTTPError:
    reason = "Redis is away: `make cluster` starts one"
    error = json_error(web.HTTPServiceUnavailable, reason)
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


@routes.post(f"/channels/{{channel:{NAME}}}")
async def publish(request: web.Request) -> web.Response:
    """Store the body as an event; answer how many sockets here wait for it."""
    hub = request.app[HUB]
    refuse_foreign_origin(request)
    channel = request.match_info["channel"]
    keys = [STREAM, *read_idempotency_key(request)]
    event = await read_event(request)
    # It is known at once. Without this, each would wait a second.
    require_redis(hub)
    values = [str(hub.history), channel, event, str(REPEAT_AGE)]
    await ask(hub.redis.eval(PUBLISH, len(keys), *keys, *values))
    receivers = len(hub.sockets.get(channel, set()))
    return web.json_response({"receivers": receivers})


def read_idempotency_key(request: web.Request) -> list[str]:
    """Return the key in Redis that stands for this event, if there is one."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return []
    if re.fullmatch(NAME, key):
        return [f"{REPEATED}{request.match_info['channel']}:{key}"]
    reason = "Idempotency-Key must be 1 to 64 letters, digits, _ or -"
    raise json_error(web.HTTPBadRequest, reason)


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
    sockets = request.app[HUB].sockets
    total = sum(map(len, sockets.values()))
    return web.json_response({"sockets": total, "channels": len(sockets)})


async def reader(app: web.Application) -> AsyncIterator[None]:
    """Read Redis for as long as the application runs."""
    hub = app[HUB]
    task = asyncio.create_task(keep_reading(hub))
    try:
        # Without Redis it starts all the same, and answers 503. With it, the
        # first request finds a reader.
        with suppress(TimeoutError):
            await asyncio.wait_for(hub.has_tried.wait(), REDIS_TIMEOUT)
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
                await hub.redis.aclose()


def open_redis(url: str) -> Redis:
    """Make a client; it connects when it is used."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=CONNECTION_WAIT,
        socket_timeout=READ_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
    )
    # The URL can ask for text, and find none; or for a second attempt, which
    # would store an event twice.
    pool.connection_kwargs["decode_responses"] = False
    pool.connection_kwargs["retry_on_timeout"] = False
    return Redis.from_pool(pool)


async def close_sockets(app: web.Application) -> None:
    """Say goodbye to all clients at once, and wait a second at most."""
    goodbyes = []
    for sockets in app[HUB].sockets.values():
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
    *,
    redis_url: str = "redis://localhost",
    heartbeat: float = HEARTBEAT,
    history: int = MAX_HISTORY,
) -> web.Application:
    app = web.Application(middlewares=[explain_errors])
    app[HUB] = Hub(open_redis(redis_url), history, heartbeat)
    app.cleanup_ctx.append(reader)
    app.on_shutdown.append(close_sockets)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    try:
        app = create_app(
            redis_url=os.environ.get("REDIS_URL", "redis://localhost")
        )
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except (OSError, ValueError) as error:
        # ValueError: REDIS_URL is no URL of Redis.
        raise SystemExit(f"cannot start: {error}") from None
