# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10,<4", "redis>=5.0.1"]
# ///
"""Can a handler receive incoming events from different sources in parallel?

Start from this file when you go live. Redis numbers the events without a hole.
So a missing one shows, and clients are told of a gap. One task reads them for
all sockets of a process, and keeps the last ten thousand for clients that come
back. A send never waits: a client that does not read is cut off, and delays
nobody. Run as many processes as you like.

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
    {"error": "405: Method Not Allowed"}

Good to know:

- Keep the last `id`, of `ready` or of an event, and reconnect with `after`. An
  id that is unknown, because it is too old or made up, is a gap.
- A publisher that gets 503 does not know whether its event was stored. It
  repeats it with the same `Idempotency-Key`: within an hour, it is stored once.
- Nobody logs in here: whoever reaches the port can listen and publish. Only the
  pages of other sites are refused. Add your own check.
- Behind a proxy, `Origin` is compared with `Host` as the proxy sends it. With
  nginx set `proxy_set_header Host $http_host`, or browsers get 403.
- After a restart of Redis all are told of a gap, even with an append-only file:
  nobody can know whether its last second was written. So they are after a
  failover.
- All channels share one stream: to wait for 5000 streams costs 25 ms each time.
  A busy channel shortens the history of the others.
- `receivers` and `/stats` count the sockets of the worker that answers.
- A process keeps at most 64 MiB of events, and 512 KiB for each client that
  does not read. It opens at most 10,000 sockets. Each is a file descriptor:
  raise `ulimit -n`, which is often 1024. Without a free one, requests fail.
- Redis keeps 10,000 events, whatever their size: 640 MiB if each has 64 KiB. A
  new process reads them all before it lets clients in, for 10 s or more.
- Redis must not evict: set `maxmemory-policy noeviction`. When it is full,
  publishers get 503 until it has more memory: what it keeps stays.
- Redis Cluster refuses the script, whose keys are on different nodes.
- A client may leave 512 KiB unread, and send 1000 messages a second (else it
  is closed with 1008), each of 64 KiB. An event has 64 KiB at most.
- The log has no times until you configure `logging`.
- A process notices at once that its Redis is away, and within two seconds that
  it is frozen. It keeps its sockets, and answers 503 with `Retry-After` after a
  second. Afterwards the sockets hear `ready` again, and what they have missed.
"""

import asyncio
import json
import logging
import os
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp.typedefs import Handler
from redis.asyncio import BlockingConnectionPool, Redis, RedisError

# Events that Redis keeps, at least, and a process, at most.
MAX_HISTORY = 10_000
# Bytes of frames that a process keeps.
MAX_MEMORY = 2**26
# Seconds in which an event that is published again is stored once.
REPEAT_AGE = 3600
# Entries that are read at a time: 1 MiB at most.
PAGE = 16
# Bytes of an event, and of a message from a client.
MAX_SIZE = 2**16
# Bytes that a client may leave unread before it is cut off.
MAX_UNREAD = 2**19
# Messages that a client may send in a second.
MAX_RATE = 1000
# Sockets of a process.
MAX_SOCKETS = 10_000
# Seconds of silence after which a client is asked whether it is there. It has
# half as long to answer; aiohttp rounds up both, so it is gone within 29 s.
HEARTBEAT = 18.0
# Seconds that a process has to read what is there, and a client to take what it
# has missed.
CATCH_UP_TIMEOUT = 10.0
# Seconds that Redis has for an answer, and a client for its goodbye.
WAIT = 1.0
# Milliseconds after which Redis says that there is nothing new.
SILENCE = 500
# Seconds between two attempts to read.
READ_AGAIN = 0.5

NAME = "[A-Za-z0-9_-]{1,64}"
EVENT_ID = "[0-9]{1,20}-[0-9]{1,20}"
STREAM = "parallel_events:events"
STATE = "parallel_events:state"
REPEATED = "parallel_events:repeated:"
LATER = {"Retry-After": "1"}
# The first byte of a frame that is whole.
TEXT = 0x80 | WSMsgType.TEXT
PONG = 0x80 | WSMsgType.PONG

# Events are numbered without a hole. A server that was started again may have
# lost its last events, or all; so may one that takes over after a failover. Who
# meets it first takes the time in microseconds as the next number, and adds an
# entry without a channel, which is the gap.
MARK = """
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
if redis.call('HGET', KEYS[2], 'run') ~= run then
  local time = redis.call('TIME')
  local last = redis.call('HGET', KEYS[2], 'last') or 0
  last = math.max(time[1] * 1e6 + time[2], last + 1, ARGV[1] + 1)
  last = string.format('%.0f', last)
  redis.call('HSET', KEYS[2], 'run', run, 'last', last)
  redis.call('XADD', KEYS[1], last .. '-0', '', '')
end
"""

