"""Proofs for recipes/client_session.py."""

import asyncio
import gc
import logging

import pytest
from aiohttp import ClientConnectionError, ClientSession, TCPConnector, web

from recipes.production import client_session
from tests.conftest import Serve
from tests.servers import TIMEOUT

POOL_LIMIT = 100


@pytest.fixture
def timeout() -> float:
    """Seconds that the upstream has; a test of slowness overrides it."""
    return 3.0


@pytest.fixture
def application(timeout: float) -> web.Application:
    return client_session.create_app(timeout=timeout)


async def fetch(client: ClientSession) -> str:
    async with client.get("fetch") as response:
        assert response.status == 200
        return str((await response.json())["upstream"])


async def log_in_then_fetch(client: ClientSession, user: str) -> str:
    url = "login-then-fetch"
    async with client.get(url, params={"user": user}) as response:
        assert response.status == 200
        return str((await response.json())["user"])


async def connections(client: ClientSession) -> int:
    async with client.get("stats") as response:
        return int((await response.json())["connections"])


async def test_nothing_is_opened_upstream_before_the_first_call(
    client: ClientSession,
) -> None:
    assert await connections(client) == 0


async def test_ten_requests_share_one_upstream_connection(
    client: ClientSession,
) -> None:
    for _ in range(10):
        await fetch(client)
    assert await connections(client) == 1


async def test_chains_share_that_connection_too(client: ClientSession) -> None:
    for user in ("ann", "bob", "ann"):
        assert await log_in_then_fetch(client, user) == user
    await fetch(client)
    assert await connections(client) == 1


async def test_a_cookie_of_one_caller_is_not_sent_for_the_next(
    client: ClientSession,
) -> None:
    # Every answer of the upstream sets a cookie, which would show here.
    assert await fetch(client) == "nobody"
    assert await fetch(client) == "nobody"


async def test_a_cookie_of_a_chain_stays_in_the_chain(
    client: ClientSession,
) -> None:
    assert await log_in_then_fetch(client, "ann") == "ann"
    assert await fetch(client) == "nobody"


async def test_parallel_chains_keep_their_users_apart(
    client: ClientSession,
) -> None:
    users = [f"user-{number}" for number in range(20)]
    async with asyncio.timeout(TIMEOUT):
        seen = await asyncio.gather(
            *(log_in_then_fetch(client, user) for user in users)
        )
    assert seen == users


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?user=",
        "?user=ann&user=bob",
        "?user=ann&user=ann",
        "?user=a%3B%20admin%3D1",
        "?user=ann%0D%0ASet-Cookie:%20a=b",
        "?user=ann%0A",
        "?user=%00",
        "?user=%22ann%22",
        "?user=%FF",
        "?user=%ED%A0%80",
        "?user=%D9%A3",
        "?user=" + "a" * 33,
        "?name=ann",
    ],
)
async def test_a_bad_user_is_refused_before_any_call(
    client: ClientSession, query: str
) -> None:
    async with client.get(f"login-then-fetch{query}") as response:
        assert response.status == 400
        assert "user" in (await response.json())["error"]
    assert await connections(client) == 0


@pytest.mark.parametrize(
    "query",
    ["", "?how=", "?how=other", "?how=slow&how=slow", "?how=slow%0A"],
)
async def test_an_unknown_failure_is_refused_before_any_call(
    client: ClientSession, query: str
) -> None:
    async with client.get(f"fail{query}") as response:
        assert response.status == 400
        assert "how" in (await response.json())["error"]
    assert await connections(client) == 0


@pytest.mark.parametrize("how", ["refused", "status", "garbage"])
async def test_an_upstream_that_fails_is_a_bad_gateway(
    client: ClientSession, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    async with client.get(f"fail?how={how}") as response:
        assert response.status == 502
        assert await response.json() == {"error": "the upstream failed"}
    assert await fetch(client) == "nobody"
    assert loud_records(caplog) == []


@pytest.mark.parametrize("timeout", [0.1])
async def test_an_upstream_that_is_slow_is_a_gateway_timeout(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(TIMEOUT):
        async with client.get("fail?how=slow") as response:
            assert response.status == 504
            assert await response.json() == {"error": "the upstream is slow"}
    assert loud_records(caplog) == []


def loud_records(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]


async def wait_for_connections(client: ClientSession, number: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        while await connections(client) < number:
            pass


async def test_a_call_in_flight_at_shutdown_comes_to_its_end(
    serve: Serve, handler_cancellation: bool
) -> None:
    app = client_session.create_app(timeout=0.5)
    server = await serve(
        app, handler_cancellation=handler_cancellation, shutdown_timeout=5.0
    )
    async with ClientSession(server.url) as client:
        request = asyncio.create_task(client.get("fail?how=slow"))
        await wait_for_connections(client, 1)
        async with asyncio.timeout(TIMEOUT):
            await server.stop()
            # With its session closed by then, this were a 502 or a 500.
            async with await request as response:
                assert response.status == 504


async def test_sessions_and_connector_are_closed_at_the_end(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = client_session.create_app()
    server = await serve(app)
    shared = app[client_session.SHARED]
    async with ClientSession(server.url) as client:
        await log_in_then_fetch(client, "ann")
        connector = shared.connector
        assert connector is not None
        assert not connector.closed
        await server.stop()
    assert shared.closed
    assert connector.closed
    # What was left open warns when it is collected, and a warning is an error.
    gc.collect()
    assert loud_records(caplog) == []


async def test_clients_that_leave_do_not_keep_places_in_the_pool(
    serve: Serve, handler_cancellation: bool
) -> None:
    server = await serve(
        client_session.create_app(timeout=1.0),
        handler_cancellation=handler_cancellation,
    )
    request = b"GET /fail?how=slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
    writers = []
    async with ClientSession(server.url) as onlooker:
        for _ in range(POOL_LIMIT + 1):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request)
            writers.append(writer)
        await wait_for_connections(onlooker, POOL_LIMIT)
        for writer in writers:
            writer.transport.abort()
        async with asyncio.timeout(TIMEOUT):
            while (await onlooker.get("fetch")).status != 200:
                pass


async def test_a_full_pool_answers_instead_of_queueing_without_end(
    serve: Serve,
) -> None:
    app = client_session.create_app(timeout=60)
    server = await serve(app, handler_cancellation=True)
    connector = TCPConnector(limit=0)
    async with ClientSession(server.url, connector=connector) as client:
        slow = [
            asyncio.create_task(client.get("fail?how=slow"))
            for _ in range(POOL_LIMIT)
        ]
        await wait_for_connections(client, POOL_LIMIT)
        async with asyncio.timeout(TIMEOUT), client.get("fetch") as response:
            assert response.status == 504
        assert await connections(client) == POOL_LIMIT
        # The answer came before a place was free.
        assert not any(request.done() for request in slow)
        for request in slow:
            request.cancel()


async def test_a_subapplication_reaches_the_session(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        session = request.config_dict[client_session.SHARED]
        async with session.get("/") as response:
            return web.Response(text=await response.text())

    app = client_session.create_app()
    subapp = web.Application()
    subapp.router.add_get("/", handler)
    app.add_subapp("/sub", subapp)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        client.get("sub/") as response,
    ):
        assert await response.text() == "nobody"


async def test_two_applications_do_not_share_a_session(serve: Serve) -> None:
    one = await serve(client_session.create_app())
    other = await serve(client_session.create_app())
    await one.stop()
    async with ClientSession(other.url) as client:
        assert await fetch(client) == "nobody"
        with pytest.raises(ClientConnectionError):
            await client.get(one.url / "fetch")
