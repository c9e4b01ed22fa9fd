"""Proofs for recipes/client_session.py; they hold for production too."""

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientConnectionError, ClientSession, web
from yarl import URL

from tests.conftest import Serve, Tier
from tests.servers import TIMEOUT

SHORT = aiohttp.ClientTimeout(total=1, connect=1)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
"""The first lines of what an upstream answers."""


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.fixture
def application(recipe: Tier) -> web.Application:
    return recipe.create_app()


@pytest.fixture
def impatient(recipe: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the upstream little time; has to come before `client`."""
    monkeypatch.setattr(recipe, "TIMEOUT", SHORT)


@pytest.fixture
def patient(recipe: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the upstream much time; has to come before `client`."""
    limit = aiohttp.ClientTimeout(total=TIMEOUT, connect=TIMEOUT)
    monkeypatch.setattr(recipe, "TIMEOUT", limit)


async def get(client: ClientSession, path: str, **query: str) -> Any:
    async with client.get(path, params=query) as response:
        assert response.status == 200
        return await response.json()


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]


def tracebacks_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.exc_info]


@asynccontextmanager
async def upstream_that_writes(
    recipe: Any,
    monkeypatch: pytest.MonkeyPatch,
    written: bytes,
    host: str = "localhost",
) -> AsyncIterator[None]:
    """Let the recipe call a server that writes these bytes, and closes."""

    async def serve(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(written)
        # Where it has broken off, the other side may have closed before.
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host.strip("[]"), 0)
    port = server.sockets[0].getsockname()[1]
    url = URL(f"http://{host}:{port}/")
    monkeypatch.setattr(recipe, "upstream_url", lambda request: url)
    async with server:
        yield


# Connections


async def test_ten_requests_reuse_one_connection(client: ClientSession) -> None:
    visits = [await get(client, "fetch") for _ in range(10)]
    assert len({visit["port"] for visit in visits}) == 1


async def test_chains_reuse_the_connection_of_the_pool(
    client: ClientSession,
) -> None:
    ports = {(await get(client, "fetch"))["port"]}
    for user in ("ann", "bob", "ann"):
        visit = await get(client, "login-then-fetch", user=user)
        ports.add(visit["port"])
    # The end of a chain has not closed the pool.
    ports.add((await get(client, "fetch"))["port"])
    assert len(ports) == 1


async def test_the_port_is_the_one_of_the_connection(
    client: ClientSession,
) -> None:
    # One may have ended before the next begins, but not ten.
    visits = await asyncio.gather(
        *(get(client, "login-then-fetch", user="ann") for _ in range(10))
    )
    ports = {visit["port"] for visit in visits}
    assert len(ports) > 1
    assert all(1024 <= port < 65536 for port in ports)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_an_upstream_with_an_ipv6_address_is_reached(
    recipe: Tier, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"user": "ipv6", "port": 1}'
    written = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    server = await serve(recipe.create_app())
    async with (
        upstream_that_writes(recipe, monkeypatch, written, host="[::1]"),
        ClientSession(server.url) as client,
    ):
        visit = await get(client, "fetch")
    assert visit == {"upstream": "ipv6", "port": 1}


# Cookies


async def test_a_cookie_of_one_caller_is_not_sent_for_the_next(
    client: ClientSession,
) -> None:
    # Every answer of the upstream sets a cookie, which would show here.
    for _ in range(3):
        assert (await get(client, "fetch"))["upstream"] == "nobody"


async def test_a_cookie_of_a_chain_stays_in_the_chain(
    client: ClientSession,
) -> None:
    visit = await get(client, "login-then-fetch", user="ann")
    assert visit["user"] == "ann"
    assert (await get(client, "fetch"))["upstream"] == "nobody"


@pytest.mark.slow("it logs many users in")
async def test_parallel_chains_keep_the_cookies_of_their_users_apart(
    patient: None, client: ClientSession
) -> None:
    users = [f"user-{number}" for number in range(20)]
    async with asyncio.timeout(TIMEOUT):
        visits = await asyncio.gather(
            *(get(client, "login-then-fetch", user=user) for user in users)
        )
    assert [visit["user"] for visit in visits] == users


