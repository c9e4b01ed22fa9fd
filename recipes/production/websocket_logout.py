# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10.11,<4", "redis>=5.0.1"]
# ///
"""How do I programmatically close a WebSocket server-side?

Start from this file when you go live with several workers. Sessions, tickets
and the places of open sockets are in Redis. A logout on any worker ends them
there, closes the sockets of this worker, and is published to all others. They
do not rely on this message: each asks which sessions are over after it has
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

- Where a handler reads, `close()` of aiohttp 3.14.5 ends the connection right
  behind the goodbye, and aiohttp's client says 1006. So a logout ends the
  reading, and the handler itself says goodbye, and waits for its peer's.
- `closed` counts the sockets of all workers. `/sockets` counts those of the
  worker that answers.
- `POST /login` asks for no password: put your own check there.
- Redis does a logout and a login of the same moment one after the other. The
  logout ends the login if that comes first.
- A session ends by a logout, after an hour, or when its user has 100 newer
  ones. Its sockets are closed with 4001.
- A user has at most 1000 open sockets on all workers. One more gets a 429.
- A ticket opens one socket within 30 s. An upgrade that is refused does not
  spend it; one that breaks off may. Servers and proxies log the query, so a
  ticket must not live long.
- Redis knows hashes of tokens and tickets. Who reads it cannot log in.
- While Redis is away, logins, logouts and new sockets get a 503. Open sockets
  stay for 5 to 13 s, and are closed with 1013 if it is not back.
- Take Redis 6.2 or later, for `GETDEL`, but no Redis Cluster, where keys of one
  step are on different nodes. Otherwise the log tells why there is a 503.
- A worker that is killed loses its sockets. Their places are free after 20 s.
- Each socket is a file descriptor: raise `ulimit -n`, which is often 1024.
- The log has no times until you configure `logging`.
- A peer that has vanished is gone after 47 s at most.
- A Redis that restarts without its data has ended all sessions.
- Give Redis a `maxmemory` and the policy `noeviction`. When it is full, a login
  and a new socket get a 503, and nobody is logged out.
- Redis times sessions, tickets and places. The clocks of workers only say which
  of a user's logins is the oldest.
- `SameSite=Lax` is not enough. Chromium sends no such cookie from a page of
  another site, but it does from another port or sub-domain of the same site.
- Behind a proxy, `Origin` is compared with `Host` as the proxy sends it. With
  nginx set `proxy_set_header Host $http_host`: `$host` lacks the port.
- Behind https call `create_app(secure=True)` in the last lines.
- A client that sends more than 1000 messages in a second is closed with 1008.
"""

import asyncio
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler
from redis.asyncio import BlockingConnectionPool, Redis, RedisError

# No other application of this host may use a cookie of this name.
COOKIE = "websocket_logout_production"
# From a login to the end of its session.
SESSION_AGE = timedelta(hours=1)
# In which a ticket opens a socket.
TICKET_AGE = timedelta(seconds=30)
# Sessions of one user. The oldest one ends where there are more.
MAX_USER_SESSIONS = 100
# Open sockets of one user, on all workers together.
MAX_USER_SOCKETS = 1000
# Bytes of a message that is too long by one.
MAX_MESSAGE = 65_537
# Messages that a client may send in a second.
MAX_RATE = 1000
# Seconds of silence before a ping. The peer has half of that to answer.
HEARTBEAT = 30.0
# Seconds that a send waits for a peer that does not read.
SEND_TIMEOUT = 10.0
# Seconds that Redis has for an answer, and a client for its goodbye.
WAIT = 1.0
# Seconds before goodbyes: a thousand goodbyes would delay a logout's answer.
PAUSE = 0.05
# Seconds that a worker waits for news, and for a Redis that was away.
TRY_AGAIN = 0.5
# Seconds after which a worker asks which sessions of its sockets are over.
CHECK_INTERVAL = 5.0
# Sockets that it asks for at once.
CHECK_BATCH = 500
# Seconds without an answer after which it closes its sockets.
MAX_UNCHECKED = 10.0
# Seconds that a place is kept without a check: for longer than a socket is.
PLACE_AGE = 20.0

