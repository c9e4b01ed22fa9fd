"""The follow-up in the handler delays the client's next request.

The answer is out, but the handler has not returned, and a connection serves one
request at a time: the next, of the same browser or proxy, waits. It cannot be
seen with a new connection each time, as most tests have. `force_close()` helps,
at the price of the connection; a task that somebody owns costs nothing.

Try it::

    $ curl -m 1 'localhost:8080/ping?work=1.5' || echo no answer
    {"message": "PONG"}
    $ curl -m 1 'localhost:8080/ping?work=1.5&n=[1-2]' 2>/dev/null \\
        || echo no answer
    {"message": "PONG"}no answer
"""

import asyncio
import os

from aiohttp import web

COUNT = web.AppKey("COUNT", dict[str, int])

routes = web.RouteTableDef()


@routes.get("/ping")
async def ping(request: web.Request) -> web.Response:
    """Send PONG, then increase the count after `work` seconds."""
    response = web.json_response({"message": "PONG"})
    await response.prepare(request)
    await response.write_eof()
    await asyncio.sleep(float(request.query["work"]))  # wrong
    request.app[COUNT]["count"] += 1
    return response


@routes.get("/count")
async def read_count(request: web.Request) -> web.Response:
    """Return the count."""
    return web.json_response(request.app[COUNT])


def create_app() -> web.Application:
    app = web.Application()
    app[COUNT] = {"count": 0}
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
