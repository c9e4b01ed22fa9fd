"""Proofs for recipes/source_address.py."""

import asyncio
import errno
import gc
import logging
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import (
    ClientConnectorError,
    ClientSession,
    ClientTimeout,
    TCPConnector,
    TraceConfig,
    UnixConnector,
    web,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from recipes import source_address
from tests.conftest import Serve
from tests.servers import TIMEOUT

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
"""The first lines of what an upstream answers."""


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


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]


def tracebacks_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.exc_info]


@contextmanager
def refusing_port() -> Iterator[int]:
    """Give a port that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def call(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let the recipe call this upstream."""
    monkeypatch.setattr(
        source_address, "upstream_url", lambda request: URL(url)
    )


@asynccontextmanager
async def upstream_that_writes(
    monkeypatch: pytest.MonkeyPatch, written: bytes | None
) -> AsyncIterator[None]:
    """Let the recipe call a server that writes these bytes, and closes.

    Without bytes, it stays silent until the other side leaves.
    """

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if written is None:
            await reader.read()
        else:
            writer.write(written)
        # Where it has broken off, the other side may have closed before.
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    call(monkeypatch, f"http://127.0.0.1:{port}/")
    async with server:
        yield


@asynccontextmanager
async def on_ipv6(app: web.Application) -> AsyncIterator[ClientSession]:
    """Serve on ::1, and give a client of that server."""
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "::1", 0)
        await site.start()
        async with ClientSession(f"http://[::1]:{site.port}/") as client:
            yield client
    finally:
        await runner.cleanup()


# Sources


@pytest.mark.parametrize("source", here)
async def test_the_upstream_sees_the_source(
    client: ClientSession, source: str
) -> None:
    answer = await whoami(client, source=source)
    assert answer == {"source": source, "seen": source}


@needs("::1")
async def test_an_upstream_with_ipv6_sees_the_ipv6_source() -> None:
    async with on_ipv6(source_address.create_app()) as client:
        answer = await whoami(client, source="::1")
        assert answer == {"source": "::1", "seen": "::1"}


async def test_without_a_choice_the_source_is_127_0_0_1(
    client: ClientSession,
) -> None:
    answer = await whoami(client)
    assert answer == {"source": "127.0.0.1", "seen": "127.0.0.1"}


@needs("127.0.0.2")
async def test_sources_by_turns_reuse_a_connection_each(serve: Serve) -> None:
    ports = defaultdict(set)

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == "/upstream":
            address, port = request.get_extra_info("peername")
            ports[address].add(port)
        response: web.StreamResponse = await handler(request)
        return response

    app = source_address.create_app()
    app.middlewares.append(note)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for _ in range(10):
            for source in ("127.0.0.1", "127.0.0.2"):
                answer = await whoami(client, source=source)
                assert answer["seen"] == source
    assert {address: len(seen) for address, seen in ports.items()} == {
        "127.0.0.1": 1,
        "127.0.0.2": 1,
    }


@pytest.mark.parametrize("source", here)
async def test_twenty_requests_at_a_time_go_through_one_source(
    client: ClientSession, source: str
) -> None:
    async with asyncio.timeout(TIMEOUT):
        answers = await asyncio.gather(
            *(whoami(client, source=source) for _ in range(20))
        )
    assert {answer["seen"] for answer in answers} == {source}


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
]


@pytest.mark.parametrize("query", HOSTILE)
async def test_any_other_source_is_a_400(
    client: ClientSession, query: str
) -> None:
    reason = await refusal(client, query, 400)
    assert reason.startswith("source must be one of 127.0.0.1, 127.0.0.2, ::1")


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
        for query in HOSTILE:
            await refusal(client, query, 400)
        assert attempts == []
        await whoami(client)
        assert len(attempts) == 1


async def test_the_host_header_does_not_choose_the_upstream(
    client: ClientSession,
) -> None:
    async with client.get("whoami", headers={"Host": "[::1]:1"}) as response:
        assert response.status == 200


