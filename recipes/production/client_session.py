# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How do I manage a ClientSession within a web server?

Start from this file when you go live. Each upstream has its own limit of calls:
one that hangs keeps no other waiting. An answer is read up to a limit, and a
redirect is not followed. A call goes to a host of a list alone, is told how
long its answer is waited for, and is repeated where that is safe. It ends when
its caller leaves. What goes wrong upstream is logged with its cause,
and is a 502, 503 or 504.

Try it::

    $ curl localhost:8080/fetch
    {"upstream": "nobody", "port": ...}
    $ curl "localhost:8080/login-then-fetch?user=ann"
    {"user": "ann", "port": ...}
    $ curl "localhost:8080/fail?how=big"
    {"error": "the upstream failed"}
    $ curl localhost:8080/stats
    {"connections": ..., "calls": 0}

Good to know:

- 100 calls to one upstream run at once, or `max_calls`. The next waits for half
  a second, and is then a 503. The connector itself has no limit: it would be
  one for all.
- `raise_for_status` does not raise for a redirect. Compare the status.
- 0.9 MB of gzip can be 900 MB of zeros. Read in chunks, and count what is
  unpacked; `read()`, `text()` and `json()` read all of it.
- aiohttp cancels no handler when its caller leaves, unless the runner is
  started with `handler_cancellation=True`. A middleware does it here.
- `text()` decodes by the charset that the upstream names. base64 is one that
  raises LookupError, which is no ClientError.
- aiohttp itself repeats a GET on a kept connection that the upstream has
  closed. It repeats no POST. This file repeats a GET, twice at most, where
  there is no connection, where that breaks before the answer begins, and after
  a 503. A random pause comes first, or all who failed would come back at once.
  There is one retry for ten calls, and ten in advance, or an upstream that is
  down would get three times its load.
- `X-Request-Timeout` says how many seconds the caller still waits. It is read,
  and handed on: nobody works for an answer that nobody waits for.
- Compare the host of a URL with a list, however the URL was made. A list of
  what is forbidden misses `127.1`, `0x7f000001` and `[::ffff:127.0.0.1]`.
"""

import asyncio
import gzip
import json
import logging
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import aiohttp
from aiohttp import ClientSession, hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

TIMEOUT = aiohttp.ClientTimeout(total=3, connect=1)
"""Seconds for a call, and for its wait until there is a connection."""

MAX_CALLS = 100
"""Calls to one upstream at once."""

TURN_WAIT = 0.5
"""Seconds that a call waits until fewer are running."""

MAX_BODY = 2**20
"""Bytes of an upstream's answer, unpacked."""

HOSTS = frozenset({"localhost", "::1"})
"""Where a call may go. The names of your upstreams, and nothing else."""

LONGEST_PAUSES = (0.1, 0.2)
"""Seconds before the second attempt of a call, and before the last."""

RETRY_SHARE = 0.1
"""Retries for each call that is made."""

MAX_RETRIES = 10.0
"""Retries that calls without one have saved up, for all calls together."""

PATIENCE = "X-Request-Timeout"
"""The header with the seconds that a caller still waits."""

LOOK_AGAIN = 0.1
"""Seconds between two looks at whether the caller is still there."""

COOKIE = "production_client_session"

Object = dict[str, Any]

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


class BadAnswerError(Exception):
    """An upstream has answered, but not with what can be used."""


class BusyError(BadAnswerError):
    """An upstream has answered that it cannot answer now."""


class CallerLeft(web.HTTPClientError):
    """What the access log shows where nobody waits for the answer any more."""

    status_code = 499


AGAIN = (aiohttp.ClientConnectionError, BusyError)
"""After these, a GET may have an answer a moment later."""