# Redis runs nothing else meanwhile: of two with the same key, one is stored.
PUBLISH = f"""
if KEYS[3] and redis.call('EXISTS', KEYS[3]) == 1 then return end
{MARK}
local id = string.format('%.0f-0', redis.call('HINCRBY', KEYS[2], 'last', 1))
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], id, ARGV[3], ARGV[4])
if KEYS[3] then redis.call('SET', KEYS[3], '', 'EX', ARGV[5]) end
"""


class Event(NamedTuple):
    """What a channel gets. Without a channel it is a gap, which all get."""

    number: int
    channel: str
    frame: bytes


class Socket(NamedTuple):
    channel: str
    ws: web.WebSocketResponse
    transport: asyncio.Transport


@dataclass
class Hub:
    """What this process knows of Redis, and who listens."""

    redis: Redis
    # The numbers of the last event that was read, and that was handed out. They
    # differ where one could not be handed out: the next one tells of a gap.
    place: int = 0
    seen: int = 0
    history: deque[Event] = field(default_factory=deque)
    memory: int = 0
    # Set while there is a reader, and for a moment each time that it has read.
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    has_read: asyncio.Event = field(default_factory=asyncio.Event)
    sockets: set[Socket] = field(default_factory=set)
    # Those that the reader serves; the others still catch up.
    channels: dict[str, set[Socket]] = field(default_factory=dict)


HUB = web.AppKey("HUB", Hub)

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


# answer
async def read_events(hub: Hub) -> None:
    """Read for all sockets of this process, until the connection is lost."""
    # One connection, never another: each may be one to a new Redis.
    async with aclosing(hub.redis.client()) as redis:
        await begin(hub, redis)
        hub.ready.set()
        while True:
            # What others have added is left out: its number is that of the last
            # event, and only the second part of its id is greater.
            last = f"{hub.place}-{2**64 - 1}"
            found: Any = await redis.xread({STREAM: last}, PAGE, SILENCE)
            for event_id, fields in found[0][1] if found else []:
                hub.place = read_number(event_id)
                hand_out(hub, read_event(hub.place, fields))
                # In a burst of events, nothing above lets others run.
                await asyncio.sleep(0)
            # Who waits for this goes on; who comes later waits again.
            hub.has_read.set()
            hub.has_read.clear()


def hand_out(hub: Hub, event: Event) -> None:
    """Send an event to those who are here; keep it for those who come back."""
    if not is_next(event, hub.seen):
        hand_out(hub, Event(hub.seen, "", GAP))
    hub.history.append(event)
    hub.memory += len(event.frame)
    while len(hub.history) > MAX_HISTORY or hub.memory > MAX_MEMORY:
        hub.memory -= len(hub.history.popleft().frame)
    listeners = hub.channels.get(event.channel, set())
    for socket in listeners if event.channel else hub.sockets:
        write(socket, event.frame)
    hub.seen = event.number


def is_next(event: Event, last: int) -> bool:
    """Return whether nothing is missing between; a gap says so itself."""
    return event.number == last + 1 or not event.channel


async def catch_up(request: web.Request, socket: Socket, last: int) -> None:
    """Send what a client has missed, at its own pace."""
    hub = request.app[HUB]
    while last != hub.seen:
        missed = [event for event in hub.history if event.number > last]
        if not missed or not is_next(missed[0], last):
            write(socket, GAP)
        for event in missed:
            if event.channel in ("", socket.channel):
                write(socket, event.frame)
                # aiohttp waits here while more than 64 KiB are unread.
                await request.writer.drain()
        last = missed[-1].number if missed else hub.seen
    # Nothing waited since: the reader hands out what comes next.
    hub.channels.setdefault(socket.channel, set()).add(socket)


# end of answer


async def begin(hub: Hub, redis: Redis) -> None:
    """Go on where the reader was, and tell all sockets so."""
    # The connections of publishers are as dead as the one that the reader lost.
    # One that is in use finds out by itself.
    await hub.redis.connection_pool.disconnect(inuse_connections=False)
    await redis.eval(MARK, 2, STREAM, STATE, str(hub.seen))
    for socket in hub.sockets:
        write(socket, make_frame(type="ready", channel=socket.channel))


def read_event(number: int, fields: dict[str, str]) -> Event:
    [(channel, data)] = fields.items()
    event = make_frame(type="event", data=data, id=f"{number}-0")
    return Event(number, channel, event if channel else GAP)


def read_number(event_id: str) -> int:
    # What something else has stored in place of one is 0.
    return int(re.sub("[^0-9].*", "", event_id) or 0)


