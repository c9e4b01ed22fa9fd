# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4", "redis>=5.0.1"]
# ///
"""How can middleware store data for web handlers to use?

Start from this file when you go live with several workers. The id of a request
stands in each line that is logged meanwhile, in tracebacks and handshakes too.
Sessions are in Redis, and the cookie is a random id: no key is needed, and what
a logout ends is over on every worker. aiohttp's 404, 405 and 413 are JSON.

Try it::

    $ curl -iH "X-Request-ID: proxy-7" localhost:8080/missing
    HTTP/1.1 404 Not Found...X-Request-ID: proxy-7...{"error": "Not Found"}
    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login
    {"user": "ann"}
    $ curl -b jar localhost:8080/me
    {"user": "ann"}
    $ curl -b jar localhost:8080/sessions
    {"sessions": [...{"created": ..., "last_seen": ..., "current": true...}]}
    $ curl -b jar -H "Origin: http://evil.example" -d "" localhost:8080/logout
    {"error": "the Origin is foreign..."}
    $ curl -b "REQUEST_DATA_PRODUCTION=$(printf '\\377')" localhost:8080/me
    {"error": "log in first"}
    $ curl -b jar -d "" localhost:8080/logout-everywhere
    $ curl -b jar localhost:8080/me
    {"error": "log in first"}

Good to know:

- A header that a middleware sets on the response of `handler()` is lost where
  the handler streams or raises. `on_response_prepare` sees these answers too.
- The id of a request is taken from the header if the peer is a trusted proxy:
  on this host, unless you call `create_app(trusted_proxies=[...])`. It may be
  any network: `10.0.0.0/8`. A proxy may hand on what a client has chosen, as
  nginx does in `deploy/`: two requests may have one id, and it proves nothing.
- A filter gives each log record its `request_id`. On a handler it sees the
  records of all libraries. The access log is written in another task: there it
  is `%{X-Request-ID}o`.
- A session ends an hour after its last request, 12 hours after its login, or
  when its user has 100 newer ones. Redis keeps the time.
- Redis knows hashes of the cookies. Who reads it cannot log in.
- aiohttp-session saves a whole session when its request ends. Of two requests
  at once, the later one undoes what the other did. Here each thing is a field
  of a hash, and Redis counts: see `requests`.
- While Redis is away, what needs a session is a 503. If it restarts without its
  data, everybody has to log in again. Set `maxmemory-policy noeviction`: an
  evicted session is over, but an evicted list hides sessions from a logout.
- Behind https call `create_app(secure=True)`. The cookie is then `Secure`, and
  its name begins with `__Host-`: no other host of the domain can set it.
"""

import asyncio
import hashlib
import ipaddress
import json
import logging
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from redis.asyncio import BlockingConnectionPool, Redis, RedisError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

REQUEST_ID = web.RequestKey("REQUEST_ID", str)
VALID_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)

# The id of the request that the current task answers.
CURRENT_ID: ContextVar[str] = ContextVar("CURRENT_ID", default="-")

# No other application of this host may use a cookie of this name.
COOKIE = "REQUEST_DATA_PRODUCTION"
# Seconds from the last request of a session to its end.
IDLE_AGE = 60 * 60
# Seconds from the login to the end of a session, however busy it is.
MAX_AGE = 12 * 60 * 60
# Sessions of one user. The oldest one ends where there are more.
MAX_USER_SESSIONS = 100
# Characters of a user's name.
MAX_USER = 64
# Bytes of a WebSocket message. Nothing is expected from the client.
MAX_MESSAGE = 1024
# Seconds that a WebSocket waits for the client to close its side.
CLOSE_WAIT = 1.0
# Seconds that Redis has to connect, and to answer.
REDIS_TIMEOUT = 1.0
# Connections of this worker to Redis. A request waits for one, if need be.
MAX_CONNECTIONS = 20

# A hash for each session. Keys hold hashes of the cookies, which open nothing.
SESSION = "request_data:session:"
# The sessions of a user, the oldest first.
SESSIONS = "request_data:sessions:"

