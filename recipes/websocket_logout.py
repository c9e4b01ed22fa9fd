# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10.11,<4"]
# ///
"""How do I programmatically close a WebSocket server-side?

Keep the open sockets in a registry, and call `close()` on those of the user.
End the user's sessions first, so that no new socket can open. A send waits
without a limit for a peer that does not read, and so does `close()`. Abort its
connection after a second.

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
- The logout answers within about a second, whatever the peers do. A pong is a
  send, too. Those of aiohttp have no limit: hence `autoping=False`.
- A page on another port of this host sends the cookie, too. Check `Origin`.
- Registry and sessions belong to one process. Two processes need a common one.
- Expiry, limits, messages after a logout: production/websocket_logout.py
"""

import asyncio
import json
import os
import secrets

from aiohttp import WSMsgType, hdrs, web

# The user behind each open socket.
SOCKETS = web.AppKey("SOCKETS", dict[web.WebSocketResponse, str])
# The user behind each cookie, and behind each ticket.
USERS = web.AppKey("USERS", dict[str, str])

COOKIE = "websocket_logout"
# Seconds that a send waits for a peer. Then a timer aborts the connection. In
# aiohttp 3.14 asyncio.timeout() would cancel a close() that waits, too.
WAIT = 1.0

routes = web.RouteTableDef()


# answer
@routes.get("/echo", allow_head=False)
async def echo(request: web.Request) -> web.StreamResponse:
    """Echo text until the client leaves, or its user logs out."""
    user = authenticate(request, request.query.get("ticket"))
    ws = web.WebSocketResponse(heartbeat=30, autoping=False)
    transport = request.transport
    if transport is None or not is_handshake(request):
        raise json_error(web.HTTPBadRequest, "this is no WebSocket handshake")
    try:
        await ws.prepare(request)
        request.app[SOCKETS][ws] = user
        async for message in ws:
            # Where the peer does not read, a send waits without a limit.
            timer = asyncio.get_running_loop().call_later(WAIT, transport.abort)
            if message.type is WSMsgType.TEXT:
                await ws.send_str(message.data)
            if message.type is WSMsgType.PING:
                await ws.pong(message.data)
            timer.cancel()
            await asyncio.sleep(0)  # in a flood, let others run
    except ConnectionError:
        return web.Response()  # the client has left, nobody reads this
    finally:
        request.app[SOCKETS].pop(ws, None)
        transport.abort()  # or a peer that does not read keeps it open
    return ws


# end of answer


def is_handshake(request: web.Request) -> bool:
    try:
        return web.WebSocketResponse().can_prepare(request).ok
    except ValueError:
        return False  # aiohttp 3.14.5 raises it where a header is not ASCII


def authenticate(request: web.Request, ticket: str | None = None) -> str:
    refuse_foreign_origin(request)
    try:
        return request.app[USERS][ticket or request.cookies.get(COOKIE, "")]
    except KeyError:
        raise json_error(web.HTTPUnauthorized, "log in first") from None


# answer
@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """End the user's sessions, and close the user's sockets."""
    user = authenticate(request)
    users = request.app[USERS]
    for token in list(users):
        if users[token] == user:
            del users[token]
    sockets = request.app[SOCKETS]
    mine = [ws for ws in sockets if sockets[ws] == user]
    closings = [ws.close(code=4001, message=b"logged out") for ws in mine]
    # Where the peer does not read, close() waits until the timer aborts.
    await asyncio.gather(*closings)
    return web.json_response({"closed": len(mine)})


# end of answer


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
    users = request.app[SOCKETS].values()
    return web.json_response({"users": len(set(users)), "sockets": len(users)})


async def say_goodbye(app: web.Application) -> None:
    closings = [ws.close(code=1001, message=b"shutdown") for ws in app[SOCKETS]]
    await asyncio.gather(*closings)


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = {}
    app[USERS] = {}
    app.on_shutdown.append(say_goodbye)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
