"""A session in a class body is a session made on import.

A class body runs when the module is imported, like any other line at the left
edge. It looks as if it belonged to an instance, but it is a global in disguise.
Make it in the constructor, and the instance in a cleanup context.

Try it::

    $ curl localhost:8080/fetch 2>/dev/null || echo no answer
    no answer
    Log: RuntimeError: no running event loop
"""

import os

import aiohttp
from aiohttp import web


class Client:
    """Fetches pages."""

    session = aiohttp.ClientSession()  # wrong

    async def read(self, url: str) -> str:
        async with self.session.get(url) as response:
            return await response.text()


async def fetch(request: web.Request) -> web.Response:
    """Fetch a page, here of this server itself."""
    url = str(request.url.with_path("/"))
    return web.json_response({"upstream": await Client().read(url)})


def create_app() -> web.Application:
    app = web.Application()
    app.router.add_get("/fetch", fetch)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
