# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10.6,<4"]
# ///
"""How do I create a route that matches urls with a given prefix?

End the path in a variable that takes everything: `{tail:(?s:.*)}`. The FAQ of
3.14 has `{tail:.+}`, which takes no empty tail and no newline. A route with
more literal segments before its first `{` wins over the sink, in any order:
`/path/to/exact` does, and so does `/path/to/users/{id}`. `/path/to/{id}` has as
many as the sink, so add it before the sink.

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

- A tail is decoded once: `a%2Fb` and `a/b` give the same tail, and `a%252Fb`
  gives `a%2Fb`. Only the raw path shows which one was sent.
- A tail may begin with `../`. Check where it leads before you open a file.
- `*` is every method, TRACE too. A preflight of CORS reaches the sink, unless a
  middleware answers it.
- `/é/{tail}` never matches since aiohttp 3.10.6, nor does a prefix with a space
  (aiohttp#13433). Write it as a variable: `/{prefix:é}/{tail:(?s:.*)}`.
- Copied as it is, this file accepts a POST from a page of another site.
"""

import os

from aiohttp import web

routes = web.RouteTableDef()


# answer
@routes.route("*", "/path/to/{tail:(?s:.*)}")
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
