"""What the served cookbook adds around every recipe.

The guard refuses what no recipe should see, among it what the pages of other
sites send. It adds headers, and writes an access log in which nobody can forge
a line. It changes no recipe's answer to a good request.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache, partial
from ipaddress import ip_address, ip_network

from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.typedefs import Handler, Middleware
from multidict import istr

from cookbook.internals import (
    forget_traceback,
    is_broken,
    is_method_not_allowed,
)

UNAVAILABLE = web.AppKey("UNAVAILABLE", dict[web.Application, str])
"""Mounted applications that could not be built or started, and why."""

ADDRESS = web.RequestKey("ADDRESS", str)
"""Of the client, where a proxy that is trusted has told it."""

ENDING = web.AppKey("ENDING", asyncio.Event)
"""Set once the process ends: each answer is then the last of its connection."""

OBSERVERS = web.AppKey("OBSERVERS", list[Middleware])
"""Middlewares around every handler, for as long as they are in this list."""

ANSWER = web.RequestKey("ANSWER", web.StreamResponse)
"""The answer to a request, once it has begun."""

REQUEST_ID = istr("X-Request-ID")
HEADERS = {
    istr("X-Content-Type-Options"): "nosniff",
    istr("Referrer-Policy"): "no-referrer",
}
SERVER = "aiohttp-cookbook"
"""The name in the header `Server`: aiohttp's own shows two versions."""

LOOPBACK = ("127.0.0.0/8", "::1/128")
"""The networks of this machine alone."""

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
REFUSED_METHODS = frozenset({hdrs.METH_CONNECT, hdrs.METH_TRACE})
SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})

DEFAULT_PORTS = {"http": 80, "https": 443}
SECURE_SCHEMES = frozenset({"https", "wss"})
"""What a proxy that ends TLS writes: nginx the first, Traefik for a WebSocket
the second."""

PLAIN = re.compile(r"[ -!#-\[\]-~]*")
"""Printable ASCII without a quote and a backslash: nothing to escape."""

FROM_OUR_PAGES = frozenset({"same-origin", "none"})
"""`Sec-Fetch-Site` of a request that no other site has made."""


class Sites:
    """Knows which requests come from this server's own pages.

    `names` are those that the server goes by, in lower case. A proxy connects
    from one of the networks `proxies`, and its `X-Forwarded-Proto` is believed.
    """

    def __init__(
        self, names: frozenset[str], *, proxies: Iterable[str] = ()
    ) -> None:
        self._names = names
        self._proxies = [ip_network(each) for each in proxies]
        self.is_ours = lru_cache(maxsize=256)(self._is_ours)
        self.is_proxy = lru_cache(maxsize=256)(self._is_proxy)

    def _is_ours(self, authority: str) -> bool:
        """Tell whether this server goes by the name in `name[:port]`."""
        return _split(authority)[0] in self._names

    def _is_proxy(self, address: str | None) -> bool:
        """Tell whether what connects from an address is one of our proxies."""
        try:
            return any(
                ip_address(address or "") in each for each in self._proxies
            )
        except ValueError:
            # A Unix socket has none.
            return False

    def note_address(self, request: web.Request) -> None:
        """Keep the address of the client, where one of our proxies tells it.

        The last one is what the proxy has seen. Those before it are what the
        client has claimed.
        """
        if not self._proxies or not self.is_proxy(request.remote):
            return
        told = _values_of(request, hdrs.X_FORWARDED_FOR)
        address = told[-1].rpartition(",")[2].strip() if told else ""
        try:
            request[ADDRESS] = str(ip_address(address))
        except ValueError:
            # It is left out, or no address: the log shows the proxy.
            return

    def refuse_others(self, request: web.Request) -> None:
        """Raise 403 for what a page of another site makes a browser send.

        Each browser sends `Sec-Fetch-Site` to https and to a loopback name.
        Elsewhere it sends `Origin` at least, with all that changes something.
        A program sends neither.
        """
        if reason := self._find_other(request):
            raise explain(
                web.HTTPForbidden,
                f"{reason}: this is for pages of this server, by the name, "
                "port and scheme that it is asked by",
            )

    def _find_other(self, request: web.Request) -> str:
        """Return what tells of a page of another site, or ""."""
        origins = _values_of(request, hdrs.ORIGIN)
        if sites := _values_of(request, "Sec-Fetch-Site"):
            is_ours = FROM_OUR_PAGES.issuperset(sites)
            return "" if is_ours else "Sec-Fetch-Site tells of another site"
        if len(origins) > 1:
            return "there is more than one Origin"
        is_ours = self._origins(request).issuperset(origins)
        return "" if is_ours else "the Origin is foreign"

    def _origins(self, request: web.Request) -> set[str]:
        """Return the origin that the request is for, as browsers write it."""
        scheme = request.scheme
        if self.is_proxy(request.remote):
            told = request.headers.get(hdrs.X_FORWARDED_PROTO, scheme)
            # The first of several is the one that the visitor used.
            is_secure = told.partition(",")[0].strip().lower() in SECURE_SCHEMES
            scheme = "https" if is_secure else "http"
        name, port = _split(authority_of(request))
        number = int(port or DEFAULT_PORTS[scheme])
        if number == DEFAULT_PORTS[scheme]:
            return {f"{scheme}://{name}", f"{scheme}://{name}:{number}"}
        return {f"{scheme}://{name}:{number}"}


