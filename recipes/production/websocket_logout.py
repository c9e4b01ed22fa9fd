# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4", "redis>=5.0.1"]
# ///
"""How do I programmatically close a WebSocket server-side?

Start from this file when you go live with several workers. Sessions, tickets
and the places of open sockets are in Redis. A logout on any worker ends them
there, closes the sockets of this worker, and is heard by all others through a
stream. They do not rely on it: each asks which sessions are over after it has
opened a socket, every five seconds, and when Redis is back.

Try it::

    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login | tee login
    {"user": "ann", "ticket": "..."}
    $ TICKET=$(cut -d '"' -f 8 login)
    $ curl "localhost:8080/echo?ticket=$TICKET"
    {"error": "this is no WebSocket handshake"}
    $ python -m websockets "ws://localhost:8080/echo?ticket=$TICKET"
    > hi
    < hi
    $ curl -X POST "localhost:8080/logout?ticket=$TICKET"
    {"error": "log in first"}
    $ curl -b jar -X POST localhost:8080/logout
    {"closed": 1}
    Connection closed: 4001 (private use) logged out.

Good to know:

- `closed` counts the sockets of all workers. `/sockets` counts those of the
  worker that answers.
- A session ends by a logout, after an hour, or when its user has 100 newer
  ones. Its sockets are closed with 4001.
- A ticket opens one socket within 30 s. A refused upgrade does not spend it.
  Servers and proxies log the query, so a ticket must not live long.
- Redis knows hashes of tokens and tickets. Who reads it can log in as nobody.
- While Redis is away, logins, logouts and new sockets get a 503. Open sockets
  stay for 10 to 13 s, and are closed with 1013 if it is not back.
- A worker that is killed loses its sockets. Their places are free after 20 s.
- A Redis that restarts without its data has ended all sessions.
- Give Redis a `maxmemory` and the policy `noeviction`. When it is full, a login
  gets a 503, and nobody is logged out.
- Redis times sessions and tickets. The clocks of workers time only places: one
  that is wrong by seconds changes nothing.
- `SameSite=Lax` is not enough. Chromium sends no such cookie from a page of
  another site, but it does from another port or sub-domain of the same site.
- Behind a proxy, `Origin` is compared with `Host` as the proxy sends it. With
  nginx set `proxy_set_header Host $http_host`: `$host` lacks the port.
- Behind https call `create_app(secure=True)`.
- A client that sends more than 1000 messages in a second is closed with 1008.
"""

import asyncio
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp.typedefs import Handler
from redis.asyncio import BlockingConnectionPool, Redis, RedisError

# No other application of this host may use a cookie of this name.
COOKIE = "websocket_logout_production"
# Seconds from a login to the end of its session.
SESSION_AGE = 3600.0
# Seconds in which a ticket opens a socket.
TICKET_AGE = 30.0
# Sessions of one user. The oldest one ends where there are more.
MAX_USER_SESSIONS = 100
# Open sockets of one user, on all workers together.
MAX_USER_SOCKETS = 1000
# Characters of a user's name.
MAX_USER_NAME = 64
# Bytes of a message that is too long by one.
MAX_MESSAGE = 65_537
# Messages that a client may send in a second.
MAX_RATE = 1000
# Seconds of silence before a ping. The peer has half of that to answer.
HEARTBEAT = 30.0
# Seconds that a send waits for a peer that does not read.
SEND_TIMEOUT = 10.0
# Seconds that a peer has to read what was sent, and to close its side.
CLOSE_TIMEOUT = 1.0
# Seconds of it for a client that floods: closing reads on, at full speed.
FLOOD_TIMEOUT = 0.1
# Seconds that Redis has to connect, and to answer.
REDIS_TIMEOUT = 1.0
# Seconds of it that a goodbye waits, which comes before CLOSE_TIMEOUT.
LEAVE_TIMEOUT = 0.5
# Connections of this worker to Redis. A request waits for one, if need be.
MAX_CONNECTIONS = 20
# Seconds that Redis holds back the answer that there is nothing new.
STREAM_WAIT = 0.5
# Logouts that the stream remembers. Who missed more, asks for each session.
STREAM_LENGTH = 1000
# Seconds after which a worker asks which sessions of its sockets are over.
CHECK_INTERVAL = 5.0
# Sockets that it asks for at once.
CHECK_BATCH = 500
# Seconds without an answer after which it closes its sockets.
MAX_UNCHECKED = 10.0
# Seconds that a place is kept without a check: for longer than a socket is.
PLACE_AGE = 20.0
# Seconds until Redis is asked again when it was away.
TRY_AGAIN = 0.5
# Seconds after which the watch is cancelled once more.
CANCEL_AGAIN = 0.1

