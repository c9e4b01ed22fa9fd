"""Proofs for recipes/source_address.py."""

import asyncio
import errno
import gc
import logging
import socket
from collections import defaultdict
from typing import Any

import pytest
from aiohttp import (
    ClientConnectorError,
    ClientSession,
    TCPConnector,
    TraceConfig,
    web,
)

from recipes import source_address
from tests.conftest import Serve
from tests.servers import TIMEOUT


def needs(address: str) -> pytest.MarkDecorator:
    """Skip where the host lacks an address, as macOS lacks 127.0.0.2."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((address, 0))
        lacking = False
    except OSError:
        lacking = True
    return pytest.mark.skipif(lacking, reason=f"{address} is not on this host")


here = [
    pytest.param("127.0.0.1"),
    pytest.param("127.0.0.2", marks=needs("127.0.0.2")),
    pytest.param("::1", marks=needs("::1")),
]


@pytest.fixture
def application() -> web.Application:
    return source_address.create_app()


async def whoami(client: ClientSession, **query: str) -> dict[str, Any]:
    async with client.get("whoami", params=query) as response:
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
        return answer


async def refusal(client: ClientSession, query: str, status: int) -> str:
    async with client.get(f"whoami?{query}") as response:
        assert response.status == status
        return str((await response.json())["error"])


@pytest.mark.parametrize("source", here)
async def test_the_upstream_sees_the_source(
    client: ClientSession, source: str
) -> None:
    answer = await whoami(client, source=source)
    assert answer["source"] == source
    assert answer["seen"] == source


async def test_without_a_choice_the_source_is_127_0_0_1(
    client: ClientSession,
) -> None:
    answer = await whoami(client)
    assert (answer["source"], answer["seen"]) == ("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize(
    ("source", "family"),
    [("127.0.0.1", "4"), pytest.param("::1", "6", marks=needs("::1"))],
)
async def test_the_family_of_the_source_may_be_named(
    client: ClientSession, source: str, family: str
) -> None:
    answer = await whoami(client, source=source, family=family)
    assert answer["seen"] == source


@needs("127.0.0.2")
async def test_sources_by_turns_keep_to_a_connection_each(
    client: ClientSession,
) -> None:
    ports = defaultdict(set)
    for _ in range(10):
        for source in ("127.0.0.1", "127.0.0.2"):
            answer = await whoami(client, source=source)
            assert answer["seen"] == source
            ports[source].add(answer["port"])
    assert [len(seen) for seen in ports.values()] == [1, 1]


@pytest.mark.parametrize("source", here)
async def test_twenty_requests_at_a_time_go_through_one_source(
    client: ClientSession, source: str
) -> None:
    async with asyncio.timeout(TIMEOUT):
        answers = await asyncio.gather(
            *(whoami(client, source=source) for _ in range(20))
        )
    assert {answer["seen"] for answer in answers} == {source}


async def test_a_source_that_is_not_on_this_host_is_named(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    reason = await refusal(client, "source=203.0.113.9", 503)
    assert "203.0.113.9" in reason
    assert not [
        record for record in caplog.records if record.levelno > logging.INFO
    ]


@pytest.mark.parametrize(
    "query",
    ["source=127.0.0.1&family=6", "family=6", "source=::1&family=4"],
)
async def test_a_mismatch_of_families_is_called_one(
    client: ClientSession, query: str
) -> None:
    assert "family mismatch" in await refusal(client, query, 400)


HOSTILE = [
    "source=",
    "source=10.0.0.1",
    "source=0.0.0.0",
    "source=::",
    "source=127.0.0.3",
    "source=nonsense",
    "source=localhost",
    "source=127.1",
    "source=2130706433",
    "source=0x7f000001",
    "source=127.0.0.01",
    "source=%20127.0.0.1",
    "source=127.0.0.1%00",
    "source=127.0.0.1%0A",
    "source=%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1",
    "source=::ffff:127.0.0.1",
    "source=[::1]",
    "source=::1%25lo",
    "source=%FF",
    "source=127.0.0.1&source=127.0.0.1",
    "source=127.0.0.1&source=127.0.0.2",
    "source=127.0.0.1&family=",
    "source=127.0.0.1&family=5",
    "source=127.0.0.1&family=04",
    "source=127.0.0.1&family=%D9%A4",
    "source=127.0.0.1&family=4&family=4",
]


@pytest.mark.parametrize("query", HOSTILE)
async def test_any_other_source_or_family_is_refused(
    client: ClientSession, query: str
) -> None:
    assert "has to be one of" in await refusal(client, query, 400)


async def test_what_is_refused_attempts_no_connection(serve: Serve) -> None:
    attempts = []

    async def note(session: ClientSession, *_: object) -> None:
        attempts.append(session)

    app = source_address.create_app()
    server = await serve(app)
    trace = TraceConfig()
    trace.on_connection_create_start.append(note)
    trace.freeze()
    for session in app[source_address.SESSIONS].values():
        session.trace_configs.append(trace)
    async with ClientSession(server.url) as client:
        for query in [*HOSTILE, "source=127.0.0.1&family=6"]:
            await refusal(client, query, 400)
        assert attempts == []
        await whoami(client)
        assert len(attempts) == 1


async def test_a_host_without_ipv6_starts_and_says_so(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A documentation address: binding to it fails as ::1 would there.
    monkeypatch.setitem(source_address.LOOPBACK, "6", "2001:db8::1")
    server = await serve(source_address.create_app())
    async with ClientSession(server.url) as client:
        assert "IPv6" in await refusal(client, "source=::1", 503)
        assert (await whoami(client))["seen"] == "127.0.0.1"


async def test_every_connector_is_closed_at_the_end(serve: Serve) -> None:
    app = source_address.create_app()
    server = await serve(app)
    sessions = app[source_address.SESSIONS].values()
    connectors = [session.connector for session in sessions]
    async with ClientSession(server.url) as client:
        await whoami(client)
        await server.stop()
    assert len(set(connectors)) == len(source_address.SOURCES)
    assert all(connector and connector.closed for connector in connectors)
    # What was left open warns when it is collected, and a warning is an error.
    gc.collect()


@pytest.mark.parametrize("address", ["127.0.0.1", ""])
async def test_aiohttp_hides_the_reason_of_a_mismatch(address: str) -> None:
    connector = TCPConnector(local_addr=(address, 0))
    async with ClientSession(connector=connector) as session:
        with pytest.raises(ClientConnectorError) as caught:
            await session.get("http://[::1]:80")
    assert str(caught.value).endswith("::1:80 ssl:default [None]")
    assert "no matching local address" in str(caught.value.os_error)


async def test_an_address_without_its_port_fails_at_the_first_request(
    serve: Serve,
) -> None:
    server = await serve(web.Application())
    connector = TCPConnector(local_addr="127.0.0.1")  # type: ignore[arg-type]
    async with ClientSession(connector=connector) as session:
        with pytest.raises(TypeError):
            await session.get(server.url)


async def test_a_fixed_port_serves_one_connection_at_a_time(
    serve: Serve,
) -> None:
    arrived, leave = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        arrived.set()
        await leave.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler)
    server = await serve(app)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    connector = TCPConnector(local_addr=address)
    async with (
        asyncio.timeout(TIMEOUT),
        ClientSession(server.url, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(session.get("/"))
        await arrived.wait()
        with pytest.raises(ClientConnectorError) as caught:
            await session.get("/")
        leave.set()
    assert caught.value.errno == errno.EADDRINUSE
    assert first.result().status == 200
