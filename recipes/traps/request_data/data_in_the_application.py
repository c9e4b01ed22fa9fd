"""Data of one request, kept in the application, reaches another.

The application is there once, and requests take turns at every `await`. What a
middleware writes down for one is overwritten by the next before the handler
reads it: the wrong id in a log, the wrong user in a page.

Try it::

    $ for id in 1 2 3; do \\
        curl -o $id -H "X-Request-ID: $id" localhost:8080/ & \\
      done; wait; sort -u 1 2 3 | grep -c request_id
    1
"""

import asyncio
import os

from aiohttp import web
from aiohttp.typedefs import Handler

CURRENT = web.AppKey("CURRENT", dict[str, str])

routes = web.RouteTableDef()


@web.middleware
async def label(request: web.Request, handler: Handler) -> web.StreamResponse:
    request.app[CURRENT]["id"] = request.headers["X-Request-ID"]  # wrong
    return await handler(request)


@routes.get("/")
async def tell_id(request: web.Request) -> web.Response:
    """Tell the id of this request, after some work."""
    await asyncio.sleep(0.5)
    return web.json_response({"request_id": request.app[CURRENT]["id"]})


def create_app() -> web.Application:
    app = web.Application(middlewares=[label])
    app[CURRENT] = {}
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
