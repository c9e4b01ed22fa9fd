# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How do I make a request from a specific IP address?

Give the connector `local_addr=(address, 0)`. An address belongs to a
connector, not to a request, so keep a connector, and a session, for each. The
port has to be 0: with a fixed one the second connection at a time fails with
"address already in use". The `('', 0)` that some copies of the FAQ print
chooses nothing, and fails for IPv6.

Try it::

    $ curl 'localhost:8080/whoami?source=127.0.0.1'
    {"source": "127.0.0.1", "seen": "127.0.0.1", "port": ...}
    $ curl 'localhost:8080/whoami?source=203.0.113.9'
    {"error": "this host cannot send from 203.0.113.9"}
    $ curl 'localhost:8080/whoami?source=127.0.0.1&family=6'
    {"error": "family mismatch: no way from 127.0.0.1 to IPv6"}
    $ curl 'localhost:8080/whoami?source=10.0.0.1'
    {"error": "source has to be one of 127.0.0.1, 127.0.0.2, ::1, 203.0.113.9"}

Good to know:

- Choose from addresses that you know. One taken from the query would tell a
  stranger which addresses this host has.
- Left to aiohttp, a mismatch of families reads `Cannot connect to host
  ::1:80 ssl:default [None]`: the reason is in `error.os_error` alone.
- Where a name has addresses of both families, `local_addr` chooses the family.
- An address given as a string fails with `TypeError`, which is no
  `ClientError`, and only at the first request.
- macOS has no 127.0.0.2 until `ifconfig lo0 alias 127.0.0.2` adds it.
"""

import os
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_address
from json import dumps

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

SOURCES = ("127.0.0.1", "127.0.0.2", "::1", "203.0.113.9")
LOOPBACK = {"4": "127.0.0.1", "6": "::1"}

UPSTREAMS = web.AppKey("UPSTREAMS", dict[str, URL])
SESSIONS = web.AppKey("SESSIONS", dict[str, ClientSession])

routes = web.RouteTableDef()


@asynccontextmanager
async def upstreams(app: web.Application) -> AsyncIterator[None]:
    """Serve something to call in each family that this host has."""
    app[UPSTREAMS] = {}
    runner = web.ServerRunner(web.Server(tell_peer, access_log=None))
    await runner.setup()
    try:
        for family, host in LOOPBACK.items():
            with suppress(OSError):
                site = web.TCPSite(runner, host, 0)
                await site.start()
                url = URL.build(scheme="http", host=host, port=site.port)
                app[UPSTREAMS][family] = url
        yield
    finally:
        await runner.cleanup()


async def tell_peer(request: web.BaseRequest) -> web.Response:
    seen, port, *_ = request.get_extra_info("peername", ("", 0))
    return web.json_response({"seen": seen, "port": port})


@asynccontextmanager
async def sessions(app: web.Application) -> AsyncIterator[None]:
    """Open a connector for each source, owned by a session."""
    app[SESSIONS] = {}
    async with AsyncExitStack() as stack:
        for source in SOURCES:
            session = ClientSession(
                connector=TCPConnector(local_addr=(source, 0)),
                timeout=ClientTimeout(total=3),
            )
            app[SESSIONS][source] = await stack.enter_async_context(session)
        yield


@routes.get("/whoami")
async def ask_upstream(request: web.Request) -> web.Response:
    """Ask an upstream which address and port it sees."""
    source = choose(request, "source", SOURCES, SOURCES[0])
    own = str(ip_address(source).version)
    family = choose(request, "family", LOOPBACK, own)
    if family != own:
        reason = f"family mismatch: no way from {source} to IPv{family}"
        raise explain(web.HTTPBadRequest, reason)
    if family not in request.app[UPSTREAMS]:
        reason = f"{source} needs IPv{family}, which this host has not"
        raise explain(web.HTTPServiceUnavailable, reason)
    session, url = request.app[SESSIONS][source], request.app[UPSTREAMS][family]
    try:
        async with session.get(url) as response:
            answer = await response.json()
    except (ClientError, TimeoutError) as error:
        reason = f"this host cannot send from {source}"
        raise explain(web.HTTPServiceUnavailable, reason) from error
    return web.json_response({"source": source, **answer})


def choose(
    request: web.Request, name: str, choices: Collection[str], default: str
) -> str:
    match request.query.getall(name, [default]):
        case [value] if value in choices:
            return value
    reason = f"{name} has to be one of {', '.join(choices)}"
    raise explain(web.HTTPBadRequest, reason)


def explain(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    return kind(text=dumps({"error": reason}), content_type="application/json")


def create_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.extend([upstreams, sessions])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
