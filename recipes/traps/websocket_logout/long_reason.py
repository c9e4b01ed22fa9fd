"""A reason of more than 123 bytes turns 4001 into a protocol error.

A control frame carries 125 bytes at most, two of them for the code (RFC 6455,
5.5). aiohttp 3.14 sends a longer one as it is; the client that meets it has to
fail the connection, and reports 1002 or 1006 instead of the code that was
meant. A reason that holds a name or a translated text gets there sooner than
one thinks.

Try it::

    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login | tee login
    {"user": "ann", "ticket": "..."}
    $ TICKET=$(cut -d '"' -f 8 login)
    $ python -m websockets ws://localhost:8080/echo?ticket=$TICKET
    $ curl -b jar -X POST localhost:8080/logout
    {"closed": 1}
    Connection closed: 1002 (protocol error)...
"""

import os

from aiohttp import web

SOCKETS = web.AppKey("SOCKETS", set[web.WebSocketResponse])
REASON = (
    b"You have logged out, or somebody else did it for you: " + b"why? " * 20
)

routes = web.RouteTableDef()


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Give a ticket, which here is the name."""
    user = (await request.json())["user"]
    return web.json_response({"user": user, "ticket": user})


@routes.get("/echo")
async def echo(request: web.Request) -> web.WebSocketResponse:
    """Stay open until the client leaves, or its user logs out."""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    request.app[SOCKETS].add(ws)
    async for msg in ws:
        await ws.send_str(msg.data)
    request.app[SOCKETS].discard(ws)
    return ws


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """Close the sockets."""
    sockets = request.app[SOCKETS].copy()
    for ws in sockets:
        await ws.close(code=4001, message=REASON)  # wrong
    return web.json_response({"closed": len(sockets)})


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = set()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