# Goodbyes: the code of a close frame, and its reason of 123 bytes at most.
LOGGED_OUT = (4001, b"logged out")
SHUTDOWN = (WSCloseCode.GOING_AWAY, b"shutdown")
TOO_FAST = (WSCloseCode.POLICY_VIOLATION, b"too many messages")
UNCHECKED = (WSCloseCode.TRY_AGAIN_LATER, b"cannot check the session")

# The user of a session. Keys hold hashes of tokens, which open nothing.
SESSION = "websocket_logout:session:"
# The session of a ticket.
TICKET = "websocket_logout:ticket:"
# The sessions of a user, the oldest first.
SESSIONS = "websocket_logout:sessions:"
# The sockets of a user on all workers, and when their places end.
PLACES = "websocket_logout:places:"
# The channel on which workers tell each other which sessions are over.
ENDED = "websocket_logout:ended"

# A logout, in one step: no login and no new socket comes in between, and a
# worker that is killed afterwards has told the others. None of this takes
# memory: it works where Redis is full, too.
END_SESSIONS = """
local sessions = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, session in ipairs(sessions) do redis.call('DEL', ARGV[1] .. session) end
local closed = redis.call('ZCOUNT', KEYS[2], redis.call('TIME')[1], '+inf')
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('PUBLISH', ARGV[2], table.concat(sessions, ' '))
return {closed, sessions}
"""

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


@dataclass(eq=False)
class Socket:
    """An open socket, and what it is closed with, once that is known."""

    user: str
    session: str
    ws: web.WebSocketResponse
    transport: asyncio.Transport
    place: str = field(default_factory=secrets.token_hex)
    reading: asyncio.Timeout = field(init=False)
    goodbye: tuple[int, bytes] | None = None


@dataclass
class Hub:
    """What this worker has: its open sockets, by their sessions."""

    redis: Redis
    secure: bool
    sockets: dict[str, set[Socket]] = field(default_factory=dict)

    def all_sockets(self) -> list[Socket]:
        return [socket for each in self.sockets.values() for socket in each]


HUB = web.AppKey("HUB", Hub)


# answer
@routes.get("/echo", allow_head=False)
async def echo(request: web.Request) -> web.WebSocketResponse:
    """Echo text until the client leaves, or its session ends."""
    socket = await open_socket(request)
    try:
        # The client leaves, does not read, or is hung up on.
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(None) as socket.reading:
                await echo_messages(request.app[HUB], socket)
    finally:
        await part(request.app[HUB], socket)
    return socket.ws


async def echo_messages(hub: Hub, socket: Socket) -> None:
    second = count = 0
    hub.sockets.setdefault(socket.session, set()).add(socket)
    # A logout before this line found no socket to close here, and one after it
    # will. So ask now, and not before. The watch asks again.
    with suppress(RedisError, RuntimeError):
        await check(hub, [socket])
    while not socket.goodbye and not socket.transport.is_closing():
        message = await socket.ws.receive()
        now = int(time.monotonic())
        count = count + 1 if now == second else 1
        second = now
        if count > MAX_RATE:
            socket.goodbye = TOO_FAST
        async with asyncio.timeout(SEND_TIMEOUT):
            # Also of one that came before, no echo may follow a logout.
            if message.type is WSMsgType.TEXT and not socket.goodbye:
                await socket.ws.send_str(message.data)
            elif message.type is WSMsgType.PING:
                await socket.ws.pong(message.data)
        # In a flood of small messages nothing above lets others run.
        await asyncio.sleep(0)


# end of answer


def hang_up(sockets: list[Socket], goodbye: tuple[int, bytes]) -> None:
    """Let the handlers of sockets close them soon, and echo nothing more."""
    for socket in sockets:
        # The first one counts: a logout stays one where the server ends.
        socket.goodbye = socket.goodbye or goodbye
    if sockets:
        # One for all: a thousand timers would delay a logout's answer, too.
        asyncio.get_running_loop().call_later(PAUSE, end_reading, sockets)