async def test_a_cookie_of_the_caller_is_not_passed_on(
    client: ClientSession, recipe: Any
) -> None:
    name = getattr(recipe, "COOKIE", "user")
    async with client.get("fetch", cookies={name: "ann"}) as response:
        assert (await response.json())["upstream"] == "nobody"
        assert "Set-Cookie" not in response.headers


# Queries


@pytest.mark.parametrize(
    "user",
    [
        "a",
        "a" * 64,
        "ann; admin=1",
        '"ann"',
        "\\",
        "a,b",
        "%41",
        "ä€\N{COOKIE}",
    ],
)
async def test_a_user_comes_back_as_it_was(
    client: ClientSession, user: str
) -> None:
    visit = await get(client, "login-then-fetch", user=user)
    assert visit["user"] == user


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?user=",
        "?user=ann&user=bob",
        "?user=ann&user=ann",
        "?user=ann%0D%0ASet-Cookie:%20a=b",
        "?user=ann%0A",
        "?user=%00",
        "?user=" + "a" * 65,
        "?name=ann",
    ],
)
async def test_a_bad_user_is_a_400(client: ClientSession, query: str) -> None:
    async with client.get(f"login-then-fetch{query}") as response:
        assert response.status == 400
        reason = (await response.json())["error"]
    assert reason == "user must be one name of 1 to 64 printable characters"


@pytest.mark.parametrize(
    "query",
    ["", "?how=", "?how=other", "?how=slow&how=slow", "?how=status%0A"],
)
async def test_an_unknown_failure_is_a_400(
    client: ClientSession, query: str
) -> None:
    async with client.get(f"fail{query}") as response:
        assert response.status == 400
        reason = (await response.json())["error"]
    assert "refused, slow" in reason


async def test_the_port_of_the_host_header_is_not_called(
    client: ClientSession,
) -> None:
    headers = {"Host": "localhost:1"}
    async with client.get("fetch", headers=headers) as response:
        assert response.status == 200


async def test_a_head_request_has_no_body(client: ClientSession) -> None:
    async with client.head("fetch") as response:
        assert response.status == 200
        assert await response.read() == b""
    assert (await get(client, "fetch"))["upstream"] == "nobody"


# Failures


@pytest.mark.parametrize(
    ("how", "cause"), [("refused", "::1"), ("status", "500")]
)
async def test_an_upstream_that_fails_is_a_502_and_logged(
    client: ClientSession,
    caplog: pytest.LogCaptureFixture,
    how: str,
    cause: str,
) -> None:
    async with client.get(f"fail?how={how}") as response:
        assert response.status == 502
        assert await response.json() == {"error": "the upstream failed"}
    [warning] = warnings_in(caplog)
    assert cause in warning
    assert not tracebacks_in(caplog)
    assert (await get(client, "fetch"))["upstream"] == "nobody"


@pytest.mark.full("the same at length", server="mounted")
async def test_an_upstream_that_is_slow_is_a_504_and_logged(
    impatient: None, client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        asyncio.timeout(TIMEOUT),
        client.get("fail?how=slow") as response,
    ):
        assert response.status == 504
        assert await response.json() == {"error": "the upstream is slow"}
    [warning] = warnings_in(caplog)
    assert "slow" in warning
    assert not tracebacks_in(caplog)


def test_a_call_has_3_seconds_and_its_connection_1(recipe: Any) -> None:
    assert recipe.TIMEOUT.total == 3
    assert recipe.TIMEOUT.connect == 1


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 3\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 1\r\n\r\n{",
        HEAD + b"Content-Length: 1\r\n\r\n\xff",
        HEAD + b"Content-Length: 9999\r\n\r\n" + b"[" * 9999,
    ],
    ids=lambda written: repr(written[-30:]),
)
async def test_a_broken_answer_of_the_upstream_is_a_502(
    recipe: Tier,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    written: bytes,
) -> None:
    server = await serve(recipe.create_app())
    async with (
        upstream_that_writes(recipe, monkeypatch, written),
        ClientSession(server.url) as client,
        client.get("fetch") as response,
    ):
        assert response.status == 502
        assert await response.json() == {"error": "the upstream failed"}
    assert len(warnings_in(caplog)) == 1
    assert not tracebacks_in(caplog)


