# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10.11,<4"]
# ///
"""How do I programmatically close a WebSocket server-side?

Keep the open sockets in a registry, and call `close()` on those of the user.
End the user's sessions first, so that no new socket can open. A send to a peer
that does not read has no time limit, and neither has `close()`. Abort the
connection of such a peer after a second.

Try it::

    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login | tee login
    {"user": "ann", "ticket": "..."}
    $ TICKET=$(cut -d '"' -f 8 login)
    $ python -m websockets "ws://localhost:8080/echo?ticket=$TICKET"
    > hi
    < hi
    $ curl -b jar -X POST localhost:8080/logout
    {"closed": 1}
    Connection closed: 4001 (private use) logged out.

Good to know:

- The FAQ of aiohttp 3.14 does not await `send_str()`. Its echo sends nothing.
- The logout answers within about a second, whatever the peers do.
- aiohttp's client gets 4001 in the message; its `close_code` may then be 1006.
- A page on another port of this host sends the cookie, too. Check `Origin`.
- Registry and sessions belong to one process. Two processes need a common one.
- production/websocket_logout.py adds expiry, limits and tickets for one socket.
  It answers a logout at once, and echoes nothing after it.
"""

import asyncio
import json
import os
from secrets import token_urlsafe
from typing import NamedTuple, cast

from aiohttp import WSMsgType, web


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
    loop = asyncio.get_running_loop()
    try:
        async for message in socket.ws:
            if message.type is WSMsgType.TEXT:
                # Not asyncio.timeout(): aiohttp 3.14 would cancel close(), too.
                timer = loop.call_later(WAIT, socket.transport.abort)
                await socket.ws.send_str(message.data)
                timer.cancel()
            await asyncio.sleep(0)  # or a flood would stop everybody else
    except ConnectionError:
        pass  # the client has left, or was too slow
    finally:
        request.app[SOCKETS].discard(socket)
        socket.transport.abort()  # or a peer that does not read keeps it open
    return socket.ws


# end of answer


async def open_socket(request: web.Request) -> Socket:
    user = authenticate(request, request.query.get("ticket"))
    ws = web.WebSocketResponse(heartbeat=30)
    # None if the client has left. Then prepare() raises an error.
    transport = cast(asyncio.Transport, request.transport)
    try:
        await ws.prepare(request)
    except (AssertionError, ConnectionError, ValueError, web.HTTPBadRequest):
        # The client has left: ConnectionError, or AssertionError before aiohttp
        # 3.14. A header is not ASCII: ValueError.
        raise json_error(web.HTTPBadRequest, "no WebSocket handshake") from None
    return Socket(user, ws, transport)


# answer
@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """End the user's sessions, and close the user's sockets."""
    user = authenticate(request)
    users = request.app[USERS]  # sessions first: no new socket can open
    for token in list(users):
        if users[token] == user:
            del users[token]
    mine = {socket for socket in request.app[SOCKETS] if socket.user == user}
    await close(mine, 4001, b"logged out")
    return web.json_response({"closed": len(mine)})


async def close(sockets: set[Socket], code: int, reason: bytes) -> None:
    async with asyncio.TaskGroup() as tasks:
        # No await in this loop: no handler can change the set meanwhile.
        for socket in sockets:
            # close() waits for a peer that does not read, without a limit.
            asyncio.get_running_loop().call_later(WAIT, socket.transport.abort)
            tasks.create_task(socket.ws.close(code=code, message=reason))


# end of answer


def authenticate(request: web.Request, token: str | None = None) -> str:
    refuse_foreign_origin(request)
    if user := request.app[USERS].get(token or request.cookies.get(COOKIE, "")):
        return user
    raise json_error(web.HTTPUnauthorized, "log in first")


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Log in by name, without a password here. The ticket opens sockets."""
    refuse_foreign_origin(request)
    # Bytes, not text(): the client would choose the codec, and some are slow.
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        body = None
    user = isinstance(body, dict) and body.get("user")
    if not isinstance(user, str) or not user:
        raise json_error(web.HTTPBadRequest, "user must be a name, in JSON")
    token = token_urlsafe()
    # Not the cookie's value: a script must not be able to read that one.
    ticket = token_urlsafe()
    request.app[USERS].update({token: user, ticket: user})
    response = web.json_response({"user": user, "ticket": ticket})
    response.set_cookie(COOKIE, token, httponly=True, samesite="Lax")
    return response


def refuse_foreign_origin(request: web.Request) -> None:
    # Both schemes: behind a proxy that ends TLS, our page has https, we http.
    ours = {None, f"http://{request.host}", f"https://{request.host}"}
    if request.headers.get("Origin") not in ours:
        raise json_error(web.HTTPForbidden, "the Origin is foreign")


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.get("/sockets")
async def count_sockets(request: web.Request) -> web.Response:
    """Count the open sockets, and their users."""
    users = [socket.user for socket in request.app[SOCKETS]]
    return web.json_response({"users": len(set(users)), "sockets": len(users)})


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = set()
    app[USERS] = {}
    app.on_shutdown.append(lambda app: close(app[SOCKETS], 1001, b"shutdown"))
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app()
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
