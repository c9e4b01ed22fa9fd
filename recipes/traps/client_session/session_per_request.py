"""A session for each request opens a connection for each request.

The pool belongs to the session: closed with it, nothing is used again. Each
call pays for a name, a handshake and TLS, and at some hundred a second the
ports or the descriptors run out. One session, opened in a cleanup context, is
enough.

Try it::

    $ curl "localhost:8080/fetch?n=[1-5]" >/dev/null; curl localhost:8080/stats
    {"connections": 5}
"""

import os

import aiohttp
from aiohttp import ClientSession, web

STATS = web.AppKey("STATS", dict[str, int])

routes = web.RouteTableDef()


@routes.get("/upstream")
async def answer(request: web.Request) -> web.Response:
    """Answer what is fetched."""
    return web.Response(text="nobody")


@routes.get("/fetch")
async def fetch(request: web.Request) -> web.Response:
    """Fetch through a session of its own, here from this server itself."""

    async def count(*_: object) -> None:
        request.app[STATS]["connections"] += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    async with (
        ClientSession(trace_configs=[trace]) as session,  # wrong
        session.get(request.url.with_path("/upstream")) as response,
    ):
        return web.json_response({"upstream": await response.text()})


@routes.get("/stats")
async def show_stats(request: web.Request) -> web.Response:
    """Tell how many connections were opened since the start."""
    return web.json_response(request.app[STATS])


def create_app() -> web.Application:
    app = web.Application()
    app[STATS] = {"connections": 0}
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
