"""The log of the served cookbook: no handler waits for its reader.

A process whose standard error is a pipe that nobody reads stops at a write,
for ever. Here a thread writes. Lines wait for it in memory, up to a limit;
beyond that they are dropped and counted.
"""

import asyncio
import io
import logging
import os
import select
import threading
import time
from functools import lru_cache
from typing import Any

MAX_WAITING = 2**20
"""Characters that wait for the reader: some ten thousand requests' lines."""

GATHER_TIME = 0.05
"""Seconds in which lines come together for one write."""

CLOSE_TIMEOUT = 0.5
"""Seconds for the last lines: a reader that has stopped must not hold us up."""

REPORT_INTERVAL = 1.0
"""Seconds between two lines on connections that could not be accepted."""

logger = logging.getLogger(__name__)


class BackgroundStream(io.TextIOBase):
    """A text stream to the descriptor `fd` whose `write` never waits.

    `dropped` counts the texts that found no room since the last one written.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # The collector may run a finalizer that logs, at any point of `write`.
        self._lock = threading.RLock()
        self._texts: list[str] = []
        self._waiting = 0
        self.dropped = 0
        self._ready = threading.Event()
        self._closing = threading.Event()
        # At the exit nobody waits for a daemon.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Leave a text to the thread, or count it where too many wait."""
        with self._lock:
            # Once one is dropped, so are the next: the gap is in one place.
            if self.dropped or self._waiting > MAX_WAITING:
                self.dropped += 1
            else:
                self._texts.append(text)
                self._waiting += len(text)
        if not self._ready.is_set():
            self._ready.set()
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread writes soon, and nobody waits for it."""

    def close(self) -> None:
        """Write what waits, if somebody reads it."""
        self._closing.set()
        self._ready.set()
        self._thread.join(CLOSE_TIMEOUT)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._ready.wait()
            self._closing.wait(GATHER_TIME)
            self._ready.clear()
            with self._lock:
                texts, self._texts = self._texts, []
                dropped, self.dropped = self.dropped, 0
                self._waiting = 0
            if dropped:
                texts.append(
                    f"{now()} WARNING {dropped} lines of this log were dropped:"
                    " nobody read it\n"
                )
            try:
                self._send("".join(texts).encode(errors="backslashreplace"))
            except OSError:
                # The reader has left, or the disk is full.
                with self._lock:
                    self.dropped += len(texts)

    def _send(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                # Who shares our terminal has made it so.
                select.select([], [self._fd], [])


class AccessLog(logging.Logger):
    """Writes lines to `stream` that an access logger has formatted.

    To make a record of each, and to format that, costs more than the rest of
    the line.
    """

    def __init__(self, stream: BackgroundStream) -> None:
        super().__init__("aiohttp.access", logging.INFO)
        self._stream = stream

    def info(self, msg: object, *args: object, **options: Any) -> None:
        self._stream.write(f"{now()} INFO {msg}\n")


def now() -> str:
    """Return the local time as `logging` writes it."""
    return _format(int(1000 * time.time()))


@lru_cache(maxsize=1)
def _format(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_format_second(seconds)},{rest:03}"


@lru_cache(maxsize=1)
def _format_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def count_refused_connections(loop: asyncio.AbstractEventLoop) -> None:
    """Report once a second, not for each client, that descriptors ran out."""
    count = 0

    def handle(
        loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        nonlocal count
        if "._start_serving(" in context["message"]:
            # asyncio tries again after a second, 128 times for each of these,
            # also where the server has stopped listening by then.
            return
        if context["message"] != "socket.accept() out of system resource":
            loop.default_exception_handler(context)
            return
        if count == 0:
            loop.call_later(REPORT_INTERVAL, report, context["exception"])
        count += 1

    def report(error: OSError) -> None:
        nonlocal count
        logger.error(
            "no connection could be accepted, %d times: %s",
            count,
            error.strerror,
        )
        count = 0

    loop.set_exception_handler(handle)
