"""The internals of aiohttp that the house leans on.

aiohttp documents how an application is written, and less of what carries it.
All that the house uses and aiohttp does not document is in this file, each with
what it is needed for, and what happens when it changes. No other file of
`cookbook/` names it. `tests/test_internals.py` holds each of them on the
aiohttp that is installed, and on the next.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

from aiohttp import StreamReader, hdrs, web, web_fileresponse
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError
from aiohttp.web_protocol import _ErrInfo
from aiosignal import Signal
from yarl import URL

Callback = Callable[[web.Application], Awaitable[object]]
Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

RECEIVE_BUFFER = 2**15
"""Bytes of a WebSocket that the kernel keeps until they are read, all at once.

Linux keeps twice as many. With less, a peer on the same machine has to wait for
0.2 s before it sends more.
"""

BODY_ERRORS = (
    ConnectionError,
    HttpProcessingError,
    web.HTTPRequestTimeout,
    web.RequestPayloadError,
)
"""What reading a body raises when the body, or its sender, is at fault.

Otherwise: a client that leaves costs a traceback.
"""


def disable_sendfile() -> None:
    """Let no file be sent by sendfile() in this process.

    A variable of `web_fileresponse` is what AIOHTTP_NOSENDFILE sets, which is
    documented, and is read when aiohttp is imported. Otherwise: a peer that
    stops to read a file keeps its connection for ever.
    """
    vars(web_fileresponse)["NOSENDFILE"] = True


def take_callbacks(signal: Signal[web.Application]) -> list[Callback]:
    """Empty a signal of an application, and return what it would have called.

    A signal is a list, and the first of its callbacks are those of the cleanup
    contexts. Otherwise: nothing is started, and every recipe is a 503.
    """
    callbacks = list(signal)
    signal.clear()
    return callbacks


def thaw(app: web.Application) -> None:
    """Let the state of an application, and of those in it, be set again.

    aiohttp freezes it with the root, by the attribute `_frozen`. What is set
    later is a warning, and from 4.0 on an error. Otherwise: a recipe that could
    not be started at once never is.
    """
    app._frozen = False
    for resource in app.router.resources():
        if inner := resource.get_info().get("app"):
            thaw(inner)


def applications_of(request: web.Request) -> tuple[web.Application, ...]:
    """Return the applications that a request passes, the root first.

    `match_info.apps` has them. Otherwise: the X-ray shows no request.
    """
    return request.match_info.apps


def prefix_of(outer: web.Application, inner: web.Application) -> str:
    """Return where an application is mounted on another.

    What `get_info()` of a resource returns has the keys `prefix` and `app`.
    Otherwise: the X-ray cannot name the applications of a request.
    """
    infos = (resource.get_info() for resource in outer.router.resources())
    return next(info["prefix"] for info in infos if info.get("app") is inner)


def is_method_not_allowed(request: web.Request) -> bool:
    """Tell whether the router has a path for a request, and no method.

    `match_info.http_exception` is what the router will raise. Otherwise: the
    405 to TRACE lists methods that the path does not have.
    """
    return isinstance(
        request.match_info.http_exception, web.HTTPMethodNotAllowed
    )


def forget_traceback(
    request: web.Request, response: web.StreamResponse
) -> None:
    """Free the frames that an error has passed, and with them its request.

    Before 4.0 the answer is the error itself: docs/upstream/unmatched_cycles.md
    tells of it. In 4.0 aiohttp raises one and the same error for all paths that
    it does not know, and adds to its frames each time. Otherwise: requests are
    kept until the garbage collector runs, or for ever.
    """
    unmatched = request.match_info.http_exception
    if unmatched is not None:
        unmatched.__traceback__ = None
    elif isinstance(response, web.HTTPException):
        response.__traceback__ = None


def is_broken(body: StreamReader | None) -> bool:
    """Tell whether reading a body has failed, or will.

    `StreamReader.exception()` has the reason. Otherwise: the end of such a
    connection is not announced.
    """
    return body is not None and body.exception() is not None


def received_size(body: StreamReader) -> int:
    """Return how many bytes of a body have come, as they were sent.

    `StreamReader.total_raw_bytes` counts them. Otherwise: every body is a 408.
    """
    return body.total_raw_bytes


def written_size(writer: AbstractStreamWriter | None) -> int:
    """Return how many bytes of an answer were written to the transport.

    `output_size` counts them, and aiohttp makes no second answer where it is
    not 0. Otherwise: a peer that reads slowly is cut off, and an answer that
    breaks off is not logged.
    """
    return writer.output_size if writer else 0


class Connection(web.RequestHandler):
    """A connection whose peer may be slow, broken or gone.

    aiohttp documents the parameters, and none of the methods. Here are those
    that it calls; a subclass says how a refusal looks, and what is logged.
    Otherwise: what aiohttp answers by itself is not ours.
    """

    __slots__ = ("_is_broken", "began", "body", "writer")

    def __init__(self, server: Any, **options: Any) -> None:
        super().__init__(server, **options)
        self._is_broken = False
        self.body: StreamReader | None = None
        """Of the request that is served, or was the last; None before all."""
        self.writer: AbstractStreamWriter | None = None
        self.began = self._loop.time()
        """When that request came, or the connection, by the loop's clock."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that serves this connection."""
        return self._loop

    def begin(self, body: StreamReader, writer: AbstractStreamWriter) -> None:
        """Take note of a request that is about to be served."""
        self.body, self.writer = body, writer
        self.began = self._loop.time()

    def refuse(self, status: int, reason: str) -> web.Response:
        """Make the answer to what no application gets to see."""
        raise NotImplementedError

    def complete(self, response: web.StreamResponse) -> None:
        """Add what every answer has, and let it be the last."""
        raise NotImplementedError

    def log_unfinished(self, request: web.BaseRequest) -> None:
        """Log an answer that has begun, and has no end."""
        raise NotImplementedError

    def break_off(self, body: StreamReader, error: Exception) -> None:
        """End the reading of a body; the connection ends with its answer.

        `StreamReader.set_exception()` wakes who reads. aiohttp reads the rest
        of a body before the next request; it meets the error there, and
        closes. Otherwise: who waits for a body waits for ever.
        """
        self._is_broken = True
        body.set_exception(error)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and answer for a body that cannot be parsed.

        The parser's errors are requests of their own, in aiohttp's queue
        `_messages`. The body in which one came up is forgotten. Otherwise: its
        handler waits for ever.

        When the server ends, `_close` and `_force_close` have aiohttp read
        nothing more, not even the rest of a body. Otherwise: a request in
        flight is never answered.
        """
        if self._is_broken:
            # The parser has lost its way: this could pass for a request.
            return
        if self._close or self._force_close:
            self._receive_rest(data)
        else:
            super().data_received(data)
        if self._messages and self._messages[-1][0].__class__ is _ErrInfo:
            body = self.body
            if len(self._messages) > 1:
                body = self._messages[-2][1]
            if body and not body.is_eof():
                # Its handler answers, so the error is never served.
                self.break_off(body, web.RequestPayloadError("broken"))

    def _receive_rest(self, data: bytes) -> None:
        """Parse what came since the server ends, if it is of a body."""
        if self.body is None or self.body.is_eof():
            return
        is_last, is_ending = self._close, self._force_close
        self._close = self._force_close = False
        try:
            super().data_received(data)
        finally:
            self._close = self._close or is_last
            self._force_close = self._force_close or is_ending

    def set_parser(self, *args: Any, **options: Any) -> None:
        """Let little of a WebSocket come at a time.

        aiohttp calls this when a WebSocket begins. Its `receive()` answers all
        pings that have come before it lets others run. Otherwise: a client that
        sends pings without an end keeps all others waiting.
        """
        super().set_parser(*args, **options)
        # The answer to the handshake has just been written to it.
        transport = cast(asyncio.Transport, self.transport)
        wire = transport.get_extra_info("socket")
        # A system other than Linux may refuse it where the client has left.
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what a handler has raised, where the peer is not at fault.

        Of a body that breaks off, the access log has its line. Otherwise: a
        client that leaves costs a traceback.
        """
        error = kw.get("exc_info")
        is_closing = self.transport is None or self.transport.is_closing()
        has_left = isinstance(error, ConnectionError) and is_closing
        if not has_left and not self._is_of_body(error):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what a handler, or before 4.0 the parser, has raised.

        This raises where an answer has begun: then aiohttp closes, and logs
        nothing. Otherwise: an answer repeats bytes of its request, and an
        answer that breaks off has no line in the log.
        """
        if status == 400 and isinstance(exc, HttpProcessingError):
            return self.refuse(400, _reason_of(exc))
        if written_size(request.writer):
            self.log_unfinished(request)
        if self._is_of_body(exc):
            # No handler has caught it.
            status, message = 400, "the body cannot be read"
        response = super().handle_error(request, status, exc, message)
        self.complete(response)
        return response

    def _is_of_body(self, error: object) -> bool:
        return isinstance(error, BODY_ERRORS) and is_broken(self.body)


class Server:
    """Makes a `Connection` for each that asyncio accepts.

    aiohttp's worker for gunicorn reads `requests_count` from it every second.
    Otherwise: the worker ends as soon as it has started. `connections` are
    those that are open. Otherwise: a worker that ends waits for none.
    """

    def __init__(
        self, server: web.Server, connect: Callable[..., Connection]
    ) -> None:
        self._server = server
        self._connect = connect

    def __call__(self) -> Connection:
        loop = asyncio.get_running_loop()
        return self._connect(self._server, loop=loop)

    @property
    def requests_count(self) -> int:
        """How many requests came until now."""
        return self._server.requests_count

    @property
    def connections(self) -> list[web.RequestHandler]:
        """Those that are open now."""
        return self._server.connections


class Runner(web.AppRunner):
    """An `AppRunner` whose connections `connect` makes of a `web.Server`.

    A site asks its runner's `server` for what asyncio calls for each
    connection. `web.Server` would make no other class than its own. Otherwise:
    the cookbook does not start.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        connect: Callable[..., Connection],
        shutdown_timeout: float,
    ) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)
        self._connect = connect

    async def setup(self) -> None:
        """Start the application, and stand before it.

        `request_factory` and `request_handler` are attributes of the server,
        documented as its parameters. Otherwise: what cannot be parsed gets
        aiohttp's own answer, or none.
        """
        await super().setup()
        server: Any = super().server
        server.request_factory = partial(_make_request, server.request_factory)
        server.request_handler = partial(_handle, server.request_handler)

    @property
    def server(self) -> Any:
        """The factory of connections; None before the start and at the end."""
        server = super().server
        return server and Server(server, self._connect)


