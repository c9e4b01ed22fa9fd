# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4"]
# ///
"""A fixed source port serves one connection at a time.

Two connections to one upstream cannot share an address and a port on this side.
The second caller gets "address already in use". After the first connection is
closed, the system can keep its port for a minute more (TIME_WAIT). Use port 0:
the system chooses a free port for each connection. The upstream below takes
half a second, so that the three requests overlap.

Try it::

    $ for i in 1 2 3; do \\
        curl -o $i 'localhost:8080/whoami?source=127.0.0.1' & \\
      done; wait; sort 1 2 3
    {"error": "the upstream failed"}
    {"error": "the upstream failed"}
    {"source": "127.0.0.1", "seen": "127.0.0.1"}
    Log: ...address already in use
"""

import asyncio
import errno
import json
import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
from aiohttp import ClientSession, web
from yarl import URL

SOURCES = ("127.0.0.1", "127.0.0.2", "::1", "203.0.113.9")
SESSIONS = web.AppKey("SESSIONS", dict[str, ClientSession])
SOURCE_PORT = random.randint(20_000, 30_000)  # noqa: S311 - not a secret
# Seconds for a call.
TIMEOUT = aiohttp.ClientTimeout(total=3)

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


# answer
async def client_sessions(app: web.Application) -> AsyncIterator[None]:
    app[SESSIONS] = {}
    async with AsyncExitStack() as stack:
        for source in SOURCES:
            session = ClientSession(
                connector=aiohttp.TCPConnector(
                    local_addr=(source, SOURCE_PORT)
                ),
                # All callers share the session, but not their cookies.
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=TIMEOUT,
            )
            app[SESSIONS][source] = await stack.enter_async_context(session)
        yield


@routes.get("/whoami")
async def ask_upstream(request: web.Request) -> web.Response:
    """Ask an upstream which address it sees."""
    source = read_source(request)
    session = request.app[SESSIONS][source]
    try:
        seen = await fetch_seen(session, upstream_url(request))
    except aiohttp.ClientConnectorError as error:
        raise explain(source, error.os_error) from error
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise explain(source, error) from error
    return web.json_response({"source": source, "seen": seen})


# end of answer


def read_source(request: web.Request) -> str:
    sources = request.query.getall("source", ["127.0.0.1"])
    if len(sources) == 1 and sources[0] in SOURCES:
        return sources[0]
    reason = f"source must be one of {', '.join(SOURCES)}"
    raise json_error(web.HTTPBadRequest, reason)


async def fetch_seen(session: ClientSession, url: URL) -> str:
    async with session.get(url, raise_for_status=True) as response:
        body = await response.read()
    try:
        visit = json.loads(body)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    if isinstance(visit, dict) and isinstance(visit.get("seen"), str):
        return str(visit["seen"])
    raise ValueError("no JSON object that has an address")


def explain(source: str, error: Exception) -> web.HTTPError:
    """Tell apart what this host lacks and what fails at the upstream."""
    cause = type(error).__name__
    logger.warning("no answer for %s: %s: %s", source, cause, error)
    if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        reason = f"this host does not have the address {source}"
        return json_error(web.HTTPServiceUnavailable, reason)
    reason = "the upstream failed"
    if isinstance(error, TimeoutError):
        reason = "the upstream is slow"
    if isinstance(error, ConnectionRefusedError):
        reason = "the upstream refused the connection"
    # This error has no number. Only its text names it.
    if str(error).startswith("no matching local address"):
        reason = f"{source} and the upstream differ in family: IPv4, IPv6"
    return json_error(web.HTTPBadGateway, reason)


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


# Only for this demonstration:


def upstream_url(request: web.Request) -> URL:
    """Return the address of the route below, which plays the upstream."""
    # Not the address in the Host header, where a client can write any.
    address = request.get_extra_info("sockname")
    if not isinstance(address, tuple):
        # There is none on a Unix socket, and none where the client has left.
        address = ("127.0.0.1", 1)
    url = URL.build(scheme="http", host=address[0], port=address[1])
    return url.join(request.app.router["upstream"].url_for())


@routes.get("/upstream", name="upstream")
async def answer_as_upstream(request: web.Request) -> web.Response:
    """Show the address that the request comes from."""
    await asyncio.sleep(0.5)
    return web.json_response({"seen": request.remote})


def create_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(client_sessions)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(
            create_app(), host="127.0.0.1", port=port, shutdown_timeout=5
        )
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
