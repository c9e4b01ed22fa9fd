"""Compression of everything: HEAD of a file spoils the connection.

The compressor has something to say even about nothing: a few bytes that aiohttp
3.14 writes after the headers of the answer to HEAD, where no body may be. The
client takes them for the beginning of the next answer.

Try it::

    $ curl -IH "Accept-Encoding: gzip" localhost:8080/file --next \\
        -o /dev/null -w ' then %{http_code}' localhost:8080/empty 2>&1
    HTTP/1.1 200 OK...curl: (1) Received HTTP/0.9 when not allowed...then 000
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


@routes.get("/file")
async def send_file(request: web.Request) -> web.FileResponse:
    """Send this file."""
    return web.FileResponse(__file__)


@routes.get("/empty")
async def answer_shortly(request: web.Request) -> web.Response:
    """Answer something short."""
    return web.Response(text="hi")


def create_app() -> web.Application:
    app = web.Application(middlewares=[shrink])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
