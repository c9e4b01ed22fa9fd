"""A session that outlives its loop fails in the next one.

Each `asyncio.run` is a loop of its own, and so are the one that `run_app` makes
and, in most set-ups, the one of each test. A session kept by a module since the
first has nothing left to run on.

Try it::

    $ curl localhost:8080/fetch
    500 Internal Server Error...
    Log: RuntimeError: Event loop is closed
"""

import asyncio
import os

import aiohttp
from aiohttp import web

routes = web.RouteTableDef()


async def make() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


session = asyncio.run(make())  # wrong


@routes.get("/fetch")
async def fetch(request: web.Request) -> web.Response:
    """Fetch a page, here of this server itself."""
    async with session.get(request.url.with_path("/page")) as response:
        return web.json_response({"upstream": await response.text()})


@routes.get("/page")
async def show_page(request: web.Request) -> web.Response:
    """Answer what is fetched."""
    return web.Response(text="made and used in one loop")


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
