"""Compression of everything: a 204 gets no answer at all.

`enable_compression()` on a response without a body is an AssertionError in
`prepare()`, outside of what makes a 500 of it: aiohttp 3.14 closes the
connection without a word. The client's next idea is to try it again.

Try it::

    $ curl -iH "Accept-Encoding: gzip" localhost:8080/empty
    curl: (52) Empty reply from server
    Log: ...AssertionError
"""

import os

from aiohttp import web
from aiohttp.typedefs import Handler

routes = web.RouteTableDef()


@web.middleware
async def shrink(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    response.enable_compression()  # wrong
    return response


@routes.get("/empty")
async def answer_nothing(request: web.Request) -> web.Response:
    """Answer without a body."""
    return web.Response(status=204)


def create_app() -> web.Application:
    app = web.Application(middlewares=[shrink])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