def end_reading(sockets: list[Socket]) -> None:
    for socket in sockets:
        # Its handler may have ended it, after a message.
        with suppress(RuntimeError):
            socket.reading.reschedule(0)


# answer
async def part(hub: Hub, socket: Socket) -> None:
    """Say goodbye, wait for the peer's, and end the connection in a second."""
    # Without it close() has no limit where the peer does not read. And aiohttp
    # closes a transport whose heartbeat fails, but only once all is sent.
    asyncio.get_running_loop().call_later(WAIT, socket.transport.abort)
    # First: who has heard the goodbye may open another socket.
    await leave(hub, socket)
    code, reason = socket.goodbye or SHUTDOWN
    await socket.ws.close(code=code, message=reason)


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """End all sessions of the user; their sockets close after the answer."""
    hub = request.app[HUB]
    session = hash_secret(request.cookies.get(COOKIE, ""))
    user = await find_user(hub.redis, session)
    names = [SESSIONS + user, PLACES + user, SESSION, ENDED]
    closed, sessions = await hub.redis.eval(END_SESSIONS, 2, *names)
    # Not only when the channel says so: nothing is echoed after the answer.
    forget_sessions(hub, sessions)
    return web.json_response({"closed": closed})


# end of answer


async def leave(hub: Hub, socket: Socket) -> None:
    # If not, a logout has freed its place.
    if socket in hub.sockets.get(socket.session, ()):
        hub.sockets[socket.session].remove(socket)
        if not hub.sockets[socket.session]:
            del hub.sockets[socket.session]
        # Who has left may cancel the handler, but not this.
        await asyncio.shield(leave_place(hub, socket))


def forget_sessions(hub: Hub, sessions: Iterable[str]) -> None:
    """Close the sockets that this worker has of sessions, after a logout."""
    sockets = [s for each in sessions for s in hub.sockets.pop(each, ())]
    hang_up(sockets, LOGGED_OUT)


async def open_socket(request: web.Request) -> Socket:
    """Shake hands with a user who may have one more socket."""
    hub = request.app[HUB]
    # A pong of aiohttp waits without a limit. Ours do not: see above.
    ws = web.WebSocketResponse(
        heartbeat=HEARTBEAT, autoping=False, max_msg_size=MAX_MESSAGE
    )
    is_handshake = False
    # aiohttp 3.14.5 raises a ValueError for a header that is not ASCII.
    with suppress(ValueError):
        is_handshake = ws.can_prepare(request).ok
    if not is_handshake or request.transport is None:
        raise web.HTTPBadRequest(text="this is no WebSocket handshake")
    session = hash_secret(request.cookies.get(COOKIE, ""))
    if ticket := request.query.get("ticket"):
        session = str(await hub.redis.get(TICKET + hash_secret(ticket)) or "")
    user = await find_user(hub.redis, session)
    socket = Socket(user, session, ws, request.transport)
    try:
        await take_place(hub, socket, ticket)
        await ws.prepare(request)
    except (AssertionError, ConnectionError):
        # Before aiohttp 3.14, who has left is an AssertionError.
        raise web.HTTPBadRequest(text="the client has left") from None
    finally:
        if not ws.prepared:
            await leave_place(hub, socket)
    return socket


async def find_user(redis: Redis, session: str) -> str:
    if user := await redis.get(SESSION + session):
        return str(user)
    raise web.HTTPUnauthorized(text="log in first")


def hash_secret(secret: str) -> str:
    # A cookie may have bytes that are no text.
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


