"""An echo that nobody hears: `send_str()` is not awaited.

`ws.send_str(msg.data)` without `await` makes a coroutine and drops it. Nothing
is sent, and the only trace is a RuntimeWarning in the log. The FAQ prints it
so.

Try it::

    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login | tee login
    {"user": "ann", "ticket": "..."}
    $ TICKET=$(cut -d '"' -f 8 login)
    $ python -m websockets ws://localhost:8080/echo?ticket=$TICKET
    > hi
    < (nothing for 1 s)
    Log: coroutine 'WebSocketResponse.send_str' was never awaited
"""

import os

from aiohttp import web

routes = web.RouteTableDef()


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Give a ticket, which here is the name."""
    user = (await request.json())["user"]
    return web.json_response({"user": user, "ticket": user})


@routes.get("/echo")
async def echo(request: web.Request) -> web.WebSocketResponse:
    """Echo text until the client leaves."""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for msg in ws:
        ws.send_str(msg.data)  # type: ignore[unused-coroutine] # wrong
    return ws


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
