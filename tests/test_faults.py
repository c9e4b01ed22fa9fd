"""Proofs for tests/faults.py: the network that the others' tests break."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults import Network, Upstream, faulty_network
from tests.servers import TIMEOUT


async def echo(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Send back what comes, until the peer has no more."""
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # it was reset
    finally:
        writer.close()


@pytest.fixture(params=["tcp", "unix"])
async def upstream(
    request: pytest.FixtureRequest, short_folder: Path
) -> AsyncIterator[Upstream]:
    """An engine that echoes, on either kind of socket."""
    address: Upstream
    if request.param == "unix":
        address = short_folder / "echo.sock"
        listener = await asyncio.start_unix_server(echo, address)
    else:
        listener = await asyncio.start_server(echo, "127.0.0.1", 0)
        address = listener.sockets[0].getsockname()
    yield address
    listener.close()


@pytest.fixture
async def network(upstream: Upstream) -> AsyncIterator[Network]:
    async with faulty_network(upstream) as network:
        yield network


class Client:
    """One connection through the network."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, data: bytes) -> bytes:
        """Return the echo, or nothing where the connection has ended."""
        async with asyncio.timeout(TIMEOUT):
            self.writer.write(data)
            try:
                return await self.reader.readexactly(len(data))
            except (asyncio.IncompleteReadError, ConnectionError):
                return b""


@pytest.fixture
async def client(network: Network) -> AsyncIterator[Client]:
    client = await connect(network)
    assert await client.ask(b"works") == b"works"
    yield client
    client.writer.close()


async def connect(network: Network) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", network.port))


async def test_a_frozen_network_holds_back_and_loses_nothing(
    network: Network, client: Client
) -> None:
    network.freeze()
    asking = asyncio.create_task(client.ask(b"held back"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asking), 0.1)
    assert network.open == 1
    network.mend()
    assert await asking == b"held back"


async def test_a_cut_network_ends_connections_and_refuses_new_ones(
    network: Network, client: Client
) -> None:
    network.cut()
    assert await client.ask(b"lost") == b""
    late = await connect(network)
    assert await late.ask(b"lost") == b""
    late.writer.close()
    network.mend()
    again = await connect(network)
    assert await again.ask(b"back") == b"back"
    assert network.accepted == 3
    again.writer.close()


async def test_a_reset_is_one_to_the_client(
    network: Network, client: Client
) -> None:
    network.reset()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(client.reader.read(1), TIMEOUT)
    again = await connect(network)
    assert await again.ask(b"back") == b"back"
    again.writer.close()


async def test_a_slow_network_takes_its_time_for_each_piece(
    network: Network, client: Client
) -> None:
    network.slow(0.02, piece=2)
    started = time.monotonic()
    assert await client.ask(b"one") == b"one"
    # There and back again, in two pieces each way at least.
    assert time.monotonic() - started >= 0.06


async def test_an_engine_that_leaves_is_seen_by_its_client(
    network: Network, client: Client
) -> None:
    client.writer.write_eof()
    async with asyncio.timeout(TIMEOUT):
        assert await client.reader.read() == b""
        while network.open:  # noqa: ASYNC110 - nothing tells of its end
            await asyncio.sleep(0.01)


async def test_an_engine_that_is_away_ends_the_connection(
    short_folder: Path,
) -> None:
    async with faulty_network(short_folder / "nobody.sock") as network:
        client = await connect(network)
        assert await client.ask(b"lost") == b""
        client.writer.close()


async def test_one_connection_too_many_is_closed(upstream: Upstream) -> None:
    async with faulty_network(upstream, most=1) as network:
        client = await connect(network)
        assert await client.ask(b"works") == b"works"
        late = await connect(network)
        assert await late.ask(b"lost") == b""
        assert await client.ask(b"works") == b"works"
        for each in (client, late):
            each.writer.close()


async def test_a_frozen_network_can_be_closed(upstream: Upstream) -> None:
    async with faulty_network(upstream) as network:
        client = await connect(network)
        network.freeze()
        client.writer.write(b"held back")
        async with asyncio.timeout(TIMEOUT):
            while not network.open:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
    async with asyncio.timeout(TIMEOUT):
        assert await client.reader.read() == b""
    client.writer.close()