# The user of a session. Keys hold hashes of tokens, which open nothing.
SESSION = "websocket_logout:session:"
# The session of a ticket.
TICKET = "websocket_logout:ticket:"
# The sessions of a user, the oldest first.
SESSIONS = "websocket_logout:sessions:"
# The sockets of a user on all workers, and when their places end.
PLACES = "websocket_logout:places:"
# A stream: unlike a message of pub/sub, an entry is there for who comes later.
ENDED = "websocket_logout:ended"

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


class Settings(NamedTuple):
    heartbeat: float
    secure: bool


class Goodbye(NamedTuple):
    """What a close frame says, and the seconds that the peer has for it.

    A reason has 123 bytes at most.
    """

    code: int
    reason: bytes
    timeout: float = CLOSE_TIMEOUT


LOGGED_OUT = Goodbye(4001, b"logged out")
SHUTDOWN = Goodbye(WSCloseCode.GOING_AWAY, b"shutdown")
UNCHECKED = Goodbye(WSCloseCode.TRY_AGAIN_LATER, b"cannot check the session")
TOO_SLOW = Goodbye(WSCloseCode.POLICY_VIOLATION, b"you do not read")
TOO_FAST = Goodbye(
    WSCloseCode.POLICY_VIOLATION, b"too many messages", FLOOD_TIMEOUT
)


class Session(NamedTuple):
    """A login. `key` is the hash of its token."""

    user: str
    key: str


@dataclass(eq=False)
class Socket:
    """An open socket. `limit` has no time until it interrupts the handler."""

    session: Session
    ws: web.WebSocketResponse
    transport: asyncio.Transport
    place: str = field(default_factory=secrets.token_hex)
    limit: asyncio.Timeout = field(
        default_factory=partial(asyncio.timeout, None)
    )
    goodbye: Goodbye = TOO_SLOW
    is_over: bool = False


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


SETTINGS = web.AppKey("SETTINGS", Settings)
REDIS = web.AppKey("REDIS", Redis)
# The open sockets of this worker, by the keys of their sessions.
SOCKETS = web.AppKey("SOCKETS", dict[str, set[Socket]])
LEAVING = web.AppKey("LEAVING", set[asyncio.Task[None]])


# answer
@routes.get("/echo", allow_head=False)
async def echo(request: web.Request) -> web.WebSocketResponse:
    """Echo text until the client leaves, or its session ends."""
    refuse_foreign_origin(request)
    socket = await create_socket(request)
    try:
        await take_place(request, socket)
        await socket.ws.prepare(request)
    except BaseException:
        await leave_place(request.app, socket)
        raise
    await serve(request.app, socket)
    return socket.ws


async def serve(app: web.Application, socket: Socket) -> None:
    try:
        async with socket.limit:
            app[SOCKETS].setdefault(socket.session.key, set()).add(socket)
            # A logout before this line found no socket to close here, and one
            # after it will. So ask now, and not before.
            await check_socket(app, socket)
            # On Python 3.11 redis-py may swallow the interruption.
            if not socket.is_over:
                await echo_messages(socket)
    except (ConnectionError, TimeoutError):
        # The client has left; or it does not read, or we were interrupted.
        pass
    finally:
        remove_socket(app, socket)
        await close(app, socket)


def interrupt(
    app: web.Application, sockets: Iterable[Socket], goodbye: Goodbye
) -> None:
    """Let the handlers close these sockets, which are in the registry."""
    for socket in list(sockets):
        # First of all: a second interruption would raise.
        remove_socket(app, socket)
        socket.goodbye = goodbye
        socket.is_over = True
        # This time has passed: the handler gets a TimeoutError at once, where
        # it waits.
        socket.limit.reschedule(0)


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """End all sessions of the user; their sockets close after the answer."""
    refuse_foreign_origin(request)
    session = await authenticate(request)
    redis = request.app[REDIS]
    sessions: Any = await redis.zrange(SESSIONS + session.user, 0, -1)
    closed = await end_sessions(redis, session.user, sessions)
    # Not only by the stream: nothing is echoed here after the answer.
    for key in sessions:
        close_session(request.app, key)
    return web.json_response({"closed": closed})


# end of answer


