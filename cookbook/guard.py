"""What the served cookbook adds around every recipe.

The guard refuses what no recipe should see, adds two headers, and writes an
access log in which nobody can forge a line. It changes no recipe's answer to
a good request.
"""

import asyncio
import json
import re
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any

from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

UNAVAILABLE = web.AppKey("UNAVAILABLE", dict[web.Application, str])
"""Mounted applications that could not be built or started, and why."""

OBSERVERS = web.AppKey("OBSERVERS", list[Middleware])
"""Middlewares around every handler, for as long as they are in this list."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
REFUSED_METHODS = frozenset({hdrs.METH_CONNECT, hdrs.METH_TRACE})


def protect(app: web.Application, allow_hosts: Iterable[str] = ()) -> None:
    """Put the guard around `app`.

    `allow_hosts` are names, without port and an IPv6 address in brackets, that
    a request's Host may have besides those of the loopback interface: a page
    of another site, whose name was rebound to 127.0.0.1, must not reach a demo
    on a laptop.
    """
    app[UNAVAILABLE], app[OBSERVERS] = {}, []
    names = LOOPBACK_NAMES.union(map(str.lower, allow_hosts))
    app.middlewares.append(_gate(names, app[UNAVAILABLE], app[OBSERVERS]))
    app.on_response_prepare.append(_complete)


def _gate(
    names: frozenset[str],
    unavailable: dict[web.Application, str],
    observers: list[Middleware],
) -> Middleware:
    @lru_cache(maxsize=256)
    def is_ours(host: str) -> bool:
        return re.sub(r":\d*$", "", host).lower() in names

    @web.middleware
    async def gate(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        # An authority in the target beats the header (RFC 9112, 3.2.2);
        # `request.host` is the one that counts.
        if not is_ours(request.host):
            raise _explain(
                web.HTTPMisdirectedRequest(),
                "this server does not go by the name in Host",
            )
        found = request.match_info
        if request.method in REFUSED_METHODS and not isinstance(
            found.http_exception, web.HTTPMethodNotAllowed
        ):
            raise _explain(
                web.HTTPMethodNotAllowed(
                    request.method, hdrs.METH_ALL - REFUSED_METHODS
                ),
                f"{request.method} is not served here",
            )
        for app, reason in unavailable.items():
            if app in found.apps:
                raise _explain(web.HTTPServiceUnavailable(), reason)
        for observe in observers:
            handler = partial(observe, handler=handler)
        return await handler(request)

    return gate


def _explain(refusal: web.HTTPException, reason: str) -> web.HTTPException:
    refusal.content_type = "application/json"
    refusal.text = json.dumps({"error": reason})
    return refusal


async def _complete(request: web.Request, response: web.StreamResponse) -> None:
    if request.content.exception() is not None:
        # aiohttp closes the connection where the rest of a body cannot be
        # read, without a word in the answer: the next request would be lost.
        response.headers[hdrs.CONNECTION] = "close"
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


class AccessLogger(AbstractAccessLogger):
    """One line per request, in ASCII, whatever bytes the request had.

    The query is left out: it may hold a ticket. The line ends with the answer's
    `X-Request-ID`, if it has one.
    """

    def log(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        time: float,
    ) -> None:
        self.logger.info(
            '%s "%s %s" %d %d %.3fs%s',
            request.remote,
            request.method,
            _escape(request.rel_url.raw_path),
            response.status,
            response.body_length,
            time,
            _escape(f" {response.headers.get('X-Request-ID', '')}").rstrip(),
        )


def _escape(text: str) -> str:
    return text.encode("unicode_escape").decode().replace('"', r"\"")


class Runner(web.AppRunner):
    """An `AppRunner` that guards the answers no application gets to see.

    A request that cannot be parsed reaches no application, so no middleware
    and no signal sees the answer: it is the protocol's own.
    """

    def __init__(
        self, app: web.Application, *, shutdown_timeout: float
    ) -> None:
        super().__init__(
            app,
            access_log_class=AccessLogger,
            shutdown_timeout=shutdown_timeout,
        )

    @property
    def server(self) -> Any:
        """The factory of the protocols that serve a connection each."""
        manager = super().server
        return manager and partial(
            _Connection,
            manager,
            loop=asyncio.get_running_loop(),
            access_log_class=AccessLogger,
        )


class _Connection(web.RequestHandler):
    __slots__ = ()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        # A body that breaks off or cannot be decoded is no error of ours: the
        # access log has its line.
        error = kw.get("exc_info")
        left = self.transport is None and isinstance(error, ConnectionError)
        if not left and not isinstance(error, web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        response: web.StreamResponse
        if status == 400 and isinstance(exc, HttpProcessingError):
            # What follows the first words repeats bytes of the request.
            reason = re.split("[:\n]", exc.message)[0]
            response = web.Response(status=status, text=reason)
        else:
            response = super().handle_error(request, status, exc, message)
        response.headers.update(HEADERS)
        return response