REFUSAL = web.RequestKey("REFUSAL", web.Response)
"""The answer to a request that no application gets to see."""


def _make_request(
    make: Callable[..., web.BaseRequest],
    message: RawRequestMessage,
    body: StreamReader,
    connection: Connection,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
    *error: Any,
) -> web.BaseRequest:
    """Make a request for the application, or a bare one to refuse.

    In 4.0, the error of a request that cannot be parsed is the last argument,
    or None. aiohttp leaves a connection open without an answer when this
    raises.
    """
    connection.begin(body, writer)
    if any(error):
        refusal = connection.refuse(400, _reason_of(error[0].__cause__))
    else:
        try:
            request = make(message, body, connection, writer, task, *error)
        except ValueError:
            # The target has a host that IDNA cannot decode: `http://xn--a/`.
            message = message._replace(path="/", url=URL("/"))
            refusal = connection.refuse(400, "Bad Request")
        else:
            if hdrs.EXPECT not in message.headers or _is_understood(request):
                return request
            refusal = connection.refuse(417, "Expectation Failed")
    bare = web.BaseRequest(
        message, body, connection, writer, task, connection.loop
    )
    bare[REFUSAL] = refusal
    return bare


def _is_understood(request: web.BaseRequest) -> bool:
    """Tell whether aiohttp can answer the expectation of a request.

    It does so before any middleware. Its refusal repeats bytes of the request,
    and is a 500 where they are not in ASCII.
    """
    expect = request.headers.get(hdrs.EXPECT, "100-continue")
    return request.version < HttpVersion11 or expect.lower() == "100-continue"


def _reason_of(error: HttpProcessingError) -> str:
    """Return why a request cannot be parsed, and none of its bytes."""
    # Other messages, and what follows the first words of this one, repeat them.
    if type(error) is BadHttpMessage:
        return re.split("[:\n]", error.message)[0]
    return type(error).__name__


def _handle(handle: Handle, request: web.BaseRequest) -> Any:
    """Let the application handle a request, where it is one."""
    if isinstance(request, web.Request):
        return handle(request)
    return _refuse(request)


async def _refuse(request: web.BaseRequest) -> web.StreamResponse:
    return request[REFUSAL]
