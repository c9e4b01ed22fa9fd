# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10.6,<4"]
# ///
"""The pattern `.+` misses an empty tail and a newline.

In a regular expression, `.` is any character except a newline, and `+` asks for
one at least. But a path may end with the prefix, and its `%0A` is decoded to a
newline before the pattern is tried. A route that was meant to take everything
answers 404. Write `(?s:.*)`: the `s` lets the dot match a newline.

Try it::

    $ curl localhost:8080/path/to/
    404: Not Found
    $ curl localhost:8080/path/to/a%0Ab
    404: Not Found
"""

import os

from aiohttp import web

routes = web.RouteTableDef()


# answer
@routes.route("*", "/path/to/{tail:.+}")
async def sink(request: web.Request) -> web.Response:
    """Answer any method and any path below the prefix."""
    answer = {
        "method": request.method,
        "tail": request.match_info["tail"],
        "raw_path": request.rel_url.raw_path,
        "query": request.rel_url.raw_query_string,
    }
    return web.json_response(answer)


@routes.route("*", "/path/to")
async def add_slash(request: web.Request) -> web.Response:
    """Redirect the bare prefix to the sink, with method and body kept."""
    path = request.rel_url.raw_path
    query = request.rel_url.raw_query_string
    # A text, because aiohttp quotes a text and not a URL. Its Python parser
    # lets bytes above 127 into a query, and a header cannot hold them all.
    raise web.HTTPPermanentRedirect(f"{path}/?{query}")


@routes.get("/path/to/exact")
async def read_exact(request: web.Request) -> web.Response:
    """Answer for one path that the sink must not take."""
    return web.json_response({"exact": True})


# Without this route, the sink takes the methods that the exact path lacks.
@routes.route("*", "/path/to/exact")
async def refuse_method(request: web.Request) -> web.Response:
    """Refuse the methods that the exact path lacks."""
    answer = {"error": f"{request.method} is not allowed here"}
    headers = {"Allow": "GET,HEAD"}
    return web.json_response(answer, status=405, headers=headers)


# end of answer


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(
            create_app(), host="127.0.0.1", port=port, shutdown_timeout=5
        )
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