async def take_place(hub: Hub, socket: Socket, ticket: str | None) -> None:
    """Count the socket among those of its user, and spend the ticket."""
    places = PLACES + socket.user
    now, _ = await hub.redis.time()
    async with hub.redis.pipeline() as transaction:
        transaction.zremrangebyscore(places, 0, now)
        transaction.zadd(places, {socket.place: now + PLACE_AGE})
        transaction.pexpire(places, SESSION_AGE)
        transaction.zcard(places)
        # With it in one transaction, a logout counts the socket, or refuses it.
        transaction.exists(SESSION + socket.session)
        *_, count, is_valid = await transaction.execute()
    if count > MAX_USER_SOCKETS:
        raise web.HTTPTooManyRequests(text="too many sockets")
    # Last: who is refused keeps the ticket. Of two with one, only one gets in.
    if is_valid and ticket:
        is_valid = await hub.redis.getdel(TICKET + hash_secret(ticket))
    if not is_valid:
        raise web.HTTPUnauthorized(text="log in again")


async def leave_place(hub: Hub, socket: Socket) -> None:
    # Where Redis is away, the place ends by itself.
    with suppress(RedisError, TimeoutError, RuntimeError):
        async with asyncio.timeout(WAIT / 2):
            await hub.redis.zrem(PLACES + socket.user, socket.place)


async def check(hub: Hub, sockets: list[Socket]) -> None:
    """Close those whose session is over, and keep the places of all."""
    # A batch keeps this worker from all else for some milliseconds.
    for first in range(0, len(sockets), CHECK_BATCH):
        batch = sockets[first : first + CHECK_BATCH]
        async with hub.redis.pipeline(transaction=False) as pipeline:
            for each in batch:
                pipeline.exists(SESSION + each.session)
            pipeline.time()
            *answers, (now, _) = await pipeline.execute()
            over = [s for s, ok in zip(batch, answers, strict=True) if not ok]
            hang_up(over, LOGGED_OUT)
            for each in batch:
                # Only if it is there: it may be leaving.
                place = {each.place: now + PLACE_AGE}
                pipeline.zadd(PLACES + each.user, place, xx=True)
            # A Redis that is full keeps no place, but knows the sessions.
            await pipeline.execute(raise_on_error=False)


async def keep_watching(hub: Hub) -> None:
    """Close the sockets of sessions that end, whoever has ended them."""
    channel = hub.redis.pubsub(ignore_subscribe_messages=True)
    checked = time.monotonic()
    is_away = False
    while True:
        try:
            if not channel.subscribed:
                await channel.subscribe(ENDED)
            if message := await channel.get_message(timeout=TRY_AGAIN):
                forget_sessions(hub, message["data"].split())
            # What was published in an outage is lost. So check all afterwards.
            if is_away or time.monotonic() >= checked + CHECK_INTERVAL:
                await check(hub, hub.all_sockets())
                checked = time.monotonic()
                is_away = False
        except Exception as error:
            # Once for each outage, not for each attempt.
            log = logger.debug if is_away else logger.warning
            log_outage(log, "no sessions", error)
            is_away = True
            if time.monotonic() >= checked + MAX_UNCHECKED:
                hang_up(hub.all_sockets(), UNCHECKED)
            await asyncio.sleep(TRY_AGAIN)