async def end_sessions(redis: Redis, user: str, sessions: list[str]) -> int:
    """End sessions everywhere; return how many sockets the user has."""
    async with redis.pipeline() as transaction:
        transaction.delete(*[SESSION + key for key in sessions])
        transaction.zrem(SESSIONS + user, *sessions)
        transaction.zcount(PLACES + user, time.time(), "+inf")
        *_, count = await transaction.execute()
    entry: Any = {"sessions": " ".join(sessions)}
    try:
        await redis.xadd(ENDED, entry, maxlen=STREAM_LENGTH)
    except RedisError as error:
        # A Redis that is full deletes, but adds nothing. The sessions are over,
        # and the other workers see it at their next check.
        logger.warning("no word to other workers: %s", describe(error))
    return int(count)


def close_session(app: web.Application, key: str) -> None:
    """Close the sockets that this worker has of a session."""
    interrupt(app, app[SOCKETS].get(key, ()), LOGGED_OUT)


async def create_socket(request: web.Request) -> Socket:
    """Check the handshake and the session, before anything is spent."""
    ws = web.WebSocketResponse(
        heartbeat=request.app[SETTINGS].heartbeat,
        # A pong of aiohttp waits without a limit. Ours do not: see below.
        autoping=False,
        # A small message may not unpack to a large one.
        compress=False,
        max_msg_size=MAX_MESSAGE,
    )
    is_handshake = False
    # aiohttp 3.14.5 raises a ValueError for a header that is not ASCII.
    with suppress(ValueError):
        is_handshake = ws.can_prepare(request).ok
    if not is_handshake:
        reason = "this is no WebSocket handshake"
        raise json_error(web.HTTPBadRequest, reason)
    session = await authenticate_socket(request)
    if request.transport is None:
        raise ConnectionResetError
    return Socket(session, ws, request.transport)


async def authenticate(request: web.Request) -> Session:
    """Return the session of the cookie."""
    key = hash_secret(request.cookies.get(COOKIE, ""))
    return await find_session(request.app[REDIS], key)


async def authenticate_socket(request: web.Request) -> Session:
    """Return the session of the ticket, or of the cookie.

    A ticket is good for a socket alone: it cannot log out.
    """
    if "ticket" not in request.query:
        return await authenticate(request)
    redis = request.app[REDIS]
    key: Any = await redis.get(ticket_key(request))
    return await find_session(redis, key or "")


def ticket_key(request: web.Request) -> str:
    return TICKET + hash_secret(request.query["ticket"])


async def find_session(redis: Redis, key: str) -> Session:
    user: Any = await redis.get(SESSION + key)
    if user is None:
        raise json_error(web.HTTPUnauthorized, "log in first")
    return Session(user, key)


def hash_secret(secret: str) -> str:
    # A cookie may have bytes that are no text.
    data = secret.encode(errors="surrogateescape")
    return hashlib.sha256(data).hexdigest()


async def take_place(request: web.Request, socket: Socket) -> None:
    """Count the socket among those of its user, and spend the ticket."""
    session = socket.session
    places = PLACES + session.user
    redis = request.app[REDIS]
    now = time.time()
    async with redis.pipeline() as transaction:
        transaction.zremrangebyscore(places, 0, now)
        transaction.zadd(places, {socket.place: now + PLACE_AGE})
        transaction.pexpire(places, timedelta(seconds=SESSION_AGE))
        transaction.zcard(places)
        # With it in one transaction, a logout counts the socket, or refuses it.
        transaction.exists(SESSION + session.key)
        *_, count, is_valid = await transaction.execute()
    if count > MAX_USER_SOCKETS:
        reason = f"a user may have {MAX_USER_SOCKETS} sockets"
        raise json_error(web.HTTPTooManyRequests, reason)
    # Nothing else refuses it. Of two with one ticket, one gets the answer.
    if is_valid and "ticket" in request.query:
        is_valid = await redis.getdel(ticket_key(request))
    if not is_valid:
        raise json_error(web.HTTPUnauthorized, "log in again")


async def leave_place(app: web.Application, socket: Socket) -> None:
    # In a task of its own: a client that has left may cancel its handler.
    task = asyncio.create_task(delete_place(app, socket))
    app[LEAVING].add(task)
    task.add_done_callback(app[LEAVING].discard)
    await asyncio.wait([task])


async def delete_place(app: web.Application, socket: Socket) -> None:
    # Where Redis is away, the place ends by itself.
    with suppress(RedisError, TimeoutError):
        async with asyncio.timeout(LEAVE_TIMEOUT):
            await app[REDIS].zrem(PLACES + socket.session.user, socket.place)


async def check_socket(app: web.Application, socket: Socket) -> None:
    """Interrupt a new socket whose session is over, or cannot be checked."""
    try:
        await check_sockets(app, [socket])
    except RedisError as error:
        logger.warning("cannot check a session: %s", describe(error))
        interrupt(app, [socket], UNCHECKED)


