"""Of two sub-applications on one prefix, the second is out of reach.

The first that matches the prefix answers, also with its 404; nobody asks the
second (aiohttp#2677). Nothing is said when it is mounted. Nest the one in the
other, or give each a prefix of its own.

Try it::

    $ curl localhost:8080/blog/
    {"links": ["/blog/posts/1"]}
    $ curl localhost:8080/blog/admin/
    404: Not Found
"""

import os

from aiohttp import web

section_routes = web.RouteTableDef()
admin_routes = web.RouteTableDef()


@section_routes.get("/")
async def list_posts(request: web.Request) -> web.Response:
    """Link to the posts of this section."""
    url = request.app.router["post"].url_for(id="1")
    return web.json_response({"links": [str(url)]})


@section_routes.get("/posts/{id}", name="post")
async def read_post(request: web.Request) -> web.Response:
    """Return a post."""
    return web.json_response({"id": request.match_info["id"]})


@admin_routes.get("/admin/")
async def administrate(request: web.Request) -> web.Response:
    """Answer to the administrator."""
    return web.json_response({"section": "admin"})


def create_app() -> web.Application:
    app = web.Application()
    for table in (section_routes, admin_routes):
        subapp = web.Application()
        subapp.add_routes(table)
        app.add_subapp("/blog", subapp)  # wrong
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
