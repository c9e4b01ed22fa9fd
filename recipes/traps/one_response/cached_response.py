"""One response for two requests: the second waits for ever.

A response remembers that it was sent, and sends nothing more: no status, no
headers. The connection stays open, the client waits until it loses patience,
and the access log says 200 (aiohttp#3020).

Try it::

    $ curl "localhost:8080/greeting?name=ann"
    {"greeting": "Hello, ann!"}
    $ curl -m 1 "localhost:8080/greeting?name=ann" 2>/dev/null || echo no answer
    no answer
"""

import os

from aiohttp import web
from aiohttp.typedefs import Handler

routes = web.RouteTableDef()
answers: dict[str, web.StreamResponse] = {}


@web.middleware
async def reuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.raw_path not in answers:
        answers[request.raw_path] = await handler(request)
    return answers[request.raw_path]  # wrong


@routes.get("/greeting")
async def greet(request: web.Request) -> web.Response:
    """Greet by name."""
    greeting = f"Hello, {request.query['name']}!"
    return web.json_response({"greeting": greeting})


def create_app() -> web.Application:
    app = web.Application(middlewares=[reuse])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
