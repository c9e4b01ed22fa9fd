# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How do I programmatically close a WebSocket server-side?

Call `close()` on each one of a registry, but not in the handler, as in the FAQ:
its answer would wait for ever for a peer that does not read, and up to 10 s for
one whose handler is busy. End all sessions of the user, empty the registry, and
give the closing to an owned task. A reason has 123 bytes at most, unchecked.

Try it::

    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login | tee login
    {"user": "ann", "ticket": "..."}
    $ TICKET=$(cut -d '"' -f 8 login)
    $ python -m websockets ws://localhost:8080/echo?ticket=$TICKET
    > hi
    < hi
    $ curl -b jar -X POST localhost:8080/logout
    {"closed": 1}
    Connection closed: 4001 (private use) logged out.

Good to know: the FAQ's echo is silent, because its `send_str()` is not awaited.
A logout ends all sessions of the user. Behind a proxy that ends TLS, the scheme
of a request is http, and each Origin foreign, until aiohttp-remotes sets it.
"""

import asyncio
import os
import secrets
from contextlib import suppress

import aiojobs.aiohttp as jobs
from aiohttp import WSMsgType, hdrs, web

Sockets = dict[web.WebSocketResponse, asyncio.Transport]
SOCKETS = web.AppKey("SOCKETS", dict[str, Sockets])
SESSIONS = web.AppKey("SESSIONS", dict[str, tuple[str, float]])
TICKETS = web.AppKey("TICKETS", dict[str, str])

COOKIE, MAX_SESSIONS, MAX_SOCKETS = "websocket_logout", 10_000, 1000
SESSION_SECONDS, TICKET_SECONDS, CLOSE_SECONDS = 3600, 30, 1
routes = web.RouteTableDef()


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Start a session, and give a ticket that opens one socket."""
    user, loop = await read_user(request), asyncio.get_running_loop()
    sessions, tickets = request.app[SESSIONS], request.app[TICKETS]
    if len(sessions) >= MAX_SESSIONS:
        del sessions[next(iter(sessions))]
    token, ticket = secrets.token_urlsafe(), secrets.token_urlsafe()
    sessions[token] = user, loop.time() + SESSION_SECONDS
    tickets[ticket] = token
    loop.call_later(TICKET_SECONDS, tickets.pop, ticket, None)
    response = web.json_response({"user": user, "ticket": ticket})
    response.set_cookie(COOKIE, token, httponly=True, samesite="Lax")
    return response


async def read_user(request: web.Request) -> str:
    with suppress(ValueError, RecursionError, web.RequestPayloadError):
        if request.charset in {None, "utf-8", "UTF-8"}:  # others can be slow
            match await request.json():
                case {"user": str(u)} if 0 < len(u) <= 64 and u.isprintable():
                    return u
    reason = '{"error": "a user is 1 to 64 printable characters, in JSON"}'
    raise web.HTTPBadRequest(text=reason, content_type="application/json")


def authenticate(request: web.Request) -> tuple[str, float]:
    token = request.cookies.get(COOKIE, "")
    if "ticket" in request.query:
        token = request.app[TICKETS].pop(request.query["ticket"], "")
    user, end = request.app[SESSIONS].get(token, ("", 0))
    if end < asyncio.get_running_loop().time():
        reason = '{"error": "log in first"}'
        raise web.HTTPUnauthorized(text=reason, content_type="application/json")
    return user, end


@routes.get("/echo", allow_head=False)
async def echo(request: web.Request) -> web.WebSocketResponse:
    """Echo text until the client leaves, or its user logs out."""
    users, transport = request.app[SOCKETS], request.transport
    ws = web.WebSocketResponse(heartbeat=30, max_msg_size=65537, compress=False)
    is_upgrade = False
    with suppress(ValueError):  # of aiohttp, if a header is not in ASCII
        is_upgrade = ws.can_prepare(request).ok
    if not (transport and is_upgrade):
        raise web.HTTPBadRequest(text="this is for WebSockets")
    user, end = authenticate(request)
    # A page of another site sends the cookie too: only this keeps it out.
    origin = f"{request.scheme}://{request.host}"
    if request.headers.get(hdrs.ORIGIN, origin) != origin:
        raise web.HTTPForbidden(text="not from a page of another site")
    mine = users.setdefault(user, {})
    if len(mine) >= MAX_SOCKETS:
        raise web.HTTPTooManyRequests(text="too many sockets are open")
    mine[ws] = transport
    try:
        with suppress(ConnectionError, TimeoutError):
            await ws.prepare(request)
            async with asyncio.timeout_at(end):
                while users.get(user) is mine and not ws.closed:
                    msg = await ws.receive()
                    if users.get(user) is mine and msg.type is WSMsgType.TEXT:
                        await ws.send_str(msg.data)
        await close_all({ws: transport}, 4001, b"logged out")
    finally:
        mine.pop(ws, None)
        if users.get(user) == {}:
            del users[user]
    return ws


async def close_all(sockets: Sockets, code: int, reason: bytes) -> None:
    loop = asyncio.get_running_loop()
    for transport in sockets.values():
        if not transport.is_closing():
            # close() waits without limit for a peer that does not read.
            loop.call_later(CLOSE_SECONDS, transport.abort)
            transport.set_write_buffer_limits(0)
    closings = [ws.close(code=code, message=reason) for ws in sockets]
    await asyncio.gather(*closings, return_exceptions=True)


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """End the user's sessions, and close the sockets after the answer."""
    sessions, (user, _) = request.app[SESSIONS], authenticate(request)
    for token in [t for t, (u, _) in sessions.items() if u == user]:
        del sessions[token]
    mine = request.app[SOCKETS].pop(user, {})
    await jobs.spawn(request, close_all(mine, 4001, b"logged out"))
    return web.json_response({"closed": len(mine)})


async def say_goodbye(app: web.Application) -> None:
    everyone = app[SOCKETS].values()
    await asyncio.gather(*(close_all(s, 1001, b"shutdown") for s in everyone))


@routes.get("/sockets")
async def count_sockets(request: web.Request) -> web.Response:
    """Return how many sockets are open, and of how many users."""
    counts = [len(sockets) for sockets in request.app[SOCKETS].values()]
    return web.json_response({"users": len(counts), "sockets": sum(counts)})


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS], app[SESSIONS], app[TICKETS] = {}, {}, {}
    app.on_shutdown.append(say_goodbye)
    jobs.setup(app, limit=None)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