# A script runs alone. So it cannot bring a session back that a logout on
# another worker ends meanwhile, and no request is lost of two that are counted
# at once. It keeps no session longer than both ages allow.
TOUCH = """
-- What another version of this file has stored is no session.
local created = tonumber(redis.pcall('HGET', KEYS[1], 'created'))
if not created then
    return false
end
local now = redis.call('TIME')[1]
-- A Redis that is full refuses these. The session lives on, or can log out.
redis.pcall('HSET', KEYS[1], 'last_seen', now)
redis.pcall('HINCRBY', KEYS[1], 'requests', 1)
redis.call('EXPIRE', KEYS[1], math.min(ARGV[1], created + ARGV[2] - now))
return redis.call('HGET', KEYS[1], 'user')
"""

LOG = "%(levelname)s %(name)s [%(request_id)s] %(message)s"
# `%{X-Request-ID}o` is the header of the answer.
ACCESS_LOG = '%a "%r" %s %b %Tf %{X-Request-ID}o'


class AddRequestId(logging.Filter):
    """Gives each record the id of the request that its task answers."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = CURRENT_ID.get()
        return True


class Settings(NamedTuple):
    cookie: str
    flags: dict[str, Any]
    trusted: list[ipaddress.IPv4Network | ipaddress.IPv6Network]


class Session(NamedTuple):
    """A login. `key` is the hash of its cookie."""

    key: str
    user: str


SETTINGS = web.AppKey("SETTINGS", Settings)
REDIS = web.AppKey("REDIS", Redis)

logger = logging.getLogger(__name__)
# Where this file is mounted, its own records have the id, too.
logger.addFilter(AddRequestId())
routes = web.RouteTableDef()


# answer
@web.middleware
async def set_request_id(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Store the id, and add it to the traceback of an error."""
    request[REQUEST_ID] = choose_request_id(request)
    # Each request has a task. What it logs, and what it awaits logs, sees this.
    CURRENT_ID.set(request[REQUEST_ID])
    try:
        return await handler(request)
    except Exception as error:
        # aiohttp logs what a handler raises. It prints this note as well.
        error.add_note(f"in request {request[REQUEST_ID]}")
        raise


async def show_request_id(
    request: web.Request, response: web.StreamResponse
) -> None:
    """Set the header of each answer: of a stream, an error and a 101, too."""
    # aiohttp refuses an unknown `Expect` before it runs the middlewares.
    request_id = request.get(REQUEST_ID) or choose_request_id(request)
    response.headers["X-Request-ID"] = request_id


def choose_request_id(request: web.Request) -> str:
    """Take the id that a trusted proxy has chosen, or make a new one."""
    sent = request.headers.get("X-Request-ID", "")
    # Other text must not get into the log, nor into the answer.
    if VALID_ID.fullmatch(sent) and is_from_proxy(request):
        return sent
    return secrets.token_hex(16)


def is_from_proxy(request: web.Request) -> bool:
    # A Unix socket has no address. Who may open it is trusted.
    if request.remote == "":
        return True
    try:
        address = ipaddress.ip_address(request.remote or "unknown")
    except ValueError:
        return False
    return any(address in each for each in request.app[SETTINGS].trusted)


@routes.get("/")
async def read_request_id(request: web.Request) -> web.Response:
    """Return the id of this request."""
    logger.info("request %s returns its id", request[REQUEST_ID])
    return web.json_response({"request_id": request[REQUEST_ID]})


# end of answer


