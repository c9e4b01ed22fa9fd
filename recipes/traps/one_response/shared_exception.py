"""One exception raised twice: the second request waits for ever.

An `HTTPException` is a response. Made once and raised again, it was sent
before, and of what was sent before nothing is written. It works in every test
that asks once.

Try it::

    $ curl localhost:8080/missing
    {"error": "there is nothing here"}
    $ curl -m 1 localhost:8080/missing 2>/dev/null || echo no answer
    no answer
"""

import os

from aiohttp import web

NOTHING = web.HTTPNotFound(
    text='{"error": "there is nothing here"}', content_type="application/json"
)

routes = web.RouteTableDef()


@routes.get("/missing")
async def refuse(request: web.Request) -> web.Response:
    """Raise an error, made when this file was imported."""
    raise NOTHING  # wrong


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
