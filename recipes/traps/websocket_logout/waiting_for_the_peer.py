"""A logout that waits for a peer that never reads does not answer.

`close()` first waits until there is room for its frame, and that wait has no
limit: `timeout` bounds only what comes after (measured on 3.14.5). One laptop
with a closed lid keeps the answer from whoever logs out. Close in a task that
somebody owns, with `transport.abort()` at the end of its patience.

Try it::

    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login | tee login
    {"user": "ann", "ticket": "..."}
    $ TICKET=$(cut -d '"' -f 8 login)
    $ curl -N -o /dev/null -H "Connection: Upgrade" -H "Upgrade: websocket" \\
        -H "Sec-WebSocket-Version: 13" \\
        -H "Sec-WebSocket-Key: $(printf %022d 0)==" \\
        -b jar localhost:8080/echo & sleep 0.02; kill -STOP $!; sleep 1
    $ curl -m 3 -b jar -X POST localhost:8080/logout 2>/dev/null \\
        || echo no answer
    no answer
"""

import asyncio
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
    """Send news, more than buffers hold, until the client leaves."""
    ws = web.WebSocketResponse(timeout=1)
    await ws.prepare(request)
    request.app[SOCKETS].add(ws)
    try:
        while not ws.closed:
            await ws.send_str("news " * 10_000)
    finally:
        request.app[SOCKETS].discard(ws)
    return ws


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """Close the sockets."""
    closings = [ws.close(code=4001) for ws in request.app[SOCKETS]]
    await asyncio.gather(*closings)  # wrong
    return web.json_response({"closed": len(closings)})


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = set()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