@dataclass
class Upstream:
    """A service that is called. `calls` are those that run."""

    name: str
    turns: asyncio.Semaphore
    calls: int = 0
    retries: float = MAX_RETRIES

    @asynccontextmanager
    async def turn(self, deadline: float) -> AsyncIterator[None]:
        """Wait for one of the turns; raises a 503 where that is late.

        Without it, the calls to an upstream that hangs take all descriptors.
        """
        end = asyncio.get_running_loop().time() + TURN_WAIT
        try:
            async with asyncio.timeout_at(min(end, deadline)):
                await self.turns.acquire()
        except TimeoutError as error:
            logger.warning("%s: %d calls are running", self.name, self.calls)
            raise unavailable("the upstream is busy") from error
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            self.turns.release()

    async def fetch_json(
        self, session: ClientSession, url: URL, deadline: float
    ) -> Object:
        """Read a JSON object; what goes wrong is logged, and is a 502 or 504.

        The failures of each upstream have its name in the log. `deadline` is a
        time of the loop's clock.
        """
        if url.host not in HOSTS:
            logger.warning("%s: no call to %s", self.name, url.host)
            raise json_error(web.HTTPForbidden, "this host is not called")
        async with self.turn(deadline):
            try:
                return await self.repeat(session, url, deadline)
            # First, because some of aiohttp's timeouts are a ClientError too.
            except TimeoutError as error:
                # Without the query, which may hold what is secret.
                logger.warning("%s: too slow: %s", self.name, url.path)
                reason = "the upstream is slow"
                raise json_error(web.HTTPGatewayTimeout, reason) from error
            except (aiohttp.ClientError, BadAnswerError) as error:
                cause = type(error).__name__
                # Not by %r, which would show the headers, and so the cookies.
                # Some errors name the URL, with its query, at their end.
                text = str(error).partition(", url=")[0]
                logger.warning("%s: %s: %s", self.name, cause, text)
                reason = "the upstream failed"
                raise json_error(web.HTTPBadGateway, reason) from error

    async def repeat(
        self, session: ClientSession, url: URL, deadline: float
    ) -> Object:
        """Call until there is an answer: only what may be done twice."""
        self.retries = min(MAX_RETRIES, self.retries + RETRY_SHARE)
        for longest_pause in LONGEST_PAUSES:
            try:
                return await call(session, url, deadline)
            except AGAIN as error:
                pause = random.uniform(0, longest_pause)  # noqa: S311
                now = asyncio.get_running_loop().time()
                if self.retries < 1 or now + pause >= deadline:
                    raise
                self.retries -= 1
                logger.info("%s: again, after %s", self.name, error)
            await asyncio.sleep(pause)
        return await call(session, url, deadline)


async def call(session: ClientSession, url: URL, deadline: float) -> Object:
    """Call once, and tell the upstream how much time is left."""
    left = deadline - asyncio.get_running_loop().time()
    if left <= 0:
        raise TimeoutError
    async with session.get(
        url,
        # A redirect could lead to any host, one of our own network too.
        allow_redirects=False,
        headers={PATIENCE: f"{left:.3f}"},
        timeout=aiohttp.ClientTimeout(total=left, connect=TIMEOUT.connect),
    ) as response:
        return await read_object(response)


SESSION = web.AppKey("SESSION", ClientSession)
UPSTREAMS = web.AppKey("UPSTREAMS", dict[str, Upstream])
OPENED = web.AppKey("OPENED", Counter[str])


# answer
async def client_session(app: web.Application) -> AsyncIterator[None]:
    """Open the session that all requests share, and close it at the end."""

    async def count(*_: object) -> None:
        app[OPENED]["connections"] += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    async with ClientSession(
        timeout=TIMEOUT,
        cookie_jar=aiohttp.DummyCookieJar(),
        # No limit: one upstream that hangs would use it up for all of them.
        # Each has its own, see `Upstream.turn`.
        connector=aiohttp.TCPConnector(limit=0),
        trace_configs=[trace],
    ) as session:
        app[SESSION] = session
        yield


# end of answer


