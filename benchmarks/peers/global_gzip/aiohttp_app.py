"""aiohttp: with the answer's middleware, with all compressed, or with nothing.

Run with `answer`, `everything` or `nothing`, and then with the module that
compresses: `zlib` is aiohttp's default.
"""

import sys
from importlib import import_module

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from benchmarks.peers.global_gzip.text import text_of
from benchmarks.serve import serve
from recipes.global_gzip import compress


async def send_text(request: web.Request) -> web.Response:
    size = int(request.query["size"])
    return web.Response(body=text_of(size), content_type="text/plain")


@web.middleware
async def compress_all(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    response = await handler(request)
    response.enable_compression()
    return response


MIDDLEWARES = {
    "answer": [compress],
    "everything": [compress_all],
    "nothing": [],
}


if __name__ == "__main__":
    what, library = sys.argv[1:]
    aiohttp.set_zlib_backend(import_module(library))
    app = web.Application(middlewares=MIDDLEWARES[what])
    app.router.add_get("/text", send_text)
    serve(app)
