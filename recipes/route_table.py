# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""Are there plans for an @app.route decorator like in Flask?

There is `RouteTableDef`, since aiohttp 2.3. Its decorators write into a table
that belongs to no application; `add_routes` copies it into each that wants it,
so an import has no side effect. Import handler modules before `add_routes`: a
route that is decorated later is missing, and nothing says so.

Try it::

    $ curl localhost:8080/get
    {"method": "GET"}
    $ curl -d Hello localhost:8080/post
    {"method": "POST", "body": "Hello"}
    $ curl -i -X DELETE localhost:8080/view
    HTTP/1.1 405 Method Not Allowed...Allow: GET,PUT...
    $ curl localhost:8080/link/milk
    {"url": "/items/milk"}
    $ curl localhost:8080/private
    {"error": "this needs a bearer token"}
    $ curl -H "Authorization: Bearer ann-demo-token" localhost:8080/private
    {"user": "ann"}

Good to know:

- Since aiohttp 3.10 the longest literal beginning wins, whatever order routes
  were added; among equals the first wins. Of two handlers for one method and
  path, the second is refused only if it follows at once.
- A decorated method answers 500: nothing binds `self` (aiohttp#2996). Add the
  bound method by `web.get`, or write a class-based view.
- `get` answers HEAD too, a class-based view only what it defines.
- `add_routes` after the start raises `RuntimeError`: the router is frozen.
"""

import json
import os
from functools import wraps
from hmac import compare_digest

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

TOKEN = web.AppKey("TOKEN", bytes)
DEMO_TOKEN = "ann-demo-token"  # noqa: S105 - public, for trying this out

routes = web.RouteTableDef()


@routes.get("/get")
async def read(request: web.Request) -> web.Response:
    """Tell the method, which is GET."""
    return web.json_response({"method": "GET"})


@routes.post("/post")
async def write(request: web.Request) -> web.Response:
    """Return the text of the body."""
    # text() decodes by any codec that the client names, in the event loop:
    # a megabyte of punycode keeps everybody waiting for a minute.
    if (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        reason = "the charset must be utf-8"
        raise refusal(web.HTTPUnsupportedMediaType, reason)
    try:
        body = await request.text()
    except (ValueError, web.RequestPayloadError):
        reason = "the body is no text in UTF-8"
        raise refusal(web.HTTPBadRequest, reason) from None
    return web.json_response({"method": "POST", "body": body})


def refusal(
    kind: type[web.HTTPError], reason: str, **headers: str
) -> web.HTTPError:
    text = json.dumps({"error": reason})
    return kind(text=text, content_type="application/json", headers=headers)


@routes.view("/view")
class View(web.View):
    """A class-based view: one method for each method of HTTP."""

    async def get(self) -> web.Response:
        """Tell the method, which is GET."""
        return web.json_response({"method": "GET"})

    async def put(self) -> web.Response:
        """Tell the method, which is PUT."""
        return web.json_response({"method": "PUT"})


class Greeter:
    """An object whose method is a handler, once it is bound."""

    def __init__(self, greeting: str) -> None:
        self.greeting = greeting

    async def greet(self, request: web.Request) -> web.Response:
        """Tell the method, and what the object knows."""
        return web.json_response({"method": "GET", "greeting": self.greeting})


@routes.get(r"/items/{name:[\w-]+}", name="item")
async def read_item(request: web.Request) -> web.Response:
    """Return the name in the path."""
    return web.json_response({"name": request.match_info["name"]})


@routes.get("/items/all")
async def list_items(request: web.Request) -> web.Response:
    """Return all names: the literal path beats the variable."""
    return web.json_response({"names": ["bread", "milk"]})


@routes.get(r"/link/{name:[\w-]+}")
async def link_item(request: web.Request) -> web.Response:
    """Return the path of an item, wherever this application is mounted."""
    name = request.match_info["name"]
    url = request.app.router["item"].url_for(name=name)
    return web.json_response({"url": str(url)})


def require_token(handler: Handler) -> Handler:
    @wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        header = request.headers.get(hdrs.AUTHORIZATION, "")
        scheme, _, token = header.partition(" ")
        sent = token.strip(" ").encode("utf-8", "surrogateescape")
        # An empty token, as of a variable without value, opens nothing.
        right = sent and compare_digest(sent, request.app[TOKEN])
        if scheme.lower() != "bearer" or not right:
            reason = "this needs a bearer token"
            challenge = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="private"'}
            raise refusal(web.HTTPUnauthorized, reason, **challenge)
        return await handler(request)

    return guarded


# The other way round, the table would get the function that nothing guards.
@routes.get("/private")
@require_token
async def read_private(request: web.Request) -> web.Response:
    """Return the user to whoever knows the token."""
    return web.json_response({"user": "ann"})


def create_app(*, token: str = DEMO_TOKEN) -> web.Application:
    app = web.Application()
    app[TOKEN] = token.encode()
    app.add_routes(routes)
    app.add_routes([web.get("/method", Greeter("Hello").greet)])
    return app


if __name__ == "__main__":
    app = create_app(token=os.environ.get("TOKEN") or DEMO_TOKEN)
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