@web.middleware
async def end_with_the_caller(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Cancel a handler whose caller has left, and with it the call upstream.

    aiohttp cancels none, unless its runner is told to. Without this, callers
    that come and leave keep the connections until the time-out.
    """
    answering = asyncio.ensure_future(handler(request))
    try:
        while not answering.done():
            if request.transport is None:
                raise CallerLeft
            await asyncio.wait([answering], timeout=LOOK_AGAIN)
        return answering.result()
    finally:
        # This waits until the connection is back, also where we are cancelled.
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


@web.middleware
async def explain_errors(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Answer in JSON also where aiohttp makes the error: a 404, a 405."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        if error.headers["Content-Type"].startswith("application/json"):
            raise
        # In aiohttp 4.0 an error is no response, and cannot be changed.
        headers = error.headers.copy()
        headers["Content-Type"] = "application/json"
        text = json.dumps({"error": error.reason})
        return web.Response(text=text, status=error.status, headers=headers)


async def read_object(response: aiohttp.ClientResponse) -> Object:
    """Read a JSON object of at most MAX_BODY bytes; raises BadAnswerError."""
    if response.status == 503:
        raise BusyError("status 503")
    if response.status != 200:
        raise BadAnswerError(f"status {response.status}")
    charset = response.charset or "utf-8"
    if charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise BadAnswerError(f"charset {charset!r}")
    body = bytearray()
    # Not read(): a small body can be a large one that is packed.
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise BadAnswerError(f"more than {MAX_BODY} bytes")
    try:
        answer = json.loads(body)
        # NaN, Infinity and 1e999: in our answer they would be no JSON.
        json.dumps(answer, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError("no JSON") from error
    if not isinstance(answer, dict):
        raise BadAnswerError("no JSON object")
    return answer


def unavailable(reason: str) -> web.HTTPError:
    error = json_error(web.HTTPServiceUnavailable, reason)
    error.headers[hdrs.RETRY_AFTER] = "1"
    return error


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


# answer
@routes.get("/fetch")
async def fetch(request: web.Request) -> web.Response:
    """Fetch through the shared session, which keeps no cookies."""
    url = upstream_url(request)
    deadline = read_deadline(request)
    upstream = request.app[UPSTREAMS]["visits"]
    visit = await upstream.fetch_json(request.app[SESSION], url, deadline)
    answer = {"upstream": visit.get("user"), "port": visit.get("port")}
    return web.json_response(answer)


@routes.get("/login-then-fetch")
async def log_in_then_fetch(request: web.Request) -> web.Response:
    """Call twice, in a chain that keeps its own cookies."""
    url = upstream_url(request)
    login = url.with_query(user=read_user(request))
    # One for both calls.
    deadline = read_deadline(request)
    upstream = request.app[UPSTREAMS]["visits"]
    async with ClientSession(
        connector=request.app[SESSION].connector,
        # Otherwise the end of this chain closes the connections of all.
        connector_owner=False,
        trace_configs=request.app[SESSION].trace_configs,
    ) as chain:
        await upstream.fetch_json(chain, login, deadline)
        visit = await upstream.fetch_json(chain, url, deadline)
    return web.json_response(visit)


# end of answer


def read_deadline(request: web.Request) -> float:
    """Return until when a caller waits, by the loop's clock.

    That is TIMEOUT from now, or earlier where the caller says so.
    """
    patience = float(TIMEOUT.total or 0)
    told = request.headers.getall(PATIENCE, [])
    if told:
        if len(told) > 1 or not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", told[0]):
            reason = f"{PATIENCE} must be one number of seconds"
            raise json_error(web.HTTPBadRequest, reason)
        patience = min(patience, float(told[0]))
    return asyncio.get_running_loop().time() + patience


def read_user(request: web.Request) -> str:
    users = request.query.getall("user", [])
    user = users[0] if len(users) == 1 else ""
    if 1 <= len(user) <= 64 and user.isprintable():
        return user
    reason = "user must be one name of 1 to 64 printable characters"
    raise json_error(web.HTTPBadRequest, reason)


@routes.get("/stats")
async def show_stats(request: web.Request) -> web.Response:
    """Show the connections since the start, and the calls that run."""
    calls = sum(upstream.calls for upstream in request.app[UPSTREAMS].values())
    connections = request.app[OPENED]["connections"]
    return web.json_response({"connections": connections, "calls": calls})


# Only for this demonstration:

FAULTS = ["refused", "slow", "status", "garbage", "big", "redirect", "charset"]
"""Each is an upstream of its own, and fails in this way."""


@routes.get("/fail")
async def fail(request: web.Request) -> web.Response:
    """Call an upstream that fails in the way asked for."""
    how = read_how(request)
    url = upstream_url(request).with_query(how=how)
    if how == "refused":
        # No server listens there. An upstream can have an IPv6 address.
        url = URL("http://[::1]:1")
    deadline = read_deadline(request)
    upstream = request.app[UPSTREAMS][how]
    session = request.app[SESSION]
    return web.json_response(await upstream.fetch_json(session, url, deadline))


def read_how(request: web.Request) -> str:
    ways = request.query.getall("how", [])
    if len(ways) == 1 and ways[0] in FAULTS:
        return ways[0]
    reason = f"how must be one of {', '.join(FAULTS)}"
    raise json_error(web.HTTPBadRequest, reason)


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
    response = await misbehave(request)
    if response is not None:
        return response
    user = unquote(request.cookies.get(COOKIE, "nobody"))
    port = port_of(request, "peername")
    response = web.json_response({"user": user, "port": port})
    response.set_cookie(COOKIE, quote(request.query.get("user", "somebody")))
    return response


async def misbehave(request: web.Request) -> web.Response | None:
    """Fail in the way asked for; but for that, each answer could be used."""
    match request.query.get("how"):
        case "slow":
            # It ends before, because its caller leaves.
            await asyncio.sleep(60)
        case "status":
            raise json_error(web.HTTPInternalServerError, "out of order")
        case "redirect":
            raise web.HTTPFound(request.path)
        case "garbage" if request.transport is not None:
            request.transport.write(b"nonsense\r\n\r\n")
        case "big":
            body = gzip.compress(b"{}".ljust(MAX_BODY + 1))
            headers = {hdrs.CONTENT_ENCODING: "gzip"}
            return web.Response(body=body, headers=headers)
        case "charset":
            headers = {hdrs.CONTENT_TYPE: "text/plain; charset=base64"}
            return web.Response(body=b"{}", headers=headers)
    return None


def create_app(*, max_calls: int = MAX_CALLS) -> web.Application:
    app = web.Application(middlewares=[explain_errors, end_with_the_caller])
    app[OPENED] = Counter()
    app[UPSTREAMS] = {
        name: Upstream(name, asyncio.Semaphore(max_calls))
        for name in ["visits", *FAULTS]
    }
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
