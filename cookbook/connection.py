"""Serves connections: what the guard cannot keep from inside an application.

A peer that is slow is given up. What no application gets to see is answered
here: requests that cannot be parsed, and bodies that break off.

All of this leans on parts of aiohttp that it does not document. They are named
where they are used, and `tests/test_connection.py` holds each of them.
"""

import asyncio
import logging
import re
import socket
import struct
from functools import partial
from typing import Any, NamedTuple, cast

from aiohttp import StreamReader, hdrs, web, web_fileresponse
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError
from aiohttp.log import access_logger
from aiohttp.web_protocol import _ErrInfo
from yarl import URL

from cookbook.guard import HEADERS, SERVER, AccessLogger, explain

HEADERS_TIMEOUT = 15.0
"""Seconds from the end of an answer, or from the connection, in which the next
request has its headers complete. aiohttp allows an hour."""

SILENCE_TIMEOUT = 10.0
"""Seconds without a byte of a body that is not complete."""

BODY_TIMEOUT = 60.0
"""Seconds for a whole body, however steadily it comes."""

UNREAD_TIMEOUT = 30.0
"""Seconds in which a peer has to accept a byte of what is written to it."""

DROP_UNSENT = struct.pack("ii", 1, 0)
"""The value of SO_LINGER: on, for no second."""

BODY_ERRORS = (
    ConnectionError,
    HttpProcessingError,
    web.HTTPRequestTimeout,
    web.RequestPayloadError,
)
"""What reading a body raises when the body, or its sender, is at fault."""


class Limits(NamedTuple):
    """Seconds after which a peer is too slow."""

    silence: float
    body: float
    unread: float

    @property
    def interval(self) -> float:
        """Seconds between two looks: a limit is kept that exactly."""
        return min(self) / 5