# answer
def write(socket: Socket, frame: bytes) -> None:
    """Write a frame where there is room; cut off a client that has none.

    It never waits, so nobody else runs meanwhile: who calls it in a loop may
    loop over the live registry, and messages come in order.
    """
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


def make_frame(**message: str) -> bytes:
    """Return a message as a whole WebSocket frame (RFC 6455, 5.2)."""
    payload = json.dumps(message).encode()
    size = len(payload)
    if size < 126:
        return bytes([TEXT, size]) + payload
    if size < 2**16:
        return bytes([TEXT, 126]) + size.to_bytes(2, "big") + payload
    return bytes([TEXT, 127]) + size.to_bytes(8, "big") + payload


GAP = make_frame(type="gap")


async def keep_reading(hub: Hub) -> None:
    """Own the reader of this process: one, for all its sockets."""
    known: type[Exception] | None = None
    while True:
        try:
            await read_events(hub)
        except Exception as error:
            is_outage = isinstance(error, (RedisError, OSError))
            # A mistake has a traceback, the first time that it happens.
            trace = not is_outage and type(error) is not known
            # An outage is logged once, not for each attempt.
            if not is_outage or hub.ready.is_set() or not known:
                logger.warning("no events: %s", describe(error), exc_info=trace)
            known = type(error)
        hub.ready.clear()
        await asyncio.sleep(READ_AGAIN)


def describe(error: Exception) -> str:
    # A TimeoutError has no text, and the errors of redis-py 8 show none in %r.
    return f"{type(error).__name__}: {error}"


@routes.get("/ws", allow_head=False)
async def listen(request: web.Request) -> web.WebSocketResponse:
    """Send the events of a channel, and echo what the client sends."""
    hub = request.app[HUB]
    socket = await open_socket(request, hub)
    after = request.query.get("after", f"{hub.seen}-0")
    hub.sockets.add(socket)
    try:
        ready = make_frame(type="ready", channel=socket.channel, id=after)
        write(socket, ready)
        async with asyncio.timeout(CATCH_UP_TIMEOUT):
            await catch_up(request, socket, read_number(after))
        await answer(socket)
    except OSError as error:
        # It has left; or it is late, comes back and goes on where it was.
        logger.info("left a client behind: %s", describe(error))
    finally:
        hub.sockets.discard(socket)
        listeners = hub.channels.get(socket.channel, set())
        listeners.discard(socket)
        if not listeners:
            hub.channels.pop(socket.channel, None)
        # aiohttp closes the transport of a client that missed its heartbeat.
        # But one that is closed waits until the client has read everything.
        socket.transport.abort()
    return socket.ws


async def answer(socket: Socket) -> None:
    """Echo what a client sends, until it leaves."""
    second = count = 0
    async for message in socket.ws:
        now = int(time.monotonic())
        count = count + 1 if now == second else 1
        second = now
        if count > MAX_RATE:
            await say_goodbye(socket, WSCloseCode.POLICY_VIOLATION)
        if message.type is WSMsgType.TEXT:
            write(socket, make_frame(type="echo", data=message.data))
        elif message.type is WSMsgType.PING:
            # aiohttp's own pong would wait for a client that does not read.
            write(socket, bytes([PONG, len(message.data)]) + message.data)
        # A flood of small messages would let nobody else run.
        await asyncio.sleep(0)


async def open_socket(request: web.Request, hub: Hub) -> Socket:
    """Shake hands, and name what the WebSocket is written to."""
    refuse_foreign_origin(request)
    channel = request.query.get("channel", "news")
    require("channel", channel, NAME)
    require("after", request.query.get("after", "0-0"), EVENT_ID)
    async with asyncio.timeout(WAIT):
        await hub.ready.wait()
        newest = await hub.redis.hget(STATE, "last")
    # This process may be new, or a client come from one that has read on.
    async with asyncio.timeout(CATCH_UP_TIMEOUT):
        while hub.place < read_number(str(newest or "")):
            await hub.has_read.wait()
    # Only now: a crowd comes back at once, and waits together above.
    if len(hub.sockets) >= MAX_SOCKETS:
        raise web.HTTPTooManyRequests(text="too many sockets", headers=LATER)
    # aiohttp refuses a message of the size that it is given.
    ws = web.WebSocketResponse(
        heartbeat=HEARTBEAT, max_msg_size=MAX_SIZE + 1, autoping=False
    )
    # None if the client has left. Then prepare() raises an error.
    transport = cast(asyncio.Transport, request.transport)
    try:
        await ws.prepare(request)
    except (AssertionError, ConnectionError, ValueError, web.HTTPBadRequest):
        # The client has left: ConnectionError, or AssertionError before aiohttp
        # 3.14. A header is not ASCII: ValueError.
        raise web.HTTPBadRequest(text="no WebSocket handshake") from None
    return Socket(channel, ws, transport)


