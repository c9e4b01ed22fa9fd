"""Compression of everything: HEAD of a file spoils the connection.

The compressor has something to say even about nothing: 20 bytes that aiohttp
3.14 writes after the headers of the answer to HEAD, where no body may be. The
client takes them for the beginning of the next answer.

Try it::

    $ printf '%s\\r\\n' 'HEAD /file HTTP/1.1' 'Host: localhost' \\
        'Accept-Encoding: gzip' 'Connection: close' '' >request
    $ curl telnet://localhost:8080 <request >answer; head -n 1 answer
    HTTP/1.1 200 OK
    $ LC_ALL=C sed '1,/^.$/d' answer | wc -c | tr -d ' '
    20
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
