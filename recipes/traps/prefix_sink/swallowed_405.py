"""The sink answers the methods that a more specific route refuses.

A route is chosen by path and method together: where `/path/to/exact` has no
PUT, the search goes on, and `*` below the prefix takes it. A client that uses
the wrong method is told 200, and OPTIONS of a browser is answered by the wrong
handler (aiohttp-cors#241). A sibling route for `*` has to refuse them.

Try it::

    $ curl localhost:8080/path/to/exact
    {"exact": true}
    $ curl -X PUT localhost:8080/path/to/exact
    {"method": "PUT", "tail": "exact"}
"""

import os

from aiohttp import web

routes = web.RouteTableDef()


@routes.get("/path/to/exact")
async def read_exact(request: web.Request) -> web.Response:
    """Answer for one path that the sink must not take."""
    return web.json_response({"exact": True})


@routes.route("*", "/path/to/{tail:(?s:.*)}")  # wrong
async def sink(request: web.Request) -> web.Response:
    """Answer any other method and path below the prefix."""
    tail = request.match_info["tail"]
    return web.json_response({"method": request.method, "tail": tail})


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
