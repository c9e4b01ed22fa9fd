# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""One exception raised twice leaves the second client without an answer.

An `HTTPException` is a response. Here it is made once, when the file is
imported, and raised for each request. It can be sent once. The second time
nothing is written, and the client waits forever. A test that asks once passes.
Make the exception where you raise it.

Try it::

    $ curl localhost:8080/missing
    {"error": "there is nothing here"}
    $ curl -m 1 localhost:8080/missing 2>/dev/null || echo no answer
    no answer
"""

import json
import os
import secrets
import time

from aiohttp import web
from aiohttp.typedefs import Handler

# What a response is made of: its bytes and their content type.
ANSWERS = web.AppKey("ANSWERS", dict[str, tuple[bytes, str]])
# Set by a handler whose answer is the same for everybody.
REUSABLE = web.ResponseKey("REUSABLE", bool)
# Answers that are kept. The one that was stored first makes room.
MAX_ANSWERS = 256
# What aiohttp sends where the handler names no content type.
BINARY = "application/octet-stream"

routes = web.RouteTableDef()


# answer
@web.middleware
async def reuse_bytes(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    answers = request.app[ANSWERS]
    key = request.raw_path  # with its query
    if key in answers and request.method in ("GET", "HEAD"):
        body, content_type = answers[key]
        headers = {"Content-Type": content_type, "X-Cache": "hit"}
        return web.Response(body=body, headers=headers)
    response = await handler(request)
    if isinstance(response, web.Response) and response.get(REUSABLE):
        response.headers["X-Cache"] = "miss"
        if request.method == "GET" and isinstance(response.body, bytes):
            content_type = response.headers.get("Content-Type", BINARY)
            answers[key] = (response.body, content_type)
            if len(answers) > MAX_ANSWERS:
                del answers[next(iter(answers))]  # the oldest
    return response


# end of answer


# answer
@web.middleware
async def add_header(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    started = time.monotonic()
    try:
        response = await handler(request)
    except web.HTTPException as error:
        add_timing(error, started)  # an error is a response, too
        raise
    # A stream has sent its headers by now. None is a handler without `return`:
    # aiohttp reports it.
    if response is not None and not response.prepared:
        add_timing(response, started)
    return response


# end of answer


def add_timing(response: web.StreamResponse, started: float) -> None:
    milliseconds = (time.monotonic() - started) * 1000
    response.headers.add("Server-Timing", f"app;dur={milliseconds:.3f}")


@web.middleware
async def explain_errors(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Answer a refusal of aiohttp's own, such as a 405, in JSON."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        if error.content_type != "application/json":
            error.text = json.dumps({"error": error.reason})
            error.content_type = "application/json"
        raise


@routes.get("/greeting")
async def greet(request: web.Request) -> web.Response:
    """Greet by name; the answer may be sent again."""
    name = read_name(request)
    response = web.json_response({"greeting": f"Hello, {name}!"})
    response[REUSABLE] = True
    return response


def read_name(request: web.Request) -> str:
    names = request.query.getall("name", [])
    if len(names) == 1 and 1 <= len(names[0]) <= 64 and names[0].isprintable():
        return names[0]
    reason = "give one name, of 1 to 64 printable characters"
    raise json_error(web.HTTPBadRequest, reason)


@routes.get("/fresh")
async def make_ticket(request: web.Request) -> web.Response:
    """Answer something new each time: it is never kept."""
    return web.json_response({"ticket": secrets.token_urlsafe(12)})


@routes.get("/missing")
async def raise_missing(request: web.Request) -> web.Response:
    """Raise an error, made when this file was imported."""
    raise NOTHING


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


NOTHING = json_error(web.HTTPNotFound, "there is nothing here")


def create_app() -> web.Application:
    # The first of the list is the outermost.
    middlewares = [explain_errors, add_header, reuse_bytes]
    app = web.Application(middlewares=middlewares)
    app[ANSWERS] = {}
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
