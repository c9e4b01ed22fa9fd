# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10.11,<4"]
# ///
"""A loop over the live registry closes one socket and leaves the others open.

`close()` wakes the handler of the socket, and the handler takes its socket out
of the registry. The loop then fails with `Set changed size during iteration`,
after the first socket. The logout is a 500. The sessions have ended, but the
other sockets stay open and echo. Make a set of the user's sockets before the
first `await`.

Try it::

    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login | tee login
    {"user": "ann", "ticket": "..."}
    $ for i in 1 2 3; do \\
        curl -N -m 9 -o /dev/null -H "Connection: Upgrade" \\
        -H "Upgrade: websocket" -H "Sec-WebSocket-Version: 13" \\
        -H "Sec-WebSocket-Key: $(printf %022d 0)==" \\
        -b jar localhost:8080/echo 2>/dev/null & done; sleep 1
    $ curl -b jar -X POST localhost:8080/logout
    500 Internal Server Error...
    $ curl localhost:8080/sockets
    {"users": 1, "sockets": 2}
    Log: RuntimeError: Set changed size during iteration
"""

import asyncio
import json
import os
import secrets
from collections.abc import Awaitable
from contextlib import suppress
from typing import NamedTuple

from aiohttp import WSMsgType, hdrs, web


class Socket(NamedTuple):
    user: str
    ws: web.WebSocketResponse
    transport: asyncio.Transport


SOCKETS = web.AppKey("SOCKETS", set[Socket])
# The user behind each cookie, and behind each ticket.
USERS = web.AppKey("USERS", dict[str, str])

COOKIE = "websocket_logout"
# Seconds that a peer has to take what is sent.
WAIT = 1.0

routes = web.RouteTableDef()


# answer
@routes.get("/echo", allow_head=False)
async def echo(request: web.Request) -> web.WebSocketResponse:
    """Echo text until the client leaves, or its user logs out."""
    socket = await open_socket(request)
    request.app[SOCKETS].add(socket)
    try:
        async for message in socket.ws:
            if message.type is WSMsgType.TEXT:
                await send_in_time(socket, socket.ws.send_str(message.data))
            if message.type is WSMsgType.PING:
                await send_in_time(socket, socket.ws.pong(message.data))
            await asyncio.sleep(0)  # in a flood, let others run
    finally:
        request.app[SOCKETS].discard(socket)
        socket.transport.abort()  # or a peer that does not read keeps it open
    return socket.ws


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """End the user's sessions, and close the user's sockets."""
    user = authenticate(request)
    users = request.app[USERS]
    for token in list(users):
        if users[token] == user:
            del users[token]
    closed = 0
    for socket in request.app[SOCKETS]:
        if socket.user == user:
            closed += 1
            await close({socket}, 4001, b"logged out")
    return web.json_response({"closed": closed})


async def close(sockets: set[Socket], code: int, reason: bytes) -> None:
    closings = []
    for socket in sockets:
        closing = socket.ws.close(code=code, message=reason)
        closings.append(send_in_time(socket, closing))
    await asyncio.gather(*closings)


# end of answer


async def send_in_time(socket: Socket, sending: Awaitable[object]) -> None:
    # Abort who is late: no send has a limit of its own, and close() has none.
    # In aiohttp 3.14, asyncio.timeout() would cut off other sends to this peer.
    timer = asyncio.get_running_loop().call_later(WAIT, socket.transport.abort)
    with suppress(ConnectionError):
        await sending
    timer.cancel()


async def open_socket(request: web.Request) -> Socket:
    user = authenticate(request, request.query.get("ticket"))
    ws = web.WebSocketResponse(heartbeat=30, autoping=False)
    transport = request.transport
    reason = "this is no WebSocket handshake"
    try:
        if transport is None:
            raise ConnectionResetError  # the client has left
        await ws.prepare(request)
    except (ConnectionError, ValueError, web.HTTPBadRequest):
        # aiohttp 3.14.5 raises ValueError where a header is not ASCII.
        raise json_error(web.HTTPBadRequest, reason) from None
    return Socket(user, ws, transport)


def authenticate(request: web.Request, ticket: str | None = None) -> str:
    refuse_foreign_origin(request)
    try:
        return request.app[USERS][ticket or request.cookies.get(COOKIE, "")]
    except KeyError:
        raise json_error(web.HTTPUnauthorized, "log in first") from None


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Start a session. The ticket opens sockets without the cookie."""
    refuse_foreign_origin(request)
    user = await read_user(request)
    token = secrets.token_urlsafe()
    ticket = secrets.token_urlsafe()
    request.app[USERS].update({token: user, ticket: user})
    response = web.json_response({"user": user, "ticket": ticket})
    response.set_cookie(COOKIE, token, httponly=True, samesite="Lax")
    return response


async def read_user(request: web.Request) -> str:
    # Bytes, not text(): the client would choose the codec, and some are slow.
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        body = None
    user = body.get("user") if isinstance(body, dict) else None
    if isinstance(user, str) and user.isprintable() and 1 <= len(user) <= 64:
        return user
    raise json_error(web.HTTPBadRequest, "user: 1 to 64 printable characters")


def refuse_foreign_origin(request: web.Request) -> None:
    # Both schemes: behind a proxy that ends TLS, our page has https, we http.
    ours = {None, f"http://{request.host}", f"https://{request.host}"}
    if request.headers.get(hdrs.ORIGIN) not in ours:
        raise json_error(web.HTTPForbidden, "the Origin is foreign")


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.get("/sockets")
async def count_sockets(request: web.Request) -> web.Response:
    """Count the open sockets, and their users."""
    users = [socket.user for socket in request.app[SOCKETS]]
    return web.json_response({"users": len(set(users)), "sockets": len(users)})


async def say_goodbye(app: web.Application) -> None:
    await close(app[SOCKETS], 1001, b"shutdown")


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = set()
    app[USERS] = {}
    app.on_shutdown.append(say_goodbye)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