async def test_a_cookie_of_the_upstream_is_not_kept_for_the_next_caller(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookies = []

    async def upstream(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        response = web.json_response({"seen": request.remote})
        response.set_cookie("user", "ann")
        return response

    other = web.Application()
    other.router.add_get("/", upstream)
    # By name: a cookie jar ignores addresses.
    port = (await serve(other)).port
    call(monkeypatch, f"http://localhost:{port}/")
    server = await serve(source_address.create_app())
    async with ClientSession(server.url) as client:
        await whoami(client)
        await whoami(client)
    assert cookies == [None, None]


# Failures


async def test_a_source_that_is_not_on_this_host_is_a_503_that_says_so(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    reason = await refusal(client, "source=203.0.113.9", 503)
    assert reason == "this host does not have the address 203.0.113.9"
    [warning] = warnings_in(caplog)
    assert "error while attempting to bind" in warning
    assert not tracebacks_in(caplog)


async def test_a_family_mismatch_is_a_502_that_names_the_families(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    reason = await refusal(client, "source=::1", 502)
    assert reason == "::1 and the upstream differ in family: IPv4, IPv6"
    [warning] = warnings_in(caplog)
    assert "no matching local address" in warning
    assert not tracebacks_in(caplog)


@needs("::1")
async def test_a_family_mismatch_is_named_for_an_upstream_with_ipv6() -> None:
    async with on_ipv6(source_address.create_app()) as client:
        reason = await refusal(client, "source=127.0.0.1", 502)
    assert reason == "127.0.0.1 and the upstream differ in family: IPv4, IPv6"


async def test_an_upstream_that_refuses_is_a_502_that_says_so(
    client: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with refusing_port() as port:
        call(monkeypatch, f"http://127.0.0.1:{port}/")
        reason = await refusal(client, "source=127.0.0.1", 502)
    assert reason == "the upstream refused the connection"
    [warning] = warnings_in(caplog)
    assert str(port) in warning
    assert not tracebacks_in(caplog)


async def test_an_upstream_that_is_slow_is_a_502_that_says_so(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(source_address, "TIMEOUT", ClientTimeout(total=0.2))
    server = await serve(source_address.create_app())
    async with (
        asyncio.timeout(TIMEOUT),
        upstream_that_writes(monkeypatch, None),
        ClientSession(server.url) as client,
    ):
        reason = await refusal(client, "", 502)
    assert reason == "the upstream is slow"
    assert len(warnings_in(caplog)) == 1
    assert not tracebacks_in(caplog)


def test_a_call_has_3_seconds() -> None:
    assert source_address.TIMEOUT.total == 3


def json_body(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"nonsense\r\n\r\n",
        b'HTTP/1.1 503 Busy\r\nContent-Length: 14\r\n\r\n{"seen": "me"}',
        HEAD + b"Content-Length: 3\r\n\r\n{}",
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        json_body(b""),
        json_body(b"{"),
        json_body(b"\xff"),
        json_body(b"[" * 9999),
        json_body(b"[]"),
        json_body(b"null"),
        json_body(b"{}"),
        json_body(b'{"seen": 1}'),
    ],
    ids=lambda written: repr(written[-30:]),
)
async def test_a_broken_answer_or_bad_json_of_the_upstream_is_a_502(
    client: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    written: bytes,
) -> None:
    async with upstream_that_writes(monkeypatch, written):
        reason = await refusal(client, "", 502)
    assert reason == "the upstream failed"
    assert len(warnings_in(caplog)) == 1
    assert not tracebacks_in(caplog)


async def test_a_unix_socket_has_no_port_and_is_a_502(
    application: web.Application,
    short_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = str(short_folder / "socket")
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.UnixSite(runner, path).start()
        async with ClientSession(
            "http://localhost/", connector=UnixConnector(path)
        ) as client:
            await refusal(client, "", 502)
    finally:
        await runner.cleanup()
    assert not tracebacks_in(caplog)


async def test_clients_that_leave_cost_no_traceback(
    serve: Serve,
    handler_cancellation: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await serve(
        source_address.create_app(), handler_cancellation=handler_cancellation
    )
    for turns in range(10):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /whoami HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(turns):
            await asyncio.sleep(0)
        writer.transport.abort()
    async with ClientSession(server.url) as client:
        assert (await whoami(client))["seen"] == "127.0.0.1"
    await server.stop()
    assert not tracebacks_in(caplog)


# Start and end


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


# What the docstring says of aiohttp


@pytest.mark.parametrize("address", ["127.0.0.1", ""])
async def test_aiohttp_hides_the_reason_of_a_mismatch(address: str) -> None:
    connector = TCPConnector(local_addr=(address, 0))
    async with ClientSession(connector=connector) as session:
        with pytest.raises(ClientConnectorError) as caught:
            await session.get("http://[::1]:80")
    assert str(caught.value).endswith("::1:80 ssl:default [None]")
    assert "no matching local address" in str(caught.value.os_error)
    assert caught.value.os_error.errno is None


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


class BothFamilies(AbstractResolver):
    """Give each name an address of IPv6 and one of IPv4."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=family,
                proto=0,
                flags=0,
            )
            for address, family in (
                ("::1", socket.AF_INET6),
                ("127.0.0.1", socket.AF_INET),
            )
        ]

    async def close(self) -> None:
        pass


def connector_of_both_families(source: str) -> TCPConnector:
    return TCPConnector(local_addr=(source, 0), resolver=BothFamilies())


async def test_the_local_address_chooses_the_family_of_a_name(
    serve: Serve,
) -> None:
    port = (await serve(web.Application())).port
    connector = connector_of_both_families("127.0.0.1")
    async with (
        ClientSession(connector=connector) as session,
        session.get(f"http://both.test:{port}/") as response,
    ):
        assert response.status == 404


async def test_a_name_of_both_families_hides_the_errno_of_a_missing_address(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = source_address.create_app()
    server = await serve(app)
    sessions = app[source_address.SESSIONS]
    source = "203.0.113.9"
    connector = connector_of_both_families(source)
    async with (
        ClientSession(connector=connector) as session,
        ClientSession(server.url) as client,
    ):
        monkeypatch.setitem(sessions, source, session)
        call(monkeypatch, "http://both.test:1/")
        reason = await refusal(client, f"source={source}", 502)
    assert reason == "the upstream failed"
