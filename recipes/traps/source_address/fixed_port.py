"""A fixed source port serves one connection at a time.

Two connections to one target cannot have the same address and port at this end,
and for a minute after the first is closed, its port is still taken (TIME_WAIT).
The second caller gets "address already in use". Port 0 lets the system choose.

Try it::

    $ for i in 1 2 3; do \\
        curl -o $i 'localhost:8080/whoami?source=127.0.0.1' & \\
      done; wait; sort 1 2 3
    {"error": "...address already in use]"}
    {"error": "...address already in use]"}
    {"source": "127.0.0.1", "seen": "127.0.0.1"}
"""

import asyncio
import os
import random

from aiohttp import ClientError, ClientSession, TCPConnector, web

PORT = random.randint(20_000, 30_000)  # noqa: S311 - not a secret

routes = web.RouteTableDef()


@routes.get("/peer")
async def tell_peer(request: web.Request) -> web.Response:
    """Tell the address that the request comes from, after some work."""
    await asyncio.sleep(0.5)
    return web.json_response({"seen": request.remote})


@routes.get("/whoami")
async def ask_upstream(request: web.Request) -> web.Response:
    """Ask which address is seen, here of this server itself."""
    source, url = request.query["source"], request.url.with_path("/peer")
    connector = TCPConnector(local_addr=(source, PORT))  # wrong
    try:
        async with (
            ClientSession(connector=connector) as session,
            session.get(url.with_host("127.0.0.1")) as response,
        ):
            answer = await response.json()
    except ClientError as error:
        return web.json_response({"error": str(error)}, status=503)
    return web.json_response({"source": source, **answer})


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
