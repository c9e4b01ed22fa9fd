# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10.6,<4"]
# ///
"""A tail that becomes the path of a file leads out of the folder.

aiohttp resolves no dots: `..` arrives in `match_info` as it was sent, and so
does `%2e%2e`, decoded. Joined to a folder, it reaches every file that the
process can read. `web.static` checks where a path leads. A sink has to do the
same, by `(folder / tail).resolve().is_relative_to(folder.resolve())`.

Try it::

    $ mkdir pages; echo "a page for everybody" > pages/page.txt
    $ echo "only ann may read this" > secret.txt
    $ curl localhost:8080/path/to/page.txt
    a page for everybody
    $ curl --path-as-is localhost:8080/path/to/../secret.txt
    only ann may read this
    $ curl localhost:8080/path/to/%2e%2e%2fsecret.txt
    only ann may read this
"""

import os
from pathlib import Path

from aiohttp import web

routes = web.RouteTableDef()


# answer
@routes.route("*", "/path/to/{tail:(?s:.*)}")
async def sink(request: web.Request) -> web.FileResponse:
    """Answer any method and any path below the prefix."""
    return web.FileResponse(Path("pages") / request.match_info["tail"])


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
