# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4"]
# ///
"""How do I programmatically close a WebSocket server-side?

Start from this file when you go live. A logout interrupts the handler of each
socket, and the handler closes its socket itself. So the logout answers at once,
and no task needs an owner. Sessions expire, a ticket opens one socket, and all
that a client can use up has a limit. A peer that does not read is dropped.

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

- A session ends by a logout, after an hour, or when its user has 100 newer
  ones. Its sockets are closed with 4001.
- A ticket opens one socket within 30 s. A refused upgrade does not spend it.
  Servers and proxies log the query, so a ticket must not live long.
- `SameSite=Lax` is not enough. Chromium sends no such cookie from a page of
  another site, but it does from another port or sub-domain of the same site.
- Behind a proxy, `Origin` is compared with `Host` as the proxy sends it. With
  nginx set `proxy_set_header Host $http_host`: `$host` lacks the port. No
  `X-Forwarded-Proto` is needed, as http and https are both ours.
- Behind https call `create_app(secure=True)`.
- A client that sends more than 1000 messages in a second is closed with 1008.
- All sessions and sockets are in this process, and end with it.
"""

import asyncio
import json
import logging
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp.typedefs import Handler

COOKIE = "websocket_logout_production"
"""The name of the cookie. No other application of this host may use it."""

SESSION_AGE = 3600.0
"""Seconds from a login to the end of its session."""

TICKET_AGE = 30.0
"""Seconds in which a ticket opens a socket."""

MAX_SESSIONS = 100_000
"""Sessions of all users: about 120 MB."""

MAX_USER_SESSIONS = 100
"""Sessions of one user. The oldest one ends where there are more."""

MAX_USER_SOCKETS = 1000
"""Open sockets of one user."""

MAX_USER_NAME = 64
"""Characters of a user's name."""

MAX_MESSAGE = 65_537
"""Bytes of a message that is too long by one."""

MAX_RATE = 1000
"""Messages that a client may send in a second."""

HEARTBEAT = 30.0
"""Seconds of silence before a ping. The peer has half of that to answer."""

SEND_TIMEOUT = 10.0
"""Seconds that a send waits for a peer that does not read."""

CLOSE_TIMEOUT = 1.0
"""Seconds that a peer has to read what was sent, and to close its side."""

FLOOD_TIMEOUT = 0.1
"""Seconds of it for a client that floods: closing reads on, at full speed."""

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
TOO_SLOW = Goodbye(WSCloseCode.POLICY_VIOLATION, b"you do not read")
TOO_FAST = Goodbye(
    WSCloseCode.POLICY_VIOLATION, b"too many messages", FLOOD_TIMEOUT
)


@dataclass(eq=False)
class Session:
    """A login. Its timer ends it, if no logout does."""

    user: str
    timer: asyncio.TimerHandle = field(init=False)
    is_over: bool = False
    token: str = field(default_factory=secrets.token_urlsafe)
    ticket: str = field(default_factory=secrets.token_urlsafe)


@dataclass(eq=False)
class Socket:
    """An open socket. `limit` has no time until it interrupts the handler."""

    session: Session
    ws: web.WebSocketResponse
    transport: asyncio.Transport
    limit: asyncio.Timeout = field(
        default_factory=partial(asyncio.timeout, None)
    )
    goodbye: Goodbye = TOO_SLOW


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
class Sessions:
    """All sessions: by cookie, by ticket, and by user with the oldest first."""

    by_token: dict[str, Session] = field(default_factory=dict)
    by_ticket: dict[str, Session] = field(default_factory=dict)
    by_user: dict[str, list[Session]] = field(default_factory=dict)


SETTINGS = web.AppKey("SETTINGS", Settings)
SESSIONS = web.AppKey("SESSIONS", Sessions)
SOCKETS = web.AppKey("SOCKETS", dict[str, set[Socket]])


# answer
@routes.get("/echo", allow_head=False)
async def echo(request: web.Request) -> web.WebSocketResponse:
    """Echo text until the client leaves, or its session ends."""
    refuse_foreign_origin(request)
    session = authenticate_socket(request)
    socket = await open_socket(request, session)
    try:
        async with socket.limit:
            add_socket(request.app, socket)
            await echo_messages(socket)
    except (ConnectionError, TimeoutError):
        # The client has left; or it does not read, or we were interrupted.
        pass
    finally:
        remove_socket(request.app, socket)
        await close(socket)
    return socket.ws


def interrupt(sockets: set[Socket], goodbye: Goodbye) -> None:
    """Let the handlers close these sockets, which left the registry."""
    for socket in sockets:
        socket.goodbye = goodbye
        # This time has passed: the handler gets a TimeoutError at once, where
        # it waits. A second call would raise. So each socket leaves the
        # registry before the first.
        socket.limit.reschedule(0)


async def close(socket: Socket) -> None:
    """Say goodbye, and end the connection after its time-out."""
    # Without the abort, close() has no limit where the peer does not read.
    # Abort always: aiohttp closes the transport after a missed heartbeat, but
    # it stays open as long as there are unsent bytes.
    code, reason, timeout = socket.goodbye
    asyncio.get_running_loop().call_later(timeout, socket.transport.abort)
    if not socket.transport.is_closing():
        # Now close() waits until all is sent, not only until there is room.
        socket.transport.set_write_buffer_limits(0)
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


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """End all sessions of the user; their sockets close after the answer."""
    refuse_foreign_origin(request)
    user = authenticate(request).user
    # No await from here to the answer: no socket can open in between.
    for session in list(request.app[SESSIONS].by_user[user]):
        forget_session(request.app, session)
    sockets = request.app[SOCKETS].pop(user, set())
    interrupt(sockets, LOGGED_OUT)
    return web.json_response({"closed": len(sockets)})


