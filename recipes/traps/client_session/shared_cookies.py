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
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web

SHARED = web.AppKey("SHARED", ClientSession)

routes = web.RouteTableDef()


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://localhost:{site.port}"
    finally:
        await runner.cleanup()


async def client(app: web.Application) -> AsyncIterator[None]:
    async with upstream() as url, ClientSession(url) as app[SHARED]:  # wrong
        yield


async def answer(request: web.BaseRequest) -> web.Response:
    response = web.Response(text=request.cookies.get("user", "nobody"))
    if "user" in request.query:
        response.set_cookie("user", request.query["user"])
    return response


@routes.get("/fetch")
async def fetch(request: web.Request) -> web.Response:
    """Fetch through the shared session."""
    async with request.app[SHARED].get("/") as response:
        return web.json_response({"upstream": await response.text()})


@routes.get("/login-then-fetch")
async def log_in_then_fetch(request: web.Request) -> web.Response:
    """Call twice."""
    user, session = request.query["user"], request.app[SHARED]
    async with session.get("/login", params={"user": user}):
        pass
    async with session.get("/") as response:
        return web.json_response({"user": await response.text()})


def create_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(client)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
