# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How do I make sure my custom middleware response will behave correctly?

Start from this file when you go live. Its cache limits the age, the number and
the size of what it keeps. It keeps more headers, and refuses an answer that
looks as if it were meant for one visitor. It keeps answers to two hosts apart,
and compresses a hit when its handler asked for that.

Try it::

    $ curl -i "localhost:8080/greeting?name=ann"
    HTTP/1.1 200 OK...X-Cache: miss...{"greeting": "Hello, ann!"}
    $ curl -i "localhost:8080/greeting?name=ann"
    HTTP/1.1 200 OK...Age: ...X-Cache: hit...{"greeting": "Hello, ann!"}
    $ curl localhost:8080/fresh
    {"ticket": "..."}
    $ curl localhost:8080/missing
    {"error": "there is nothing here"}

Good to know:

- Only a handler knows that its answer is the same for everybody: it opts in. A
  cookie, `Vary` or a header that is not in `KEPT_HEADERS` keeps it out all the
  same.
- Nothing is invalidated: an answer may be `max_age` seconds old.
- Clients who come before the first answer is made all run the handler.
- The cache belongs to one process. Each worker makes its own answers.
- `request.host` is what the client sent. A client that invents hosts evicts the
  answers of others, and each of them is made again. Let the proxy in front
  refuse hosts that are not yours.
"""

import json
import os
import secrets
import time
from collections import OrderedDict
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

MAX_AGE = 60.0
"""Seconds that an answer may be sent again."""

MAX_ANSWERS = 256
"""Answers that are kept. The one that was made first makes room."""

MAX_BODY = 2**16
"""Bytes of the largest body that is kept: 16 MiB for all answers."""

MAX_NAME = 64
"""Characters of a user's name."""

KEPT_HEADERS = {"content-type", "content-language", "etag", "last-modified"}
"""Headers that are the same for everybody. Any other keeps an answer out."""

REUSABLE = web.ResponseKey("REUSABLE", bool)
"""Set to True by a handler whose answer is the same for everybody."""

CACHE_HEADER = "X-Cache"

routes = web.RouteTableDef()


class Answer(NamedTuple):
    """What a response is made of: nothing in it can change."""

    made: float
    body: bytes
    headers: tuple[tuple[str, str], ...]
    compressed: bool

    def make_response(self, age: float) -> web.Response:
        """Make a new response: one that was sent cannot be sent again."""
        response = web.Response(body=self.body, headers=self.headers)
        response.headers[hdrs.AGE] = str(int(age))
        response.headers[CACHE_HEADER] = "hit"
        if self.compressed:
            # Negotiated again, for this client. The kept bytes are plain.
            response.enable_compression()
        return response


# answer
def cache(max_age: float, max_answers: int) -> Middleware:
    """Make a middleware that keeps answers, and never a response."""
    answers: OrderedDict[tuple[str, str], Answer] = OrderedDict()

    @web.middleware
    async def reuse_answers(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return await handler(request)
        # Without the host, links that begin with one host go to another.
        key = (request.host, request.raw_path)
        now = time.monotonic()
        answer = answers.get(key)
        if answer is not None and now - answer.made < max_age:
            return answer.make_response(now - answer.made)
        response = await handler(request)
        answer = make_answer(response, made=now)
        if answer is None:
            return response
        # A handler may leave the body out when it is asked for HEAD.
        if request.method == hdrs.METH_GET:
            answers[key] = answer
            # An assignment leaves a refreshed answer at its old place, and it
            # would make room first.
            answers.move_to_end(key)
            if len(answers) > max_answers:
                answers.popitem(last=False)
        # Set last: it is not for everybody, and would keep the answer out.
        response.headers[CACHE_HEADER] = "miss"
        return response

    return reuse_answers


# end of answer


def make_answer(response: web.StreamResponse, made: float) -> Answer | None:
    """Return what may be sent to everybody, or None; one reason a line."""
    # A stream or a WebSocket has no body to keep.
    if not isinstance(response, web.Response) or response.prepared:
        return None
    if not response.get(REUSABLE, False) or response.status != 200:
        return None
    # A payload can be read once, and a bytearray can change.
    body = response.body
    if not isinstance(body, bytes) or len(body) > MAX_BODY:
        return None
    # Cookies become headers when the response is sent, not before.
    if response.cookies:
        return None
    headers = tuple(response.headers.items())
    names = {name.lower() for name, _ in headers}
    if not names <= KEPT_HEADERS:
        return None
    return Answer(made, body, headers, response.compression)


# answer
@web.middleware
async def add_header(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Add the time that an answer took, to errors as well."""
    started = time.monotonic()
    try:
        response = await handler(request)
    except web.HTTPException as error:
        add_timing(error, started)
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
        if error.headers["Content-Type"].startswith("application/json"):
            raise
        # In aiohttp 4.0 an error is no response, and cannot be changed.
        headers = error.headers.copy()
        headers["Content-Type"] = "application/json"
        text = json.dumps({"error": error.reason})
        return web.Response(text=text, status=error.status, headers=headers)


@routes.get("/greeting")
async def greet(request: web.Request) -> web.Response:
    """Greet by name; the answer may be sent again."""
    name = read_name(request)
    response = web.json_response({"greeting": f"Hello, {name}!"})
    response[REUSABLE] = True
    return response


def read_name(request: web.Request) -> str:
    names = request.query.getall("name", [])
    if len(names) == 1 and 1 <= len(names[0]) <= MAX_NAME:
        name = names[0]
        if name.isprintable():
            return name
    reason = f"give one name, of 1 to {MAX_NAME} printable characters"
    raise json_error(web.HTTPBadRequest, reason)


@routes.get("/fresh")
async def make_ticket(request: web.Request) -> web.Response:
    """Answer something new each time: it is never kept."""
    return web.json_response({"ticket": secrets.token_urlsafe(12)})


@routes.get("/missing")
async def raise_missing(request: web.Request) -> web.Response:
    """Raise an error, made when it is needed."""
    raise json_error(web.HTTPNotFound, "there is nothing here")


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


def create_app(
    *, max_age: float = MAX_AGE, max_answers: int = MAX_ANSWERS
) -> web.Application:
    # The first of the list is the outermost. The cache is the innermost: what
    # the others add for one request is never kept.
    middlewares = [explain_errors, add_header, cache(max_age, max_answers)]
    app = web.Application(middlewares=middlewares)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
