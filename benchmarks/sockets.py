"""WebSockets that cost the load little: many of them, in this one process."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from yarl import URL

AT_ONCE = 32
"""Handshakes at a time."""

AGAIN = 0.2
"""Seconds after which who was refused asks again."""

TIMEOUT = 120.0
"""Seconds until all are open."""

TEXT, CLOSE, PING = 0x81, 0x88, 0x89
"""The first byte of a whole frame (RFC 6455, 5.2)."""


class RefusedError(ConnectionError):
    """The server has answered, and opened no WebSocket."""


class Listener(asyncio.Protocol):
    """A WebSocket that hands texts over, and answers pings and a close.

    A silent one answers nothing. `ended` is done when the connection is gone.
    """

    def __init__(
        self,
        request: bytes,
        on_text: Callable[[bytes], None],
        *,
        is_silent: bool = False,
    ) -> None:
        self._request = request
        self._on_text = on_text
        self._is_silent = is_silent
        self._buffer = b""
        self._is_open = False
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of uvloop is one by its methods only.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(RefusedError(head))
                self.transport.abort()
                return
            self._is_open = True
            self._buffer = rest
            self.opened.set_result(None)
        while self._buffer and self._take_frame():
            pass

    def _take_frame(self) -> bool:
        """Take a whole frame out of the buffer, if there is one."""
        if len(self._buffer) < 2:
            return False
        size, start = self._buffer[1], 2
        if size == 126:
            size, start = int.from_bytes(self._buffer[2:4]), 4
        if len(self._buffer) < start + size:
            return False
        payload = self._buffer[start : start + size]
        if self._buffer[0] == TEXT:
            self._on_text(payload)
        elif not self._is_silent:
            self._answer(self._buffer[0], payload)
        self._buffer = self._buffer[start + size :]
        return True

    def _answer(self, opcode: int, payload: bytes) -> None:
        # With the mask of a client, which is all zeros.
        if opcode == PING:
            size = bytes([0x80 | len(payload)])
            self.transport.write(b"\x8a" + size + bytes(4) + payload)
        elif opcode == CLOSE:
            self.transport.write(b"\x88\x82" + bytes(4) + payload[:2])

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionError("it hung up"))
        if not self.ended.done():
            self.ended.set_result(None)


def handshake(url: URL, cookie: str = "") -> bytes:
    """Return a request for a WebSocket; `cookie` is a line of its own."""
    return (
        f"GET {url.raw_path_qs} HTTP/1.1\r\nHost: {url.authority}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"{cookie}\r\n"
    ).encode()


async def open_all(
    url: URL, make: Sequence[Callable[[], Listener]]
) -> list[Listener]:
    """Open a socket for each of what makes one, some at a time."""
    turns = asyncio.Semaphore(AT_ONCE)
    loop = asyncio.get_running_loop()

    async def open_one(make_one: Callable[[], Listener]) -> Listener:
        async with turns:
            while True:
                _, listener = await loop.create_connection(
                    make_one, str(url.host), url.port or 80
                )
                # A server that is kept busy may call its Redis away.
                with suppress(RefusedError):
                    await listener.opened
                    return listener
                await asyncio.sleep(AGAIN)

    async with asyncio.timeout(TIMEOUT):
        return list(await asyncio.gather(*map(open_one, make)))