class Runner(web.AppRunner):
    """An `AppRunner` with deadlines, which guards every answer.

    A request that cannot be parsed reaches no application, so no middleware
    and no signal sees the answer: it is the protocol's own.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        shutdown_timeout: float,
        headers_timeout: float = HEADERS_TIMEOUT,
        silence_timeout: float = SILENCE_TIMEOUT,
        body_timeout: float = BODY_TIMEOUT,
        unread_timeout: float = UNREAD_TIMEOUT,
        access_log: logging.Logger = access_logger,
    ) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)
        self._access_log = access_log
        self._headers_timeout = headers_timeout
        self._limits = Limits(silence_timeout, body_timeout, unread_timeout)

    async def setup(self) -> None:
        """Start the application.

        Files are sent without sendfile() from here on, in the whole process: a
        peer that stops reading would keep it waiting for ever, unseen.
        """
        # What AIOHTTP_NOSENDFILE sets, which is documented.
        vars(web_fileresponse)["NOSENDFILE"] = True
        await super().setup()
        # Both are documented as parameters of web.Server.
        manager: Any = super().server
        manager.request_factory = partial(
            _make_request, manager.request_factory
        )
        manager.request_handler = partial(_handle, manager.request_handler)

    @property
    def server(self) -> Any:
        """The factory of the protocols that serve a connection each.

        A site asks its runner for it, and web.Server makes no other class.
        """
        manager = super().server
        return manager and partial(
            _Connection,
            manager,
            limits=self._limits,
            loop=asyncio.get_running_loop(),
            access_log=self._access_log,
            access_log_class=AccessLogger,
            keepalive_timeout=self._headers_timeout,
        )


def _make_request(
    make: Any,
    message: RawRequestMessage,
    payload: StreamReader,
    connection: "_Connection",
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    """Make a request for the application, or a bare one to refuse.

    aiohttp leaves a connection open without an answer when this raises.
    """
    connection.watch(payload, writer)
    try:
        request: web.BaseRequest = make(
            message, payload, connection, writer, task
        )
    except ValueError:
        # The target has a host that IDNA cannot decode: `http://xn--a/`.
        message = message._replace(path="/", url=URL("/"))
    else:
        if hdrs.EXPECT not in message.headers or _is_understood(request):
            return request
    return web.BaseRequest(
        message, payload, connection, writer, task, connection.loop
    )


def _is_understood(request: web.BaseRequest) -> bool:
    """Tell whether aiohttp can answer the expectation of a request.

    It does so before any middleware. Its refusal repeats bytes of the request,
    and is a 500 where they are not in ASCII.
    """
    expect = request.headers.get(hdrs.EXPECT, "100-continue")
    return request.version < HttpVersion11 or expect.lower() == "100-continue"


def _handle(handle: Any, request: web.BaseRequest) -> Any:
    """Let the application handle a request, where it is one."""
    if isinstance(request, web.Request):
        return handle(request)
    return _refuse(request)


async def _refuse(request: web.BaseRequest) -> web.StreamResponse:
    if _is_understood(request):
        return _complete(web.Response(status=400, text="Bad Request"))
    return _complete(web.Response(status=417, text="Expectation Failed"))


def _complete(response: web.StreamResponse) -> web.StreamResponse:
    response.headers.update(HEADERS)
    response.headers[hdrs.SERVER] = SERVER
    response.force_close()
    return response


class _Stopwatch:
    """Measures for how many seconds a number has stood still."""

    __slots__ = ("_number", "_since")

    def __init__(self, now: float) -> None:
        self._number: float = -1
        self._since = now

    def measure(self, number: float, now: float) -> float:
        if number != self._number:
            self._number, self._since = number, now
        return now - self._since


class _Connection(web.RequestHandler):
    """Gives up a peer that is slow, and answers for what no handler sees.

    It looks at itself every few seconds: a timer for each request would cost
    every request.
    """

    __slots__ = (
        "_body_seconds",
        "_is_broken",
        "_limits",
        "_next_look",
        "_payload",
        "_silence",
        "_unread",
        "_wire",
        "_writer",
    )

    def __init__(self, manager: Any, *, limits: Limits, **options: Any) -> None:
        super().__init__(manager, **options)
        self._limits = limits
        self._is_broken = False
        self._payload: StreamReader | None = None
        self._writer: AbstractStreamWriter | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that serves this connection."""
        return self._loop

    def watch(
        self, payload: StreamReader, writer: AbstractStreamWriter
    ) -> None:
        """Watch how the next request is read and answered."""
        self._payload, self._writer = payload, writer
        self._silence: _Stopwatch | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # aiohttp forgets it when it closes it, but what is unsent stays.
        self._wire = cast(asyncio.Transport, transport)
        self._unread = _Stopwatch(self._loop.time())
        self._look_again()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._next_look.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._next_look = self._loop.call_later(
            self._limits.interval, self._look
        )

    def _look(self) -> None:
        now = self._loop.time()
        if self._seconds_unread(now) > self._limits.unread:
            self.logger.info("cut off %s: it does not read", self.peername)
            self._abort()
            return
        payload = self._payload
        if payload and not payload.is_eof() and not payload.exception():
            self._look_at_body(payload, now)
        self._look_again()

    def _abort(self) -> None:
        """End the connection now, without what the kernel has yet to send."""
        wire = self._wire.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, DROP_UNSENT)
        self._wire.abort()

    def _seconds_unread(self, now: float) -> float:
        unsent = self._wire.get_write_buffer_size()
        # Of an open WebSocket, the writer counts nothing: its own limits are
        # the recipe's, which adds to what is unsent.
        written = self._writer.output_size if self._writer else 0
        return self._unread.measure(written - unsent if unsent else now, now)

    def _look_at_body(self, payload: StreamReader, now: float) -> None:
        if self._silence is None:
            self._silence = _Stopwatch(now)
            self._body_seconds = 0.0
        # Where we do not read, the peer cannot send: its time stands still.
        received: float = now
        if self._wire.is_reading():
            received = payload.total_raw_bytes
            self._body_seconds += self._limits.interval
        silence = self._silence.measure(received, now)
        if (
            silence > self._limits.silence
            or self._body_seconds > self._limits.body
        ):
            error = explain(web.HTTPRequestTimeout(), "the body does not come")
            self._break_off(payload, error)

    def _break_off(self, payload: StreamReader, error: Exception) -> None:
        """End the reading of a body; the connection ends with its answer.

        aiohttp reads the rest of a body before the next request. There it
        meets the error too, and closes.
        """
        self._is_broken = True
        payload.set_exception(error)

    def data_received(self, data: bytes) -> None:
        if self._is_broken:
            # The parser has lost its way: this could pass for a request.
            return
        super().data_received(data)
        # The parser's errors are requests of their own, in aiohttp's queue. The
        # body in which one came up is forgotten, and its handler would wait
        # for ever. It answers instead, so the error is never served.
        if self._messages and self._messages[-1][0].__class__ is _ErrInfo:
            payload = self._payload
            if len(self._messages) > 1:
                payload = self._messages[-2][1]
            if payload and not payload.is_eof():
                self._break_off(payload, web.RequestPayloadError("broken"))

    def _is_of_body(self, error: object) -> bool:
        return (
            isinstance(error, BODY_ERRORS)
            and self._payload is not None
            and self._payload.exception() is not None
        )

    def log_exception(self, *args: Any, **kw: Any) -> None:
        # A body that breaks off or cannot be decoded is no error of ours: the
        # access log has its line.
        error = kw.get("exc_info")
        left = isinstance(error, ConnectionError) and self._wire.is_closing()
        if not left and not self._is_of_body(error):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status == 400 and isinstance(exc, HttpProcessingError):
            # Other messages, and what follows the first words of this one,
            # repeat bytes of the request.
            reason = type(exc).__name__
            if type(exc) is BadHttpMessage:
                reason = re.split("[:\n]", exc.message)[0]
            return _complete(web.Response(status=400, text=reason))
        if self._is_of_body(exc):
            # No handler has caught it.
            status, message = 400, "the body cannot be read"
        return _complete(super().handle_error(request, status, exc, message))
