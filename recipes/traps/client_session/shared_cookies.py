"""Ann's cookie goes out with Bob's request.

A session keeps the cookies that an upstream sets, for all who call through it:
the upstream takes the next visitor for the one before (litellm#36149). A test
against 127.0.0.1 comes back clean, as the jar ignores hosts that are addresses.
A shared session wants a `DummyCookieJar`.

Try it::

    $ curl "localhost:8080/login-then-fetch?user=ann"
    {"user": "ann"}
    $ curl localhost:8080/fetch
    {"upstream": "ann"}
"""

import os
from collections.abc import AsyncIterator

from aiohttp import ClientSession, web

SHARED = web.AppKey("SHARED", ClientSession)

routes = web.RouteTableDef()


async def client(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession() as app[SHARED]:  # wrong
        yield


@routes.get("/upstream")
async def answer(request: web.Request) -> web.Response:
    """Answer what is fetched, and set a cookie."""
    response = web.Response(text=request.cookies.get("user", "nobody"))
    if "user" in request.query:
        response.set_cookie("user", request.query["user"])
    return response


@routes.get("/fetch")
async def fetch(request: web.Request) -> web.Response:
    """Fetch through the shared session, here from this server itself."""
    url = request.url.with_path("/upstream")
    async with request.app[SHARED].get(url) as response:
        return web.json_response({"upstream": await response.text()})


@routes.get("/login-then-fetch")
async def log_in_then_fetch(request: web.Request) -> web.Response:
    """Call twice."""
    url = request.url.with_path("/upstream")
    async with request.app[SHARED].get(url.with_query(request.query)):
        pass
    async with request.app[SHARED].get(url) as response:
        return web.json_response({"user": await response.text()})


def create_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(client)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
