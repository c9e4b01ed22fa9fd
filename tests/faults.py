"""A network that fails: a TCP proxy between a recipe and its engine.

    async with faulty_network(("127.0.0.1", 6379)) as network:
        url = f"redis://{network.address}"
        network.freeze()  # nothing arrives, and nobody is told
        network.mend()

What it holds back it has not read, so its memory is bounded as that of a
network is.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from yarl import URL

PIECE = 2**16
"""Bytes that are passed on at a time."""

MAX_CONNECTIONS = 1000
"""Connections at a time; one more is closed at once."""

CONNECT_TIMEOUT = 5.0
"""Seconds in which the engine has to accept a connection."""

Upstream = Path | tuple[str, int]
"""A Unix socket, or host and port."""

Ends = tuple[asyncio.StreamWriter, asyncio.StreamWriter]
"""Both ends of a connection: the recipe's and the engine's."""


class Network:
    """A network on the way to `upstream`; it works until it is told to fail."""

    def __init__(self, upstream: Upstream, most: int = MAX_CONNECTIONS) -> None:
        self._upstream = upstream
        self._most = most
        self._connections: set[Ends] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._copies: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False
        self._latency = 0.0
        self._piece = PIECE
        self.accepted = 0
        """Connections that a recipe has made, in all."""
        self.port = 0

    @property
    def address(self) -> str:
        """Where the recipe connects: host and port, as in a URL."""
        return f"127.0.0.1:{self.port}"

    def url_of(self, database: str) -> str:
        """Return the URL of a PostgreSQL at the other end, without a query."""
        url = URL(database).with_host("127.0.0.1").with_port(self.port)
        return str(url.with_query(None))

    @property
    def open(self) -> int:
        """Count the connections that are open."""
        return len(self._connections)

    def freeze(self) -> None:
        """Hold everything back, in both directions: what a cut cable does.

        Connections stay open, and new ones are accepted.
        """
        self._flows.clear()

    def cut(self) -> None:
        """End all connections in order, and refuse new ones."""
        self._is_cut = True
        for near, far in self._connections:
            near.close()
            far.close()

    def reset(self) -> None:
        """Reset all connections, as a firewall does; new ones may come."""
        linger = struct.pack("ii", 1, 0)
        for ends in self._connections:
            for end in ends:
                peer = end.get_extra_info("socket")
                if peer.family != socket.AF_UNIX:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                end.transport.abort()

    def slow(self, latency: float, piece: int = PIECE) -> None:
        """Delay each piece, of so many bytes at most, by so many seconds."""
        self._latency = latency
        self._piece = piece

    def mend(self) -> None:
        """Work again. What was held back arrives."""
        self._is_cut = False
        self._latency = 0.0
        self._piece = PIECE
        self._flows.set()

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Connect the recipe, which has just come, to its engine."""
        self.accepted += 1
        if self._is_cut or self.open >= self._most:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connect(reader, writer)
        except OSError:
            pass  # one end has left, or the engine is away
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            far_reader, far_writer = await self._open_upstream()
        ends = (writer, far_writer)
        self._connections.add(ends)
        copies = [
            asyncio.create_task(self._copy(reader, far_writer)),
            asyncio.create_task(self._copy(far_reader, writer)),
        ]
        self._copies.update(copies)
        # Whichever end leaves first: the other is told.
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        self._copies.difference_update(copies)
        self._connections.discard(ends)
        far_writer.close()

    async def _open_upstream(
        self,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, Path):
            return await asyncio.open_unix_connection(self._upstream)
        return await asyncio.open_connection(*self._upstream)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(PIECE):
            while data:
                piece = data[: self._piece]
                data = data[len(piece) :]
                await asyncio.sleep(self._latency)
                await self._flows.wait()
                writer.write(piece)
                await writer.drain()
        await self._flows.wait()

    async def close(self) -> None:
        """End all connections; what was held back is lost."""
        # Their owners end by themselves: cancelled, asyncio would log them.
        for copy in self._copies:
            copy.cancel()
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def faulty_network(
    upstream: Upstream, most: int = MAX_CONNECTIONS
) -> AsyncIterator[Network]:
    """Listen on a free port of 127.0.0.1, in front of `upstream`.

    It keeps `most` connections at a time.
    """
    network = Network(upstream, most)
    listener = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    network.port = listener.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        listener.close()
        await network.close()