def refuse_foreign_origin(request: web.Request) -> None:
    """Refuse what a page of another site makes its visitor's browser send."""
    # Both schemes: behind a proxy that ends TLS, our page has https, we http.
    ours = {None, f"http://{request.host}", f"https://{request.host}"}
    if request.headers.get(hdrs.ORIGIN) not in ours:
        raise web.HTTPForbidden(text="the Origin is foreign")


def require(name: str, value: str, pattern: str) -> None:
    if not re.fullmatch(pattern, value):
        raise web.HTTPBadRequest(text=f"{name} must match {pattern}")


@web.middleware
async def explain_errors(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Answer in JSON, whoever refuses."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        # In aiohttp 4.0 an error is no response, and cannot be changed.
        headers = {**error.headers, "Content-Type": "application/json"}
        text = json.dumps({"error": error.text})
        return web.Response(text=text, status=error.status, headers=headers)
    except (RedisError, TimeoutError, RuntimeError) as error:
        # uvloop raises a RuntimeError where a connection was reset. Another one
        # is a mistake.
        trace = isinstance(error, RuntimeError)
        # What the reader knows, it has told.
        if trace or request.app[HUB].ready.is_set():
            logger.warning("cannot answer: %s", describe(error), exc_info=trace)
        body = {"error": "not now: if Redis is away, `make cluster` starts one"}
        return web.json_response(body, status=503, headers=LATER)


@routes.post(f"/channels/{{channel:{NAME}}}")
async def publish(request: web.Request) -> web.Response:
    """Store the body as an event; answer how many sockets here wait for it."""
    hub = request.app[HUB]
    refuse_foreign_origin(request)
    channel = request.match_info["channel"]
    try:
        # Not request.clone(client_max_size=...): it is a RuntimeError where a
        # middleware has read the body.
        body = await request.read()
        event = body.decode()
    except (ValueError, web.RequestPayloadError):
        raise web.HTTPBadRequest(text="an event is UTF-8") from None
    if len(body) > MAX_SIZE:
        text = f"an event has at most {MAX_SIZE} bytes"
        raise web.HTTPRequestEntityTooLarge(MAX_SIZE, len(body), text=text)
    keys = [STREAM, STATE]
    if key := request.headers.get("Idempotency-Key"):
        require("Idempotency-Key", key, NAME)
        keys.append(f"{REPEATED}{channel}:{key}")
    values = [hub.seen, MAX_HISTORY, channel, event, REPEAT_AGE]
    # The wait for one of the connections counts, too. Where it takes longer,
    # nobody knows whether the event is stored.
    async with asyncio.timeout(WAIT):
        await hub.ready.wait()
        await hub.redis.eval(PUBLISH, len(keys), *keys, *map(str, values))
    return web.json_response({"receivers": len(hub.channels.get(channel, ()))})


@routes.get("/stats")
async def count_sockets(request: web.Request) -> web.Response:
    """Count the sockets of this process, and their channels."""
    hub = request.app[HUB]
    counts = {"sockets": len(hub.sockets), "channels": len(hub.channels)}
    return web.json_response(counts)


async def reader(app: web.Application) -> AsyncIterator[None]:
    """Read Redis for as long as the application runs."""
    async with app[HUB].redis:
        task = asyncio.create_task(keep_reading(app[HUB]))
        yield
        # Python 3.11 may swallow a cancel(), in a wait_for() of redis-py.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)


def open_redis(url: str) -> Redis:
    """Make a client; it connects when it is used."""
    # Not Redis.from_url(): where no connection is free, its pool does not wait.
    pool = BlockingConnectionPool.from_url(
        url, socket_timeout=WAIT + SILENCE / 1000, socket_connect_timeout=WAIT
    )
    # Whatever the URL asks for: other options change what XREAD answers.
    pool.connection_kwargs["decode_responses"] = True
    pool.connection_kwargs["encoding_errors"] = "replace"
    pool.connection_kwargs.pop("protocol", None)
    return Redis.from_pool(pool)


async def close_sockets(app: web.Application) -> None:
    """Say goodbye to all clients at once, and wait a second at most."""
    async with asyncio.TaskGroup() as tasks:
        for socket in app[HUB].sockets:
            tasks.create_task(say_goodbye(socket, WSCloseCode.GOING_AWAY))


async def say_goodbye(socket: Socket, code: WSCloseCode) -> None:
    # close() waits for the client's part, up to 10 s.
    asyncio.get_running_loop().call_later(WAIT, socket.transport.abort)
    await socket.ws.close(code=code)


def create_app(*, redis_url: str = "redis://localhost") -> web.Application:
    app = web.Application(middlewares=[explain_errors])
    app[HUB] = Hub(open_redis(redis_url))
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