@pytest.mark.parametrize(
    "body", [b"[]", b'"text"', b"null", b"NaN", b"\xff\xfe\xfd"], ids=repr
)
async def test_an_answer_that_is_no_json_object_is_a_502(
    recipe: Tier,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
) -> None:
    server = await serve(recipe.create_app())
    written = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    async with (
        upstream_that_writes(recipe, monkeypatch, written),
        ClientSession(server.url) as client,
        client.get("fetch") as response,
    ):
        assert response.status == 502
    assert len(warnings_in(caplog)) == 1
    assert not tracebacks_in(caplog)


async def test_the_log_of_a_failure_shows_no_cookie(
    recipe: Tier,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await serve(recipe.create_app())
    refused = b"HTTP/1.1 500 Oops\r\nSet-Cookie: secret=1\r\n\r\n"
    async with (
        upstream_that_writes(recipe, monkeypatch, refused),
        ClientSession(server.url) as client,
        client.get("fetch") as response,
    ):
        assert response.status == 502
    [warning] = warnings_in(caplog)
    assert "500" in warning
    assert "secret" not in warning


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
        connector = aiohttp.UnixConnector(path)
        async with ClientSession(
            "http://localhost/", connector=connector
        ) as client:
            async with client.get("fetch") as response:
                assert response.status == 502
            assert (await get(client, "upstream"))["user"] == "nobody"
    finally:
        await runner.cleanup()
    assert not tracebacks_in(caplog)


async def test_clients_that_leave_cost_no_traceback(
    recipe: Tier,
    serve: Serve,
    handler_cancellation: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await serve(
        recipe.create_app(), handler_cancellation=handler_cancellation
    )
    for path in ("fetch", "login-then-fetch?user=ann", "fail?how=status"):
        for turns in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            request = f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            writer.write(request.encode())
            for _ in range(turns):
                await asyncio.sleep(0)
            writer.transport.abort()
    async with ClientSession(server.url) as client:
        assert (await get(client, "fetch"))["upstream"] == "nobody"
    await server.stop()
    assert not tracebacks_in(caplog)


# Start and end


async def test_a_call_in_flight_at_shutdown_comes_to_its_end(
    impatient: None,
    recipe: Any,
    serve: Serve,
    handler_cancellation: bool,
) -> None:
    app = recipe.create_app()
    called = asyncio.Event()

    @web.middleware
    async def watch(request: web.Request, handler: Any) -> web.StreamResponse:
        if "slow" in request.query_string and "upstream" in request.path:
            called.set()
        response: web.StreamResponse = await handler(request)
        return response

    app.middlewares.append(watch)
    server = await serve(
        app, handler_cancellation=handler_cancellation, shutdown_timeout=5.0
    )
    async with ClientSession(server.url) as client, asyncio.timeout(TIMEOUT):
        request = asyncio.create_task(client.get("fail?how=slow"))
        await called.wait()
        await server.stop()
        # With its session closed by then, this were a 502 or a 500.
        async with await request as response:
            assert response.status == 504


async def test_session_and_connector_are_closed_at_the_end(
    recipe: Any, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = recipe.create_app()
    server = await serve(app)
    shared = app[recipe.SESSION]
    async with ClientSession(server.url) as client:
        await get(client, "login-then-fetch", user="ann")
        connector = shared.connector
        assert connector is not None
        assert not connector.closed
        await server.stop()
    assert shared.closed
    assert connector.closed
    # What was left open warns when it is collected, and a warning is an error.
    gc.collect()
    assert warnings_in(caplog) == []


async def test_a_subapplication_reaches_the_session(
    recipe: Any, serve: Serve
) -> None:
    async def handler(request: web.Request) -> web.Response:
        session = request.config_dict[recipe.SESSION]
        port = request.get_extra_info("sockname")[1]
        async with session.get(f"http://localhost:{port}/upstream") as response:
            return web.json_response(await response.json())

    app = recipe.create_app()
    subapp = web.Application()
    subapp.router.add_get("/", handler)
    app.add_subapp("/sub", subapp)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        assert (await get(client, "sub/"))["user"] == "nobody"


async def test_two_applications_do_not_share_a_session(
    recipe: Tier, serve: Serve
) -> None:
    one = await serve(recipe.create_app())
    other = await serve(recipe.create_app())
    await one.stop()
    async with ClientSession(other.url) as client:
        assert (await get(client, "fetch"))["upstream"] == "nobody"
        with pytest.raises(ClientConnectionError):
            await client.get(one.url / "fetch")
