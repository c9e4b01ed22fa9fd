"""The follow-up never runs, if the client leaves before the answer.

`write_eof()` to a client that is gone raises ConnectionResetError, and what
stands below it is not reached: the payment is booked, and the message about it
is not sent (aiohttp#5338 met it with curl). Start the follow-up in `finally`.

Try it::

    $ curl -m 0.2 localhost:8080/ping 2>/dev/null; sleep 1
    $ curl localhost:8080/count
    {"count": 0...
"""

import asyncio
import os

from aiohttp import web

COUNT = web.AppKey("COUNT", dict[str, int])

routes = web.RouteTableDef()


@routes.get("/ping")
async def ping(request: web.Request) -> web.Response:
    """Send PONG after some work, then increase the count."""
    await asyncio.sleep(0.5)
    response = web.json_response({"message": "PONG"})
    await response.prepare(request)
    await response.write_eof()  # wrong
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
