"""Compression of everything: a range of a file arrives as something else.

Who asks for the bytes 0 to 99 wants to put them together with others. A range
counts the bytes of what is sent (RFC 9110, 14); compressed afterwards, each
part is a gzip file of its own, and together they are no file at all.

Try it::

    $ curl -D - -o part -H "Accept-Encoding: gzip" -r 0-99 localhost:8080/file
    HTTP/1.1 206 Partial Content...Content-Encoding: gzip...
    $ head -c 100 part | grep -c '^.."'
    0
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


def create_app() -> web.Application:
    app = web.Application(middlewares=[shrink])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