async def check_sockets(app: web.Application, sockets: list[Socket]) -> None:
    """Close those whose session is over, and keep the places of the others."""
    end = time.time() + PLACE_AGE
    async with app[REDIS].pipeline(transaction=False) as pipeline:
        for socket in sockets:
            user, key = socket.session
            pipeline.exists(SESSION + key)
            # Only if it is there: its handler may be leaving it.
            pipeline.zadd(PLACES + user, {socket.place: end}, xx=True)
        answers = await pipeline.execute()
    for socket, is_valid in zip(sockets, answers[::2], strict=True):
        if not is_valid:
            close_session(app, socket.session.key)


async def keep_watching(app: web.Application) -> None:
    """Close the sockets of sessions that end, whoever has ended them."""
    loop = asyncio.get_running_loop()
    position = "0"
    checked = loop.time() - CHECK_INTERVAL
    is_away = False
    while True:
        try:
            # A stream forgets, too. So check all when Redis is back.
            if is_away or loop.time() >= checked + CHECK_INTERVAL:
                start = loop.time()
                await check_all(app)
                checked = start
                is_away = False
            position = await read_stream(app, position)
        except Exception as error:
            # Once for each outage, not for each attempt.
            if not is_away:
                is_mistake = not isinstance(error, RedisError)
                reason = describe(error)
                logger.warning("no sessions: %s", reason, exc_info=is_mistake)
            is_away = True
            if loop.time() >= checked + MAX_UNCHECKED:
                interrupt(app, every_socket(app), UNCHECKED)
            await asyncio.sleep(TRY_AGAIN)


async def read_stream(app: web.Application, position: str) -> str:
    """Close what has ended since a position, and return the next one."""
    streams: Any = {ENDED: position}
    wait = round(STREAM_WAIT * 1000)
    answer: Any = await app[REDIS].xread(streams, block=wait)
    for _, entries in answer:
        for entry_id, entry in entries:
            position = entry_id
            for key in entry.get("sessions", "").split():
                close_session(app, key)
    return position


async def check_all(app: web.Application) -> None:
    sockets = every_socket(app)
    # A batch keeps this worker from all else for some milliseconds.
    for first in range(0, len(sockets), CHECK_BATCH):
        await check_sockets(app, sockets[first : first + CHECK_BATCH])


def describe(error: Exception) -> str:
    # A TimeoutError has no text, and the errors of redis-py 8 show none in %r.
    return f"{type(error).__name__}: {error}"


def remove_socket(app: web.Application, socket: Socket) -> None:
    key = socket.session.key
    mine = app[SOCKETS].get(key, set())
    mine.discard(socket)
    if not mine:
        # Or each session that ever was would leave an empty set.
        app[SOCKETS].pop(key, None)


def every_socket(app: web.Application) -> list[Socket]:
    return [each for sockets in app[SOCKETS].values() for each in sockets]


async def close(app: web.Application, socket: Socket) -> None:
    """Say goodbye, and end the connection after its time-out."""
    # Without the abort, close() has no limit where the peer does not read.
    # Abort always: aiohttp closes the transport after a missed heartbeat, but
    # it stays open as long as there are unsent bytes.
    code, reason, timeout = socket.goodbye
    asyncio.get_running_loop().call_later(timeout, socket.transport.abort)
    if not socket.transport.is_closing():
        # Now close() waits until all is sent, not only until there is room.
        socket.transport.set_write_buffer_limits(0)
    # First: who has heard the goodbye may open another socket.
    await leave_place(app, socket)
    try:
        await socket.ws.close(code=code, message=reason)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # somebody cancels us
        # In aiohttp 3.14.5 all sends wait for room on one future. Where one was
        # interrupted, close() raises at once, and only the abort is left. The
        # server must not end before it.
        await asyncio.sleep(timeout)


