# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10,<4"]
# ///
"""A connector for IPv4 alone fails for an upstream with an IPv6 address.

`family=AF_INET` is often copied from an example whose server listens on
127.0.0.1 only. A name that has IPv6 addresses alone is not found any more. An
IPv6 address raises an AssertionError since aiohttp 3.10. It is no ClientError:
a 500, where an upstream that is away is a 502. Leave `family` out. aiohttp then
tries the addresses of both kinds.

Try it::

    $ curl "localhost:8080/fail?how=refused"
    500 Internal Server Error...
    Log: AssertionError
"""

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from urllib.parse import quote, unquote

import aiohttp
from aiohttp import ClientSession, web
from yarl import URL

SESSION = web.AppKey("SESSION", ClientSession)
# Seconds for a call, and for its wait until there is a connection.
TIMEOUT = aiohttp.ClientTimeout(total=3, connect=1)

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


# answer
async def client_session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(
        connector=aiohttp.TCPConnector(family=socket.AF_INET),
        timeout=TIMEOUT,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        app[SESSION] = session
        yield


@routes.get("/fetch")
async def fetch(request: web.Request) -> web.Response:
    """Fetch through the shared session, which keeps no cookies."""
    visit = await fetch_json(request.app[SESSION], upstream_url(request))
    answer = {"upstream": visit.get("user"), "port": visit.get("port")}
    return web.json_response(answer)


@routes.get("/login-then-fetch")
async def log_in_then_fetch(request: web.Request) -> web.Response:
    """Call twice, in a chain that keeps its own cookies."""
    url = upstream_url(request)
    login = url.with_query(user=read_user(request))
    async with ClientSession(
        timeout=TIMEOUT,
        connector=request.app[SESSION].connector,
        # Otherwise the end of this chain closes the connections of all.
        connector_owner=False,
    ) as chain:
        await fetch_json(chain, login)
        return web.json_response(await fetch_json(chain, url))


# end of answer


async def fetch_json(session: ClientSession, url: URL) -> dict[str, object]:
    try:
        async with session.get(url, raise_for_status=True) as response:
            answer = json.loads(await response.read())
        if not isinstance(answer, dict):
            raise ValueError("no JSON object")
        return answer
    # First, because some of aiohttp's timeouts are a ClientError too.
    except TimeoutError as error:
        reason = "the upstream is slow"
        logger.warning("%s: %s", reason, url)
        raise json_error(web.HTTPGatewayTimeout, reason) from error
    except (aiohttp.ClientError, ValueError, RecursionError) as error:
        # Not by %r, which would show the headers, and so the cookies.
        logger.warning("the upstream failed: %s: %s", url, error)
        raise json_error(web.HTTPBadGateway, "the upstream failed") from error


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


def read_user(request: web.Request) -> str:
    users = request.query.getall("user", [])
    user = users[0] if len(users) == 1 else ""
    if 1 <= len(user) <= 64 and user.isprintable():
        return user
    reason = "user must be one name of 1 to 64 printable characters"
    raise json_error(web.HTTPBadRequest, reason)


@routes.get("/fail")
async def fail(request: web.Request) -> web.Response:
    """Call an upstream that is refused, slow or failing."""
    ways = request.query.getall("how", [])
    if ways not in (["refused"], ["slow"], ["status"]):
        reason = "how must be refused, slow or status"
        raise json_error(web.HTTPBadRequest, reason)
    url = upstream_url(request).with_query(how=ways[0])
    if ways == ["refused"]:
        # No server listens there. An upstream can have an IPv6 address.
        url = URL("http://[::1]:1")
    return web.json_response(await fetch_json(request.app[SESSION], url))


# Only for this demonstration:


def upstream_url(request: web.Request) -> URL:
    """Return the address of the route below, which plays the upstream."""
    # By name, because a cookie jar ignores addresses. The port is not the one
    # of the Host header, where a client can write any.
    port = port_of(request, "sockname")
    url = URL.build(scheme="http", host="localhost", port=port)
    return url.join(request.app.router["upstream"].url_for())


def port_of(request: web.Request, end: str) -> int:
    # There is none on a Unix socket, and none where the client has left.
    address = request.get_extra_info(end)
    return int(address[1]) if isinstance(address, tuple) else 1


@routes.get("/upstream", name="upstream")
async def answer_as_upstream(request: web.Request) -> web.Response:
    """Show the caller's cookie and port, and set the cookie."""
    how = request.query.get("how")
    if how == "slow":
        await asyncio.sleep(4)
    if how == "status":
        raise web.HTTPInternalServerError
    user = unquote(request.cookies.get("user", "nobody"))
    port = port_of(request, "peername")
    response = web.json_response({"user": user, "port": port})
    response.set_cookie("user", quote(request.query.get("user", "somebody")))
    return response


def create_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(client_session)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app()
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
