"""Closing while iterating over the live set leaves sockets open.

`close()` wakes the socket's handler, whose `finally` takes the socket out of
the set that the loop goes through: `Set changed size during iteration`, after
the first. The logout is a 500, and the other sockets stay open. Take a copy, or
better the whole set out of the registry.

Try it::

    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login | tee login
    {"user": "ann", "ticket": "..."}
    $ TICKET=$(cut -d '"' -f 8 login)
    $ for i in 1 2 3; do \\
        curl -N -o /dev/null -H "Connection: Upgrade" -H "Upgrade: websocket" \\
        -H "Sec-WebSocket-Version: 13" \\
        -H "Sec-WebSocket-Key: $(printf %022d 0)==" \\
        -b jar localhost:8080/echo 2>/dev/null & done; sleep 1
    $ curl -b jar -X POST localhost:8080/logout
    500 Internal Server Error...
    $ curl localhost:8080/sockets
    {"users": 1, "sockets": 2}
    Log: RuntimeError: Set changed size during iteration
"""

import os

from aiohttp import web

SOCKETS = web.AppKey("SOCKETS", set[web.WebSocketResponse])

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
    try:
        async for msg in ws:
            await ws.send_str(msg.data)
    finally:
        request.app[SOCKETS].discard(ws)
    return ws


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """Close the sockets."""
    for ws in request.app[SOCKETS]:  # wrong
        await ws.close(code=4001, message=b"logged out")
    return web.json_response({"closed": True})


@routes.get("/sockets")
async def count_sockets(request: web.Request) -> web.Response:
    """Return how many sockets are open."""
    return web.json_response({"users": 1, "sockets": len(request.app[SOCKETS])})


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = set()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