def log_outage(log: Callable[..., None], text: str, error: Exception) -> None:
    # uvloop raises a RuntimeError where a connection was reset. What else is no
    # error of Redis is a mistake.
    trace = not isinstance(error, RedisError)
    # A TimeoutError has no text, and the errors of redis-py 8 show none in %r.
    log("%s: %s: %s", text, type(error).__name__, error, exc_info=trace)


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Log in by name, without a password here. The ticket opens one socket."""
    hub = request.app[HUB]
    user = await read_user(request)
    token = secrets.token_urlsafe()
    ticket = secrets.token_urlsafe()
    session = hash_secret(token)
    async with hub.redis.pipeline() as transaction:
        transaction.set(SESSION + session, user, px=SESSION_AGE)
        transaction.set(TICKET + hash_secret(ticket), session, px=TICKET_AGE)
        transaction.zadd(SESSIONS + user, {session: time.time()})
        transaction.pexpire(SESSIONS + user, SESSION_AGE)
        transaction.zrange(SESSIONS + user, 0, -1 - MAX_USER_SESSIONS)
        *_, oldest = await transaction.execute()
    if oldest:
        # Of this user alone: whoever logs in often must not log others out.
        # The list last: a logout in between ends all that are listed.
        await hub.redis.delete(*[SESSION + s for s in oldest])
        await hub.redis.zrem(SESSIONS + user, *oldest)
    response = web.json_response({"user": user, "ticket": ticket})
    response.set_cookie(
        COOKIE, token, httponly=True, samesite="Lax", secure=hub.secure
    )
    return response


async def read_user(request: web.Request) -> str:
    body = None
    # Bytes, not text(): the client would choose the codec, and some are slow.
    with suppress(OSError, ValueError, RecursionError, web.RequestPayloadError):
        body = json.loads(await request.read())
    user = body.get("user") if isinstance(body, dict) else None
    if isinstance(user, str) and user.isprintable() and 1 <= len(user) <= 64:
        return user
    raise web.HTTPBadRequest(text="user: 1 to 64 printable characters")


@web.middleware
async def explain_errors(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Refuse what foreign pages send; answer in JSON, whoever refuses."""
    # Both schemes: behind a proxy that ends TLS, our page has https, we http.
    ours = {None, f"http://{request.host}", f"https://{request.host}"}
    try:
        # A page of another origin sends our visitor's cookie.
        if request.headers.get("Origin") not in ours:
            raise web.HTTPForbidden(text="the Origin is foreign")
        return await handler(request)
    except web.HTTPError as error:
        # In aiohttp 4.0 an error is no response, and cannot be changed.
        headers = {**error.headers, "Content-Type": "application/json"}
        text = json.dumps({"error": error.text})
        return web.Response(text=text, status=error.status, headers=headers)
    except (RedisError, RuntimeError) as error:
        log_outage(logger.warning, "cannot answer", error)
        # After a failover, all connections may lead to the replica.
        if "read only" in str(error):
            await request.app[HUB].redis.connection_pool.disconnect(False)
        body = {"error": "not now: if Redis is away, `make cluster` starts one"}
        return web.json_response(body, status=503, headers={"Retry-After": "1"})


@routes.get("/sockets")
async def count_sockets(request: web.Request) -> web.Response:
    """Count the open sockets of this worker, and their users."""
    users = [socket.user for socket in request.app[HUB].all_sockets()]
    return web.json_response({"users": len(set(users)), "sockets": len(users)})


async def say_goodbye(app: web.Application) -> None:
    """Close all sockets. The server then waits for their handlers."""
    hang_up(app[HUB].all_sockets(), SHUTDOWN)


async def watch(app: web.Application) -> AsyncIterator[None]:
    """Watch Redis for as long as the application runs."""
    async with app[HUB].redis:
        task = asyncio.create_task(keep_watching(app[HUB]))
        yield
        # Python 3.11 may swallow a cancel(), in a wait_for() of redis-py.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)


def open_redis(url: str) -> Redis:
    """Make a client; it connects when it is used."""
    # Not Redis.from_url(): where no connection is free, its pool does not wait.
    pool = BlockingConnectionPool.from_url(
        url, timeout=WAIT, socket_timeout=WAIT, socket_connect_timeout=WAIT
    )
    # Some networks forget a connection that is idle, and tell nobody. That of
    # the channel is, where nobody logs out: a PING keeps it.
    pool.connection_kwargs["health_check_interval"] = CHECK_INTERVAL
    # Whatever the URL asks for. What is no text names no session.
    pool.connection_kwargs["decode_responses"] = True
    pool.connection_kwargs["encoding_errors"] = "replace"
    return Redis.from_pool(pool)


def create_app(
    *, redis_url: str = "redis://localhost", secure: bool = False
) -> web.Application:
    app = web.Application(middlewares=[explain_errors])
    app[HUB] = Hub(open_redis(redis_url), secure)
    app.cleanup_ctx.append(watch)
    app.on_shutdown.append(say_goodbye)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(redis_url=os.environ.get("REDIS_URL", "redis://localhost"))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
