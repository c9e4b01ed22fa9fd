"""Answers that are made once: rendered, compressed, and with a validator."""

import asyncio
import gzip
import re
from collections.abc import Callable
from functools import lru_cache, partial
from hashlib import sha256

from aiohttp import hdrs, web
from multidict import CIMultiDict

from cookbook.guard import authority_of

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
"""The Content-Security-Policy of every page: nothing from elsewhere."""

REVALIDATE = "no-cache"
FOREVER = "public, max-age=31536000, immutable"

MAX_HOSTS = 4
"""Hosts for which a document is kept: a server goes by one or two. Who asks by
more waits until it is rendered again."""


RENDERING = web.AppKey("RENDERING", asyncio.Lock)
"""Held while a document is rendered: one thread beside the loop is enough.

Several would not be done earlier, and would keep the loop waiting for longer.
"""


class Document:
    """A text that is rendered when it is first asked for, and then kept.

    `render` is called in a thread. What it raises is a 500 of this document,
    and the next request tries again. Where `state` returns something else than
    before, the text is rendered anew.
    """

    def __init__(
        self,
        render: Callable[[], str],
        media_type: str = "text/html",
        cache_control: str = REVALIDATE,
        state: Callable[[], object] = lambda: None,
    ) -> None:
        self._render = render
        self._media_type = media_type
        self._cache_control = cache_control
        self._state = state
        self._known: object = None
        self._answer: _Answer | None = None

    async def respond(self, request: web.Request) -> web.Response:
        """Send the text, or 304 to whoever has it."""
        answer = self._answer
        if answer is None or self._known != self._state():
            answer = await self._make(request.app[RENDERING])
        return answer.to(request)

    async def _make(self, lock: asyncio.Lock) -> "_Answer":
        async with lock:
            state = self._state()
            if self._answer is None or self._known != state:
                self._answer = await asyncio.to_thread(self._make_in_thread)
                self._known = state
            return self._answer

    def _make_in_thread(self) -> "_Answer":
        return _Answer(self._render(), self._media_type, self._cache_control)


class DocumentByHost:
    """A document that names the host which its reader asks by.

    It is kept for `MAX_HOSTS` of them. `render` gets the host, with its port.
    """

    def __init__(
        self,
        render: Callable[[str], str],
        media_type: str = "text/html",
        state: Callable[[], object] = lambda: None,
    ) -> None:
        def make(host: str) -> Document:
            return Document(partial(render, host), media_type, state=state)

        self._at = lru_cache(MAX_HOSTS)(make)

    async def respond(self, request: web.Request) -> web.Response:
        """Send the text for this host, or 304 to whoever has it."""
        return await self._at(authority_of(request)).respond(request)


class Negotiated:
    """A page, and the same as Markdown for who prefers that.

    The Markdown has an address of its own too, `markdown_path`.
    """

    def __init__(
        self,
        page: Document | DocumentByHost,
        markdown: Document | DocumentByHost,
        markdown_path: str,
    ) -> None:
        self._page = page
        self._markdown = markdown
        self._markdown_path = markdown_path

    def routes(self, path: str) -> list[web.RouteDef]:
        """Return the routes of the page at `path`, and of its Markdown."""
        return [
            web.get(path, self.respond),
            web.get(self._markdown_path, self.respond_in_markdown),
        ]

    async def respond_in_markdown(self, request: web.Request) -> web.Response:
        """Send the Markdown, whatever `Accept` says."""
        return await self._markdown.respond(request)

    async def respond(self, request: web.Request) -> web.Response:
        """Send the one that `Accept` weighs more; a browser gets the page."""
        accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
        if prefers_markdown(accept):
            response = await self._markdown.respond(request)
            response.headers[hdrs.CONTENT_LOCATION] = self._markdown_path
        else:
            response = await self._page.respond(request)
        response.headers[hdrs.VARY] = f"{hdrs.ACCEPT}, {hdrs.ACCEPT_ENCODING}"
        return response


class _Answer:
    """A text as it is sent: plain and compressed, with all its headers."""

    def __init__(self, text: str, media_type: str, cache_control: str) -> None:
        self._body = text.encode()
        self._gzipped = gzip.compress(self._body, mtime=0)
        # Weak: one validator for both encodings (RFC 9110, 8.8.3.3).
        self._etag = sha256(self._body).hexdigest()[:16]
        self._headers = CIMultiDict(
            {
                hdrs.CONTENT_TYPE: f"{media_type}; charset=utf-8",
                hdrs.CACHE_CONTROL: cache_control,
                hdrs.VARY: hdrs.ACCEPT_ENCODING,
                hdrs.CONTENT_SECURITY_POLICY: POLICY,
                hdrs.ETAG: f'W/"{self._etag}"',
            }
        )
        self._of_gzipped = self._headers.copy()
        self._of_gzipped[hdrs.CONTENT_ENCODING] = "gzip"

    def to(self, request: web.Request) -> web.Response:
        """Return what the client takes, or 304 to whoever has it."""
        if hdrs.IF_NONE_MATCH in request.headers:
            known = {etag.value for etag in request.if_none_match or ()}
            if known & {self._etag, "*"}:
                return web.Response(status=304, headers=self._headers.copy())
        # A copy, since a response adds to the headers that it is given.
        if _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            headers = self._of_gzipped.copy()
            return web.Response(body=self._gzipped, headers=headers)
        return web.Response(body=self._body, headers=self._headers.copy())


@lru_cache(maxsize=64)
def prefers_markdown(accept: str) -> bool:
    """Tell whether Markdown is preferred to HTML (RFC 9110, 12.5.1).

    Where both weigh the same, it is if it is named: no browser does that.
    """
    weights = dict(map(_read_range, accept.lower().split(",")))

    def weigh(*ranges: str) -> float:
        return next((weights[each] for each in ranges if each in weights), 0)

    html = weigh("text/html", "text/*", "*/*")
    markdown = weigh("text/markdown", "text/*", "*/*")
    is_named = "text/markdown" in weights
    return markdown > html or (is_named and markdown == html > 0)


def _read_range(item: str) -> tuple[str, float]:
    """Return a media range and its weight, from 0 to 1.

    One that cannot be read weighs nothing.
    """
    media_range, *parameters = (part.strip() for part in item.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            is_weight = re.fullmatch(
                r"0(\.\d{0,3})?|1(\.0{0,3})?", value.strip()
            )
            return media_range, float(is_weight[0]) if is_weight else 0
    return media_range, 1


@lru_cache(maxsize=64)
def _takes_gzip(accept_encoding: str) -> bool:
    """Tell whether gzip is acceptable (RFC 9110, 12.5.3)."""
    takes = {}
    for item in accept_encoding.lower().split(","):
        name, _, weight = item.replace(" ", "").partition(";q=")
        takes[name] = weight.strip("0.") != "" or not weight
    return takes.get("gzip", takes.get("*", False))
