# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How do I make sure my custom middleware response will behave correctly?

Make a new response for each request. What may live longer is what a response
is made of: bytes and strings. Of a `Response` that was sent before, nothing
is written: the client waits for ever, while the access log says 200
(aiohttp#3020). The FAQ's middleware as printed does not get as far: it lacks
`@web.middleware`, and on aiohttp 3 every request is a 500.

Try it::

    $ curl -i "localhost:8080/greeting?name=ann"
    HTTP/1.1 200 OK...{"greeting": "Hello, ann!"}
    $ curl -i "localhost:8080/greeting?name=ann"
    HTTP/1.1 200 OK...Age: ...{"greeting": "Hello, ann!"}
    $ curl localhost:8080/fresh
    {"ticket": "..."}
    $ curl localhost:8080/missing
    {"error": "there is nothing here"}

Good to know:

- An exception is a response too: raising one shared `HTTPForbidden` hangs in
  the same way. So does a handler that returns a `Response` of its module.
- `copy.copy(response)` shares the headers: Ann's cookie goes out to Bob.
- The parameter has to be called `handler`, aiohttp passes it by keyword. A
  handler that is called but not awaited, as in the FAQ, does not run.
- Only a handler knows that its answer suits everybody: it opts in. A cookie,
  `Vary` or any header not listed below keeps an answer out all the same.
- Nothing is invalidated: an answer may be `max_age` seconds old. Callers who
  come before the first answer all run the handler.
"""

import json
import os
import secrets
import time
from collections import OrderedDict
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

REUSABLE = web.ResponseKey("REUSABLE", bool)
"""Set by a handler whose answer is the same for all who ask."""

KEPT_HEADERS = {"content-type", "content-language", "etag", "last-modified"}
MAX_BODY = 2**16
MAX_NAME = 100

routes = web.RouteTableDef()


class Answer(NamedTuple):
    """What a response is made of: nothing in it can change."""

    made: float
    body: bytes
    headers: tuple[tuple[str, str], ...]


def cache(max_age: float, max_answers: int) -> Middleware:
    """Make a middleware that keeps answers, and never a response."""
    answers: OrderedDict[tuple[str, str], Answer] = OrderedDict()

    @web.middleware
    async def reuse(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return await handler(request)
        # The host too: an answer may have links that begin with it.
        key = request.host, request.raw_path
        now = time.monotonic()
        answer = answers.get(key)
        if answer and now - answer.made < max_age:
            age = hdrs.AGE, str(int(now - answer.made))
            headers = (*answer.headers, age)
            return web.Response(body=answer.body, headers=headers)
        response = await handler(request)
        # A handler may leave the body out when it is asked for HEAD.
        if request.method == "GET" and (answer := take(response, made=now)):
            answers[key] = answer
            if len(answers) > max_answers:
                answers.popitem(last=False)
        return response

    return reuse


def take(response: web.StreamResponse, made: float) -> Answer | None:
    """Return what can be sent again, or None where that would be unsafe."""
    if (
        isinstance(response, web.Response)
        and REUSABLE in response
        and not response.prepared
        and response.status == 200
        and isinstance(response.body, bytes)
        and len(response.body) <= MAX_BODY
        and KEPT_HEADERS.issuperset(map(str.lower, response.headers))
        and not response.cookies
    ):
        return Answer(made, response.body, tuple(response.headers.items()))
    return None


@routes.get("/greeting")
async def greet(request: web.Request) -> web.Response:
    """Greet by name; the answer may be sent again."""
    match request.query.getall("name", []):
        case [name] if 1 <= len(name) <= MAX_NAME and name.isprintable():
            response = web.json_response({"greeting": f"Hello, {name}!"})
            response[REUSABLE] = True
            return response
    reason = f"give one name, of 1 to {MAX_NAME} printable characters"
    raise refusal(web.HTTPBadRequest, reason)


@routes.get("/fresh")
async def make_ticket(request: web.Request) -> web.Response:
    """Answer something new each time: nobody may see it twice."""
    return web.json_response({"ticket": secrets.token_urlsafe(12)})


@routes.get("/missing")
async def refuse(request: web.Request) -> web.Response:
    """Raise an error, made when it is needed."""
    raise refusal(web.HTTPNotFound, "there is nothing here")


def refusal(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    text = json.dumps({"error": reason})
    return kind(text=text, content_type="application/json")


def create_app(
    *, max_age: float = 60, max_answers: int = 256
) -> web.Application:
    app = web.Application(middlewares=[cache(max_age, max_answers)])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
