# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How do I manage a ClientSession within a web server?

Open one session in a cleanup context and share it: a session per request
opens a connection per request. Give it a `DummyCookieJar`, or the cookie that
an upstream sets for one caller goes out with the next caller's request. Calls
that form a chain with cookies get a session of their own on the shared
`TCPConnector`, with `connector_owner=False`, or closing it closes the pool.

Try it::

    $ curl localhost:8080/login-then-fetch?user=ann
    {"user": "ann"}
    $ curl localhost:8080/fetch
    {"upstream": "nobody"}
    $ curl localhost:8080/fail?how=garbage
    {"error": "the upstream failed"}

Good to know:

- Cookie jars ignore hosts that are IP addresses: test for leaks by name.
- Closed in `on_shutdown`, a session fails the requests still in flight.
- `connect` covers the wait for one of the pool's 100 places.
- A timeout that nobody catches is a 504 without a body, other errors are 500.
- Without the runner's `handler_cancellation=True`, a call outlives its client.
- A sub-application finds the session in `request.config_dict`.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from json import dumps
from socket import AF_INET

import aiohttp
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

SHARED = web.AppKey("SHARED", ClientSession)
NEW_SESSION = web.AppKey("NEW_SESSION", partial[ClientSession])
STATS = web.AppKey("STATS", dict[str, int])

routes = web.RouteTableDef()


@asynccontextmanager
async def client(app: web.Application, total: float) -> AsyncIterator[None]:
    """Open the connector, then the session; close them in reverse."""

    async def count(*_: object) -> None:
        app[STATS]["connections"] += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    # `localhost` may lead to ::1 first, where another server may listen.
    async with upstream() as url, TCPConnector(family=AF_INET) as connector:
        app[NEW_SESSION] = partial(
            ClientSession,
            url,
            connector=connector,
            connector_owner=False,
            timeout=aiohttp.ClientTimeout(total=total, connect=1),
            trace_configs=[trace],
        )
        async with app[NEW_SESSION](cookie_jar=DummyCookieJar()) as app[SHARED]:
            yield


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    server = web.Server(answer, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://localhost:{site.port}"
    finally:
        await runner.cleanup()


async def answer(request: web.BaseRequest) -> web.Response:
    response = web.Response(text=request.cookies.get("user", "nobody"))
    response.set_cookie("user", request.query.get("user", "somebody"))
    if request.path == "/slow":
        await asyncio.sleep(3600)
    elif request.path == "/status":
        response.set_status(500)
    elif request.path == "/garbage":
        await request.writer.write(b"nonsense\r\n\r\n")
    return response


@routes.get("/fetch")
async def fetch(request: web.Request) -> web.Response:
    """Fetch through the shared session, which keeps no cookies."""
    return web.json_response({"upstream": await ask(request.app[SHARED], "/")})


async def ask(session: ClientSession, url: str) -> str:
    try:
        async with session.get(url, raise_for_status=True) as response:
            return await response.text()
    # First, as some of aiohttp's timeouts are a ClientError too.
    except TimeoutError as error:
        raise explain(web.HTTPGatewayTimeout, "the upstream is slow") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise explain(web.HTTPBadGateway, "the upstream failed") from error


def explain(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    return kind(text=dumps({"error": reason}), content_type="application/json")


@routes.get("/login-then-fetch")
async def log_in_then_fetch(request: web.Request) -> web.Response:
    """Call twice, in a chain that keeps its own cookies."""
    user = read_query(request, "user", "[A-Za-z0-9_-]{1,32}")
    async with request.app[NEW_SESSION]() as chain:
        await ask(chain, f"/login?user={user}")
        return web.json_response({"user": await ask(chain, "/")})


def read_query(request: web.Request, name: str, pattern: str) -> str:
    values = request.query.getall(name, [])
    if len(values) != 1 or not re.fullmatch(pattern, values[0]):
        raise explain(web.HTTPBadRequest, f"{name} has to match {pattern}")
    return values[0]


@routes.get("/stats")
async def show_stats(request: web.Request) -> web.Response:
    """Tell how many connections were opened since the start."""
    return web.json_response(request.app[STATS])


@routes.get("/fail")
async def fail(request: web.Request) -> web.Response:
    """Call an upstream that fails in the way asked for."""
    how = read_query(request, "how", "refused|slow|status|garbage")
    url = "http://localhost:1" if how == "refused" else f"/{how}"
    return web.json_response(await ask(request.app[SHARED], url))


def create_app(*, timeout: float = 3.0) -> web.Application:
    app = web.Application()
    app[STATS] = {"connections": 0}
    app.cleanup_ctx.append(partial(client, total=timeout))
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
