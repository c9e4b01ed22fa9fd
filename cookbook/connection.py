"""Serves connections: what the guard cannot keep from inside an application.

It drops a peer that is slow. It answers what no application gets to see:
requests that cannot be parsed, and bodies that break off.
"""

import asyncio
import logging
import socket
import struct
from functools import partial
from typing import Any, NamedTuple, cast

from aiohttp import StreamReader, hdrs, web
from aiohttp.log import access_logger

from cookbook import internals
from cookbook.guard import ENDING, HEADERS, SERVER, AccessLogger, explain

logger = logging.getLogger(__name__)

HEADERS_TIMEOUT = 15.0
"""Seconds from the end of an answer, or from the connection, in which the next
request has its headers complete. aiohttp allows an hour."""

SILENCE_TIMEOUT = 10.0
"""Seconds without a byte of a body that is not complete."""

BODY_TIMEOUT = 60.0
"""Seconds for a whole body, however steadily it comes."""

UNREAD_TIMEOUT = 30.0
"""Seconds in which a peer has to accept a byte of what is written to it."""

LINGERING_TIME = 1.0
"""Seconds in which the rest of a body is taken that nobody has read.

The answer is sent by then. A peer that is still sending may miss it when the
connection ends at once. aiohttp takes ten seconds.
"""

DRAIN_INTERVAL = 0.05
"""Seconds between two looks at whether all clients have left."""

DROP_UNSENT = struct.pack("ii", 1, 0)
"""The value of SO_LINGER: on, for no second."""


class Limits(NamedTuple):
    """Seconds after which a peer is too slow."""

    headers: float
    silence: float
    body: float
    unread: float

    @property
    def interval(self) -> float:
        """Seconds between two looks: a peer may have that much more time."""
        return min(self) / 5


class Runner(internals.Runner):
    """An `AppRunner` with deadlines, which guards every answer.

    A request that cannot be parsed reaches no application, so no middleware
    and no signal sees the answer: it is the connection's own.

    At the end, it accepts no more, and gives clients `drain_timeout` seconds to
    end the connections that they keep: a request that is on its way when the
    server closes is lost. Each answer meanwhile says that it is the last.
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
        drain_timeout: float = 0.0,
        access_log: logging.Logger = access_logger,
    ) -> None:
        connect = partial(
            _Connection,
            log=AccessLogger(access_log, ""),
            limits=Limits(
                headers_timeout, silence_timeout, body_timeout, unread_timeout
            ),
            access_log=access_log,
            access_log_class=AccessLogger,
            keepalive_timeout=headers_timeout,
            lingering_time=LINGERING_TIME,
        )
        super().__init__(
            app, connect=connect, shutdown_timeout=shutdown_timeout
        )
        self._drain_timeout = drain_timeout

    async def setup(self) -> None:
        """Start the application.

        Files are sent without sendfile() from here on, in the whole process: a
        peer that stops reading would keep it waiting for ever, unseen.
        """
        internals.disable_sendfile()
        await super().setup()

    async def cleanup(self) -> None:
        """Drain, and end what is left."""
        for site in self.sites:
            await site.stop()
        if ENDING in self.app:
            self.app[ENDING].set()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_timeout
        server = self.server
        # Nothing tells of the end of a connection.
        while (  # noqa: ASYNC110
            server and server.connections and loop.time() < deadline
        ):
            await asyncio.sleep(DRAIN_INTERVAL)
        await super().cleanup()


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


class _Connection(internals.Connection):
    """Drops a peer that is slow, and answers what no handler sees.

    It looks at itself every few seconds: a timer for each request would cost
    every request.
    """

    __slots__ = (
        "_body_seconds",
        "_limits",
        "_log",
        "_next_look",
        "_silence",
        "_unread",
        "_watched",
        "_wire",
    )

    def __init__(
        self,
        server: Any,
        *,
        limits: Limits,
        log: AccessLogger,
        **options: Any,
    ) -> None:
        super().__init__(server, **options)
        self._limits = limits
        self._log = log

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # aiohttp forgets it when it closes it, but what is unsent stays.
        self._wire = cast(asyncio.Transport, transport)
        self._unread = _Stopwatch(self.began)
        self._watched: StreamReader | None = None
        self._look_again()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._next_look.cancel()
        super().connection_lost(exc)

    def refuse(self, status: int, reason: str) -> web.Response:
        response = web.Response(status=status, text=reason)
        self.complete(response)
        return response

    def complete(self, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)
        response.headers[hdrs.SERVER] = SERVER
        response.force_close()

    def log_unfinished(self, request: web.BaseRequest) -> None:
        self._log.log_unfinished(
            request,
            internals.written_size(request.writer),
            self.loop.time() - self.began,
        )

    def _look_again(self) -> None:
        self._next_look = self.loop.call_later(
            self._limits.interval, self._look
        )

    def _look(self) -> None:
        now = self.loop.time()
        if self._seconds_unread(now) > self._limits.unread:
            peer = self._wire.get_extra_info("peername")
            logger.info("cut off %s: it does not read", peer)
            self._abort()
            return
        body = self.body
        # aiohttp bounds this, too, but not in each of its versions.
        if body is None and now - self.began > self._limits.headers:
            self._wire.close()
        if body and not body.is_eof() and not internals.is_broken(body):
            self._look_at_body(body, now)
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
        written = internals.written_size(self.writer)
        return self._unread.measure(written - unsent if unsent else now, now)

    def _look_at_body(self, body: StreamReader, now: float) -> None:
        if body is not self._watched:
            self._watched = body
            self._silence = _Stopwatch(now)
            self._body_seconds = 0.0
        # Where we do not read, the peer cannot send: its time stands still.
        received: float = now
        if self._wire.is_reading():
            received = internals.received_size(body)
            self._body_seconds += self._limits.interval
        silence = self._silence.measure(received, now)
        if (
            silence > self._limits.silence
            or self._body_seconds > self._limits.body
        ):
            reason = "the body does not come"
            self.break_off(body, explain(web.HTTPRequestTimeout, reason))
