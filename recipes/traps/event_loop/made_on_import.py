"""A session made on import: the program does not start.

The FAQ's `mod.py`. While a module is imported no event loop runs, and since
aiohttp 3.10 a session then refuses to be made (aiohttp#8555); before, it took a
loop that nobody ran, and the first request hung.

Try it::

    $ curl localhost:8080/fetch 2>/dev/null || echo no answer
    no answer
    Log: RuntimeError: no running event loop
"""

import os

import aiohttp
from aiohttp import web

routes = web.RouteTableDef()
session = aiohttp.ClientSession()  # wrong


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