async def echo_messages(socket: Socket) -> None:
    meter = Meter()
    async for message in socket.ws:
        if socket.is_over:
            # It came before the interruption. Nothing may follow a logout.
            return
        if meter.is_too_fast():
            socket.goodbye = TOO_FAST
            return
        async with asyncio.timeout(SEND_TIMEOUT):
            if message.type is WSMsgType.TEXT:
                await socket.ws.send_str(message.data)
            elif message.type is WSMsgType.PING:
                await socket.ws.pong(message.data)
        # In a flood of small messages nothing above lets others run.
        await asyncio.sleep(0)


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Start a session, and give a ticket that opens one socket."""
    refuse_foreign_origin(request)
    user = await read_user(request)
    token = secrets.token_urlsafe()
    ticket = secrets.token_urlsafe()
    session = Session(user, hash_secret(token))
    await start_session(request.app[REDIS], session, hash_secret(ticket))
    response = web.json_response({"user": user, "ticket": ticket})
    response.set_cookie(
        COOKIE,
        token,
        httponly=True,
        samesite="Lax",
        secure=request.app[SETTINGS].secure,
    )
    return response


async def start_session(redis: Redis, session: Session, ticket: str) -> None:
    user, key = session
    age = timedelta(seconds=SESSION_AGE)
    ticket_age = timedelta(seconds=TICKET_AGE)
    async with redis.pipeline() as transaction:
        transaction.set(SESSION + key, user, px=age)
        transaction.set(TICKET + ticket, key, px=ticket_age)
        transaction.zadd(SESSIONS + user, {key: time.time()})
        transaction.pexpire(SESSIONS + user, age)
        transaction.zrange(SESSIONS + user, 0, -1 - MAX_USER_SESSIONS)
        oldest = (await transaction.execute())[-1]
    if oldest:
        # Nobody else's: whoever logs in often must not log others out.
        await end_sessions(redis, user, oldest)


async def read_user(request: web.Request) -> str:
    body = await read_json(request)
    user = body.get("user") if isinstance(body, dict) else None
    if isinstance(user, str) and is_name(user):
        return user
    reason = f"user must have 1 to {MAX_USER_NAME} printable characters"
    raise json_error(web.HTTPBadRequest, reason)


def is_name(text: str) -> bool:
    return text.isprintable() and 1 <= len(text) <= MAX_USER_NAME


async def read_json(request: web.Request) -> object:
    # Bytes, not text(): the client would choose the codec, and some are slow.
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        raise json_error(web.HTTPBadRequest, "the body must be JSON") from None


def refuse_foreign_origin(request: web.Request) -> None:
    """Refuse what a page of another origin sends with our visitor's cookie."""
    # Both schemes: behind a proxy that ends TLS, our page has https, we http.
    ours = {None, f"http://{request.host}", f"https://{request.host}"}
    if request.headers.get(hdrs.ORIGIN) not in ours:
        raise json_error(web.HTTPForbidden, "the Origin is foreign")


@web.middleware
async def explain_errors(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Answer in JSON, and take a client that leaves for no error."""
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
    except RedisError as error:
        logger.warning("Redis is away: %s", describe(error))
        body = {"error": "Redis is away: `make cluster` starts one"}
        retry = {hdrs.RETRY_AFTER: "1"}
        return web.json_response(body, status=503, headers=retry)
    except ConnectionError:
        if is_connected(request):
            raise  # it is about another connection: a 500
        # Nobody reads it. aiohttp would log a traceback if we raised.
        return web.Response(status=400)


def is_connected(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and not transport.is_closing()


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.get("/sockets")
async def count_sockets(request: web.Request) -> web.Response:
    """Count the open sockets of this worker, and their users."""
    sockets = every_socket(request.app)
    users = {socket.session.user for socket in sockets}
    return web.json_response({"users": len(users), "sockets": len(sockets)})


async def say_goodbye(app: web.Application) -> None:
    """Interrupt all handlers. The server then waits for them to end."""
    interrupt(app, every_socket(app), SHUTDOWN)


async def watch(app: web.Application, redis_url: str) -> AsyncIterator[None]:
    """Watch Redis for as long as the application runs."""
    redis = open_redis(redis_url)
    app[REDIS] = redis
    task = asyncio.create_task(keep_watching(app))
    try:
        yield
    finally:
        await asyncio.gather(*app[LEAVING])
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
        timeout=REDIS_TIMEOUT,
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
    )
    # Whatever the URL says. What is no text in the stream names no session.
    pool.connection_kwargs["decode_responses"] = True
    pool.connection_kwargs["encoding_errors"] = "replace"
    return Redis.from_pool(pool)


def create_app(
    *,
    redis_url: str = "redis://localhost",
    heartbeat: float = HEARTBEAT,
    secure: bool = False,
) -> web.Application:
    app = web.Application(middlewares=[explain_errors])
    app[SETTINGS] = Settings(heartbeat, secure)
    app[SOCKETS] = {}
    app[LEAVING] = set()
    app.cleanup_ctx.append(partial(watch, redis_url=redis_url))
    app.on_shutdown.append(say_goodbye)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    web.run_app(
        create_app(redis_url=os.environ.get("REDIS_URL", "redis://localhost")),
        host="127.0.0.1",
        port=int(os.environ.get("PORT", "8080")),
        shutdown_timeout=5,
    )
