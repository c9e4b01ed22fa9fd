"""The FAQ's `{tail:.+}` is deaf to an empty rest and to a newline.

In a regular expression `.` is any character but a newline, and `+` wants one at
least. A path may hold both: `%0A` is decoded before it is matched. What was
meant to take everything answers 404.

Try it::

    $ curl localhost:8080/path/to/
    404: Not Found
    $ curl localhost:8080/path/to/a%0Ab
    404: Not Found
"""

import os

from aiohttp import web

routes = web.RouteTableDef()


@routes.route("*", "/path/to/{tail:.+}")  # wrong
async def sink(request: web.Request) -> web.Response:
    """Answer any method and path below the prefix."""
    tail = request.match_info["tail"]
    return web.json_response({"method": request.method, "tail": tail})


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
