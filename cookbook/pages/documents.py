"""Answers that are made once: rendered, compressed, and with a validator."""

import asyncio
import gzip
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256

from aiohttp import hdrs, web
from multidict import CIMultiDict

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
def _takes_gzip(accept_encoding: str) -> bool:
    """Tell whether gzip is acceptable (RFC 9110, 12.5.3)."""
    takes = {}
    for item in accept_encoding.lower().split(","):
        name, _, weight = item.replace(" ", "").partition(";q=")
        takes[name] = weight.strip("0.") != "" or not weight
    return takes.get("gzip", takes.get("*", False))
