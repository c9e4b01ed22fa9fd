"""A redirect to a literal path leaves the sub-application.

A nested application does not know where it is mounted, so a path that it writes
down begins at the root of the site. Alone, in the tests of the one who wrote
it, the same line works. The router knows: `request.app.router[name].url_for()`,
or build on `request.rel_url`.

Try it::

    $ curl -i localhost:8080/blog/admin
    HTTP/1.1 308 Permanent Redirect...Location: /admin/...
    $ curl -L localhost:8080/blog/admin
    404: Not Found
"""

import os

from aiohttp import web

admin_routes = web.RouteTableDef()


@admin_routes.get("/")
async def administrate(request: web.Request) -> web.Response:
    """Answer two levels deep."""
    return web.json_response({"section": "admin"})


@admin_routes.get("")
async def add_slash(request: web.Request) -> web.Response:
    """Redirect the prefix alone to the page below it."""
    raise web.HTTPPermanentRedirect("/admin/")  # wrong


def create_admin() -> web.Application:
    app = web.Application()
    app.add_routes(admin_routes)
    return app


def create_app() -> web.Application:
    app, blog = web.Application(), web.Application()
    blog.add_subapp("/admin", create_admin())
    app.add_subapp("/blog", blog)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
