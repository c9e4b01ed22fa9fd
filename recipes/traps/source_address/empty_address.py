"""`local_addr=('', 0)`, as some copies of the FAQ print it, chooses nothing.

The empty string is "any address": the kernel takes the one that it would have
taken anyway. And since it is an address of IPv4, a target that has only IPv6
cannot be reached any more.

Try it::

    $ curl 'localhost:8080/whoami?source=127.0.0.2'
    {"source": "127.0.0.2", "seen": "127.0.0.1"}
"""

import os

from aiohttp import ClientSession, TCPConnector, web

routes = web.RouteTableDef()


@routes.get("/peer")
async def tell_peer(request: web.Request) -> web.Response:
    """Tell the address that the request comes from."""
    return web.json_response({"seen": request.remote})


@routes.get("/whoami")
async def ask_upstream(request: web.Request) -> web.Response:
    """Ask which address is seen, here of this server itself."""
    connector = TCPConnector(local_addr=("", 0))  # wrong
    async with (
        ClientSession(connector=connector) as session,
        session.get(request.url.with_path("/peer")) as response,
    ):
        answer = await response.json()
    return web.json_response({"source": request.query["source"], **answer})


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
