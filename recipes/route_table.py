# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4"]
# ///
"""Are there plans for an @app.route decorator like in Flask?

Decorate handlers with a `RouteTableDef`, which needs no application. Give each
module of handlers a table of its own, and let `create_app` add the tables. Then
no module of handlers has to import the application, which imports them all.

Try it::

    $ curl localhost:8080/get
    {"method": "GET"}
    $ curl -d Hello localhost:8080/post
    {"method": "POST", "body": "Hello"}
    $ curl localhost:8080/link/milk
    {"url": "/items/milk"}
    $ curl localhost:8080/private
    {"error": "this needs a bearer token"}
    $ curl -H "Authorization: Bearer ann-demo-token" localhost:8080/private
    {"user": "ann"}

Good to know:

- Start this file with `TOKEN=ann-demo-token`. Without a token, `/private` opens
  to nobody. Compare a real secret by `hmac.compare_digest`.
- A decorator that runs after `add_routes` adds nothing, without an error.
- The route with more whole segments before its first `{` wins (since aiohttp
  3.10). Among equals, the one that was added first wins.
- A decorated method answers 500, because nothing binds its `self`.
- Copied as it is, this file accepts a POST from a page of another site.
"""

import json
import os
from functools import wraps

from aiohttp import web
from aiohttp.typedefs import Handler

TOKEN = web.AppKey("TOKEN", str)
NAMES = ["bread", "milk"]

routes = web.RouteTableDef()


# answer
@routes.get("/get")
async def read(request: web.Request) -> web.Response:
    """Return the method, which is GET."""
    return web.json_response({"method": "GET"})


@routes.post("/post")
async def write(request: web.Request) -> web.Response:
    """Return the text of the body."""
    text = await read_text(request)
    return web.json_response({"method": "POST", "body": text})


# end of answer


async def read_text(request: web.Request) -> str:
    # Bytes, not text(): the client would choose the codec, and some are slow.
    try:
        body = await request.read()
        return body.decode()
    except (UnicodeDecodeError, web.RequestPayloadError):
        reason = "the body must be text in UTF-8"
        raise json_error(web.HTTPBadRequest, reason) from None


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.view("/view")
class View(web.View):
    """A class-based view: a method of the class for each method of HTTP."""

    async def get(self) -> web.Response:
        """Return the method, which is GET."""
        return web.json_response({"method": "GET"})

    async def put(self) -> web.Response:
        """Return the method, which is PUT."""
        return web.json_response({"method": "PUT"})


class Greeter:
    """An object whose method is a handler."""

    def __init__(self, greeting: str) -> None:
        self.greeting = greeting

    async def greet(self, request: web.Request) -> web.Response:
        """Return the method, and what the object holds."""
        answer = {"method": "GET", "greeting": self.greeting}
        return web.json_response(answer)


@routes.get("/items/all")
async def list_items(request: web.Request) -> web.Response:
    """Return all names: a literal path wins over one with a variable."""
    return web.json_response({"names": NAMES})


@routes.get(r"/items/{name:[\w-]+}", name="item")
async def read_item(request: web.Request) -> web.Response:
    """Return the name in the path."""
    name = request.match_info["name"]
    return web.json_response({"name": name})


@routes.get(r"/link/{name:[\w-]+}")
async def link_item(request: web.Request) -> web.Response:
    """Return the path of an item, with the prefix of this application."""
    name = request.match_info["name"]
    route = request.app.router["item"]
    url = route.url_for(name=name)
    return web.json_response({"url": str(url)})


def require_login(handler: Handler) -> Handler:
    @wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        check_token(request)
        return await handler(request)

    return guarded


# The decorator of the route is the upper one. It adds what stands below it: the
# function that `require_login` returns.
@routes.get("/private")
@require_login
async def read_private(request: web.Request) -> web.Response:
    """Return the user to whoever has the token."""
    return web.json_response({"user": "ann"})


def check_token(request: web.Request) -> None:
    header = request.headers.get("Authorization", "")
    scheme, _, token = header.partition(" ")
    expected = request.app[TOKEN]
    # Without `expected and`, an application without a token would be open.
    if scheme.lower() == "bearer" and expected and token == expected:
        return
    error = json_error(web.HTTPUnauthorized, "this needs a bearer token")
    error.headers["WWW-Authenticate"] = "Bearer"
    raise error


# answer
def create_app(*, token: str = "") -> web.Application:
    app = web.Application()
    app[TOKEN] = token
    # One line for each module of handlers, as in `app.add_routes(news.routes)`.
    app.add_routes(routes)
    # A decorator cannot bind a method to its object.
    greeter = Greeter("Hello")
    app.add_routes([web.get("/method", greeter.greet)])
    return app


# end of answer


if __name__ == "__main__":
    app = create_app(token=os.environ.get("TOKEN", ""))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