# end of answer


def authenticate(request: web.Request) -> Session:
    """Return the session of the cookie."""
    token = request.cookies.get(COOKIE, "")
    session = request.app[SESSIONS].by_token.get(token)
    if session is None:
        raise json_error(web.HTTPUnauthorized, "log in first")
    return session


def authenticate_socket(request: web.Request) -> Session:
    """Return the session of the ticket, or of the cookie.

    A ticket is good for a socket alone: it cannot log out.
    """
    if "ticket" not in request.query:
        return authenticate(request)
    ticket = request.query["ticket"]
    session = request.app[SESSIONS].by_ticket.get(ticket)
    if session is None:
        raise json_error(web.HTTPUnauthorized, "the ticket is not valid")
    return session


async def open_socket(request: web.Request, session: Session) -> Socket:
    ws = web.WebSocketResponse(
        heartbeat=request.app[SETTINGS].heartbeat,
        # A pong of aiohttp waits without a limit. Ours do not: see below.
        autoping=False,
        # A small message may not unpack to a large one.
        compress=False,
        max_msg_size=MAX_MESSAGE,
    )
    transport = request.transport
    is_handshake = False
    # aiohttp 3.14.5 raises a ValueError for a header that is not ASCII.
    with suppress(ValueError):
        is_handshake = ws.can_prepare(request).ok
    if transport is None or not is_handshake:
        reason = "this is no WebSocket handshake"
        raise json_error(web.HTTPBadRequest, reason)
    if len(request.app[SOCKETS].get(session.user, ())) >= MAX_USER_SOCKETS:
        reason = f"a user may have {MAX_USER_SOCKETS} sockets"
        raise json_error(web.HTTPTooManyRequests, reason)
    # Nothing refuses it any more. Until here no await lets a second request
    # use the same ticket.
    request.app[SESSIONS].by_ticket.pop(request.query.get("ticket", ""), None)
    await ws.prepare(request)
    return Socket(session, ws, transport)


def add_socket(app: web.Application, socket: Socket) -> None:
    if socket.session.is_over:
        # A logout during the handshake found no socket to interrupt.
        interrupt({socket}, LOGGED_OUT)
    else:
        app[SOCKETS].setdefault(socket.session.user, set()).add(socket)


def remove_socket(app: web.Application, socket: Socket) -> None:
    user = socket.session.user
    mine = app[SOCKETS].get(user, set())
    mine.discard(socket)
    if not mine:
        # Or each user who ever came would leave an empty set.
        app[SOCKETS].pop(user, None)


async def echo_messages(socket: Socket) -> None:
    meter = Meter()
    async for message in socket.ws:
        if socket.session.is_over:
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
    session = start_session(request.app, user)
    response = web.json_response({"user": user, "ticket": session.ticket})
    response.set_cookie(
        COOKIE,
        session.token,
        httponly=True,
        samesite="Lax",
        secure=request.app[SETTINGS].secure,
    )
    return response


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


def start_session(app: web.Application, user: str) -> Session:
    sessions = app[SESSIONS]
    if len(sessions.by_user.get(user, ())) >= MAX_USER_SESSIONS:
        # Nobody else's: whoever logs in often must not log others out.
        end_session(app, sessions.by_user[user][0])
    if len(sessions.by_token) >= MAX_SESSIONS:
        logger.warning("no login: there are %d sessions", MAX_SESSIONS)
        error = json_error(web.HTTPServiceUnavailable, "too many are logged in")
        error.headers[hdrs.RETRY_AFTER] = "60"
        raise error
    session = Session(user)
    loop = asyncio.get_running_loop()
    session.timer = loop.call_later(SESSION_AGE, end_session, app, session)
    loop.call_later(TICKET_AGE, sessions.by_ticket.pop, session.ticket, None)
    sessions.by_token[session.token] = session
    sessions.by_ticket[session.ticket] = session
    sessions.by_user.setdefault(user, []).append(session)
    return session


def end_session(app: web.Application, session: Session) -> None:
    """End one session, and let its sockets close."""
    forget_session(app, session)
    of_user = app[SOCKETS].get(session.user, set())
    sockets = {socket for socket in of_user if socket.session is session}
    for socket in sockets:
        remove_socket(app, socket)
    interrupt(sockets, LOGGED_OUT)


def forget_session(app: web.Application, session: Session) -> None:
    sessions = app[SESSIONS]
    session.is_over = True
    # Or it would keep the session in memory for the rest of its hour.
    session.timer.cancel()
    del sessions.by_token[session.token]
    sessions.by_ticket.pop(session.ticket, None)
    mine = sessions.by_user[session.user]
    mine.remove(session)
    if not mine:
        del sessions.by_user[session.user]


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
    """Count the open sockets, and their users."""
    counts = [len(sockets) for sockets in request.app[SOCKETS].values()]
    return web.json_response({"users": len(counts), "sockets": sum(counts)})


async def say_goodbye(app: web.Application) -> None:
    """Interrupt all handlers. The server then waits for them to end."""
    everyone: set[Socket] = set()
    for sockets in app[SOCKETS].values():
        everyone |= sockets
    app[SOCKETS].clear()
    interrupt(everyone, SHUTDOWN)


def create_app(
    *, heartbeat: float = HEARTBEAT, secure: bool = False
) -> web.Application:
    app = web.Application(middlewares=[explain_errors])
    app[SETTINGS] = Settings(heartbeat, secure)
    app[SESSIONS] = Sessions()
    app[SOCKETS] = {}
    app.on_shutdown.append(say_goodbye)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
