# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How do I create a route that matches urls with a given prefix?

End the path in a variable that takes everything: `{tail:(?s:.*)}`. The FAQ's
`{tail:.+}` answers 404 to an empty rest and to any path with an encoded
newline, because `.` does not match one. A more specific route keeps its
place, whatever the order of registration (since aiohttp 3.10), but the sink
would answer the methods that it refuses: give it a sibling for them.

Try it::

    $ curl "localhost:8080/path/to/a%2Fb?page=2"
    {"method": "GET", "tail": "a/b", "raw_path": "/path/to/a%2Fb", ...}
    $ curl -X DELETE localhost:8080/path/to/
    {"method": "DELETE", "tail": "", "raw_path": "/path/to/", "query": ""}
    $ curl localhost:8080/path/to/exact
    {"exact": true}
    $ curl -X PUT localhost:8080/path/to/exact
    {"error": "PUT is not allowed here"}

Good to know:

- `match_info` is decoded once: `a%2Fb` and `a/b` give the same tail, `a%252Fb`
  gives `a%2Fb`. Only the raw path tells them apart.
- Dots are not resolved: `../etc` arrives as it is. Never join a tail to a
  folder or a URL without checking where the result leads.
- `*` is every method, TRACE and OPTIONS too: a sink answers CORS preflights
  that were meant for a middleware (aiohttp-cors#241).
- A prefix that needs percent-encoding, as `/é/{tail}`, never matches since
  aiohttp 3.10 (aiohttp#13433).
"""

import os

from aiohttp import hdrs, web

routes = web.RouteTableDef()


@routes.get("/path/to/exact")
async def read_exact(request: web.Request) -> web.Response:
    """Answer for one path that the sink must not take."""
    return web.json_response({"exact": True})


@routes.route("*", "/path/to/exact")
async def refuse_method(request: web.Request) -> web.Response:
    """Refuse the methods that the exact path does not have."""
    return web.json_response(
        {"error": f"{request.method} is not allowed here"},
        status=405,
        headers={hdrs.ALLOW: "GET,HEAD"},
    )


@routes.route("*", "/path/to/{tail:(?s:.*)}")
async def sink(request: web.Request) -> web.Response:
    """Answer any other method and path below the prefix."""
    if request.method == hdrs.METH_TRACE:
        others = hdrs.METH_ALL - {hdrs.METH_TRACE}
        raise web.HTTPMethodNotAllowed(request.method, others)
    return web.json_response(
        {
            "method": request.method,
            "tail": request.match_info["tail"],
            "raw_path": request.rel_url.raw_path,
            "query": request.rel_url.raw_query_string,
        }
    )


@routes.route("*", "/path/to")
async def add_slash(request: web.Request) -> web.Response:
    """Redirect the bare prefix to the sink, with method and body kept."""
    # Built from the request, not from a literal: a mount prefix stays in it.
    url = request.rel_url
    location = url.with_path(f"{url.path}/", keep_query=True)
    raise web.HTTPPermanentRedirect(location)


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
