"""A decorator above the route protects nothing.

`@routes.get` puts the function that it is given into the table, and that is the
one below it. What `require_token` makes of it afterwards only gets the name. No
error, no warning: the page is public.

Try it::

    $ curl localhost:8080/private
    {"user": "ann"}
"""

import os
from functools import wraps

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

DEMO_TOKEN = "ann-demo-token"  # noqa: S105 - public, for trying this out

routes = web.RouteTableDef()


def require_token(handler: Handler) -> Handler:
    @wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        header = request.headers.get(hdrs.AUTHORIZATION, "")
        if header != f"Bearer {DEMO_TOKEN}":
            raise web.HTTPUnauthorized(text="this needs a bearer token")
        return await handler(request)

    return guarded


@require_token  # wrong
@routes.get("/private")
async def read_private(request: web.Request) -> web.Response:
    """Return the user to whoever knows the token."""
    return web.json_response({"user": "ann"})


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