SITES = web.AppKey("SITES", Sites)
"""What `refuse_others` is asked of."""


def authority_of(request: web.BaseRequest) -> str:
    """Return the name and port that a client asks by, as it wrote them.

    An authority in the target beats the header (RFC 9112, 3.2.2). It lacks its
    port in `request.host`.
    """
    if request.raw_path.startswith(("/", "*")):
        return request.host
    return request.url.raw_authority


def _values_of(request: web.BaseRequest, header: str) -> Sequence[str]:
    """Return what a header was sent with, each time it was sent."""
    # In aiohttp 4.0, `getall` takes no default.
    headers = request.headers
    return headers.getall(header) if header in headers else ()


def _split(authority: str) -> tuple[str, str]:
    """Return name, in lower case, and port, "" if there is none."""
    match = re.fullmatch(r"(.*?)(?::(\d{0,5}))?", authority, re.ASCII)
    return (match[1].lower(), match[2] or "") if match else ("", "")


def protect(
    app: web.Application,
    allow_hosts: Iterable[str] = (),
    *,
    trust_proxy: bool = False,
    proxies: Iterable[str] = LOOPBACK,
) -> None:
    """Put the guard around `app`.

    `allow_hosts` are names, without port and an IPv6 address in brackets, that
    a request's Host may have besides those of the loopback interface: a page
    of another site, whose name was rebound to 127.0.0.1, must not reach a demo
    on a laptop. With `trust_proxy`, the headers `X-Forwarded-Proto` and
    `X-Forwarded-For` of whoever connects from one of the networks `proxies` are
    believed: a proxy in front has to set them, and to drop a client's.
    """
    app[UNAVAILABLE], app[OBSERVERS] = {}, []
    app[ENDING] = asyncio.Event()
    names = LOOPBACK_NAMES.union(map(str.lower, allow_hosts))
    app[SITES] = Sites(names, proxies=proxies if trust_proxy else ())
    app.middlewares.append(_gate(app[SITES], app[OBSERVERS]))
    app.on_response_prepare.append(partial(_complete, app[ENDING]))


def _gate(sites: Sites, observers: list[Middleware]) -> Middleware:
    # No coroutine of its own: each request would have one more to run.
    @web.middleware
    def gate(
        request: web.Request, handler: Handler
    ) -> Awaitable[web.StreamResponse]:
        sites.note_address(request)
        if not sites.is_ours(authority_of(request)):
            raise explain(
                web.HTTPMisdirectedRequest,
                "this server does not go by the name in Host: start it with "
                "--allow-host NAME",
            )
        method = request.method
        if method in REFUSED_METHODS and not is_method_not_allowed(request):
            raise explain(
                partial(
                    web.HTTPMethodNotAllowed,
                    method,
                    hdrs.METH_ALL - REFUSED_METHODS,
                ),
                f"{method} is not served here",
            )
        if (
            method not in SAFE_METHODS
            # A WebSocket: the same-origin policy lets any page open one.
            or hdrs.UPGRADE in request.headers
        ):
            sites.refuse_others(request)
        for observe in observers:
            handler = partial(observe, handler=handler)
        return handler(request)

    return gate


def explain(
    make: Callable[..., web.HTTPException], reason: str
) -> web.HTTPException:
    """Make a refusal that says why, in JSON."""
    # In aiohttp 4.0, neither can be changed later.
    text = json.dumps({"error": reason})
    return make(text=text, content_type="application/json")


async def _complete(
    ending: asyncio.Event, request: web.Request, response: web.StreamResponse
) -> None:
    request[ANSWER] = response
    forget_traceback(request, response)
    # Who has announced a body that is refused may never send it.
    is_refused = response.status >= 400 and not request.content.is_eof()
    if is_refused or is_broken(request.content) or ending.is_set():
        # aiohttp closes the connection where a body has no end, without a word
        # in the answer: the next request would be lost.
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"
    headers = response.headers
    headers[hdrs.SERVER] = SERVER
    for name, value in HEADERS.items():
        headers.setdefault(name, value)


class AccessLogger(AbstractAccessLogger):
    """One line per request, in ASCII, whatever bytes the request had.

    The query is left out: it may hold a ticket. The line ends with the answer's
    `X-Request-ID`, if it has one, and with `unfinished` where the client, or a
    mistake, has ended the answer in its middle.
    """

    def log(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        time: float,
    ) -> None:
        self._write(request, response, response.body_length, time)

    def log_unfinished(
        self, request: web.BaseRequest, size: int, time: float
    ) -> None:
        """Log an answer that broke off after `size` bytes."""
        self._write(request, request[ANSWER], size, time, " unfinished")

    def _write(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        size: int,
        time: float,
        end: str = "",
    ) -> None:
        address = request.remote
        if hdrs.X_FORWARDED_FOR in request.headers:
            address = request.get(ADDRESS, address)
        path = _escape(request.rel_url.raw_path)
        line = (
            f'{address} "{request.method} {path}" {response.status}'
            f" {size} {time:.3f}s"
        )
        if request_id := response.headers.get(REQUEST_ID):
            line += f" {_escape(request_id)}"
        self.logger.info(line + end)


def _escape(text: str) -> str:
    if PLAIN.fullmatch(text):
        return text
    return text.encode("unicode_escape").decode().replace('"', r"\"")