@web.middleware
async def explain_errors(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Answer in JSON. A client that leaves is no error."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        if error.headers["Content-Type"].startswith("application/json"):
            raise
        # In aiohttp 4.0 an error is no response, and cannot be changed.
        headers = {**error.headers, "Content-Type": "application/json"}
        text = json.dumps({"error": error.reason})
        return web.Response(text=text, status=error.status, headers=headers)
    except RedisError as error:
        # The errors of redis-py 8 show no text in %r.
        logger.warning("cannot answer: %r: %s", error, error)
        # After a failover, all connections may lead to the replica.
        if "read only" in str(error):
            await request.app[REDIS].connection_pool.disconnect(False)
        body = {"error": "not now: if Redis is away, `make cluster` starts one"}
        return web.json_response(body, status=503, headers={"Retry-After": "1"})
    except ConnectionError:
        if (peer := request.transport) and not peer.is_closing():
            raise  # it is about another connection: a 500
        logger.info("request %s: the client has left", request[REQUEST_ID])
        # Nobody reads it. aiohttp would log a traceback if we raised.
        return web.Response(status=400)


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.get("/stream")
async def stream_request_id(request: web.Request) -> web.StreamResponse:
    """Return the id in a stream, whose headers are sent before its text."""
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/plain"})
    await response.prepare(request)
    # A body after the headers for HEAD would spoil the next answer.
    if request.method != hdrs.METH_HEAD:
        await response.write(f"{request[REQUEST_ID]}\n".encode())
    return response


# HEAD with the headers of an upgrade would open a WebSocket.
@routes.get("/ws", allow_head=False)
async def send_request_id(request: web.Request) -> web.StreamResponse:
    """Send the id to a WebSocket, and close it."""
    refuse_foreign_origin(request)
    ws = web.WebSocketResponse(timeout=CLOSE_WAIT, max_msg_size=MAX_MESSAGE)
    try:
        await ws.prepare(request)
    except (ValueError, web.HTTPBadRequest):
        # A non-ASCII byte in the handshake is a ValueError in aiohttp 3.14.5.
        raise json_error(web.HTTPBadRequest, "ask for a WebSocket") from None
    await ws.send_str(request[REQUEST_ID])
    await ws.close()
    return ws


@routes.get("/error")
async def fail(request: web.Request) -> web.Response:
    """Fail, to show that this answer and its traceback have the id."""
    raise RuntimeError("this request fails on purpose")


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Log in by name, `{"user": "ann"}`, without a password here."""
    refuse_foreign_origin(request)
    user = await read_user(request)
    old = await read_session(request)
    token = secrets.token_urlsafe()
    # A new id, and nothing that was planted under the old one.
    await rotate(request.app[REDIS], old, Session(hash_token(token), user))
    logger.info("request %s: %r logs in", request[REQUEST_ID], user)
    response = web.json_response({"user": user})
    name, flags, _ = request.app[SETTINGS]
    response.set_cookie(name, token, max_age=MAX_AGE, **flags)
    return response


async def rotate(redis: Redis, old: Session | None, new: Session) -> None:
    """End one session and start another; where Redis is full, do neither."""
    key, user = new
    # Not the clock of this worker: another one may compare.
    now, _ = await redis.time()
    fields: Any = {"user": user, "created": now, "last_seen": now}
    async with redis.pipeline() as transaction:
        if old:
            transaction.delete(SESSION + old.key)
            transaction.zrem(SESSIONS + old.user, old.key)
        transaction.hset(SESSION + key, mapping=fields)
        transaction.expire(SESSION + key, IDLE_AGE)
        transaction.zadd(SESSIONS + user, {key: now})
        transaction.expire(SESSIONS + user, MAX_AGE)
        transaction.zrange(SESSIONS + user, 0, -1 - MAX_USER_SESSIONS)
        oldest = (await transaction.execute())[-1]
    if oldest:
        await end_sessions(redis, user, oldest)


async def end_sessions(redis: Redis, user: str, keys: list[str]) -> None:
    async with redis.pipeline() as transaction:
        transaction.delete(*[SESSION + key for key in keys])
        # Not the whole list: it may have a new session meanwhile.
        transaction.zrem(SESSIONS + user, *keys)
        await transaction.execute()


async def read_session(request: web.Request) -> Session | None:
    """Return the session of the cookie, and let it live on."""
    token = request.cookies.get(request.app[SETTINGS].cookie)
    if not token:
        return None
    key = hash_token(token)
    redis = request.app[REDIS]
    user: Any = await redis.eval(TOUCH, 1, SESSION + key, IDLE_AGE, MAX_AGE)
    return Session(key, user) if user else None


async def authenticate(request: web.Request) -> Session:
    session = await read_session(request)
    if session is None:
        raise json_error(web.HTTPUnauthorized, "log in first")
    return session


def hash_token(token: str) -> str:
    # A cookie may have bytes that are no text.
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


async def read_user(request: web.Request) -> str:
    body = await read_json(request)
    user = body.get("user") if isinstance(body, dict) else None
    if isinstance(user, str) and is_name(user):
        return user
    reason = f"user: 1 to {MAX_USER} printable characters"
    raise json_error(web.HTTPBadRequest, reason)


def is_name(text: str) -> bool:
    # Half of a surrogate pair is not printable either.
    return text.isprintable() and 1 <= len(text) <= MAX_USER


async def read_json(request: web.Request) -> object:
    # Bytes, not text(): the client would choose the codec, and some are slow.
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        raise json_error(web.HTTPBadRequest, "the body must be JSON") from None


@routes.get("/me")
async def show_user(request: web.Request) -> web.Response:
    """Return who is logged in."""
    session = await authenticate(request)
    return web.json_response({"user": session.user})


@routes.get("/sessions")
async def list_sessions(request: web.Request) -> web.Response:
    """List the sessions of the user, the oldest first."""
    current = await authenticate(request)
    redis = request.app[REDIS]
    keys: Any = await redis.zrange(SESSIONS + current.user, 0, -1)
    async with redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.hmget(SESSION + key, "created", "last_seen", "requests")
        answers = await pipeline.execute()
    sessions = []
    for key, (created, last_seen, requests) in zip(keys, answers, strict=True):
        # The list does not know which of them have ended by themselves: they
        # are None. What something else has stored may be no number.
        with suppress(TypeError, ValueError):
            session = {
                "created": int(created),
                "last_seen": int(last_seen),
                "current": key == current.key,
                "requests": int(requests or 0),
            }
            sessions.append(session)
    return web.json_response({"sessions": sessions})


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """End this session."""
    refuse_foreign_origin(request)
    if session := await read_session(request):
        await end_sessions(request.app[REDIS], session.user, [session.key])
    return forget_cookie(request)


@routes.post("/logout-everywhere")
async def log_out_everywhere(request: web.Request) -> web.Response:
    """End all sessions of the user."""
    refuse_foreign_origin(request)
    key, user = await authenticate(request)
    redis = request.app[REDIS]
    keys: Any = await redis.zrange(SESSIONS + user, 0, -1)
    # Another logout may be faster: then the list is empty.
    await end_sessions(redis, user, [key, *keys])
    return forget_cookie(request)


def forget_cookie(request: web.Request) -> web.Response:
    response = web.Response(status=204)
    # A browser ignores it without Secure, if the name has `__Host-`.
    name, flags, _ = request.app[SETTINGS]
    response.del_cookie(name, **flags)
    return response


def refuse_foreign_origin(request: web.Request) -> None:
    """Refuse what a page of another origin sends with our visitor's cookie."""
    # Both schemes: behind a proxy that ends TLS, our page has https, we http.
    ours = {None, f"http://{request.host}", f"https://{request.host}"}
    if request.headers.get(hdrs.ORIGIN) not in ours:
        raise json_error(web.HTTPForbidden, "the Origin is foreign")


async def open_redis(app: web.Application, url: str) -> AsyncIterator[None]:
    """Keep a pool of connections, which are made when they are used."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=REDIS_TIMEOUT,
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
        # uvloop raises it where a connection was reset: nothing is sent yet.
        retry=Retry(NoBackoff(), 1, ()),
        retry_on_error=[RuntimeError],
    )
    # Whatever the URL says: the rest of this file expects text. What is none,
    # something else has stored.
    pool.connection_kwargs["decode_responses"] = True
    pool.connection_kwargs["encoding_errors"] = "replace"
    app[REDIS] = Redis.from_pool(pool)
    yield
    # A connection that cannot be closed in time ends with the process.
    with suppress(RedisError, OSError):
        async with asyncio.timeout(REDIS_TIMEOUT):
            await app[REDIS].aclose()


def create_app(
    *,
    redis_url: str = "redis://localhost",
    trusted_proxies: Iterable[str] = ("127.0.0.0/8", "::1"),
    secure: bool = False,
) -> web.Application:
    app = web.Application(middlewares=[set_request_id, explain_errors])
    app[SETTINGS] = Settings(
        cookie=f"__Host-{COOKIE}" if secure else COOKIE,
        flags={"httponly": True, "samesite": "Lax", "secure": secure},
        trusted=[ipaddress.ip_network(each) for each in trusted_proxies],
    )
    app.cleanup_ctx.append(partial(open_redis, url=redis_url))
    app.on_response_prepare.append(show_request_id)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format=LOG)
    for handler in logging.getLogger().handlers:
        handler.addFilter(AddRequestId())
    app = create_app(redis_url=os.environ.get("REDIS_URL", "redis://localhost"))
    try:
        web.run_app(
            app,
            host="127.0.0.1",
            port=int(os.environ.get("PORT", "8080")),
            shutdown_timeout=5,
            access_log_format=ACCESS_LOG,
        )
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
