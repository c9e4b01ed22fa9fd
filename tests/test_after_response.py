"""Proofs for recipes/after_response.py, and for its production file."""

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp_session
import pytest
from aiohttp import ClientError, ClientSession, web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import PayloadAccessError

from recipes import after_response
from tests.conftest import Serve, Tier, at_length, in_turn
from tests.servers import (
    TIMEOUT,
    Server,
    exchange,
    forked,
    patient_copy,
    run_to_its_end,
)

PINGS = ["ping", "ping-in-order"]
CANCELLED = "a follow-up was cancelled: the server ends"

every_ping = pytest.mark.parametrize("target", PINGS)


@pytest.fixture
def application(
    recipe: Tier,
    engine: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> web.Application:
    if not engine:
        return recipe.create_app()
    # What fails is not tried again.
    retry: Any = vars(recipe)["RETRY"]
    monkeypatch.setattr(retry, "retry_exceptions", [LookupError])
    be_patient(recipe, monkeypatch)
    url = engine["POSTGRES_URL"]
    return recipe.create_app(postgres_url=url, work_here=True)


def be_patient(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the production file wait longer: a busy machine is no outage."""
    monkeypatch.setattr(recipe, "PATIENCE", TIMEOUT)
    monkeypatch.setattr(recipe, "SILENCE", TIMEOUT)
    statements = f"-c statement_timeout={TIMEOUT}s"
    monkeypatch.setitem(recipe.OPTIONS, "options", statements)


# It is there before what is served, and after it.
@pytest.fixture(autouse=True)
def engine(recipe: Tier, request: pytest.FixtureRequest) -> dict[str, str]:
    """The variable of a PostgreSQL, which only the production file needs."""
    if "production" not in recipe.__name__:
        return {}
    return {"POSTGRES_URL": request.getfixturevalue("postgres_url")}


async def ping(client: ClientSession, target: str) -> None:
    async with client.post(target) as response:
        assert response.status == 200
        assert await response.json() == {"message": "PONG"}


async def read_count(client: ClientSession) -> dict[str, int]:
    async with client.get("count") as response:
        assert response.status == 200
        answer: dict[str, int] = await response.json()
    return answer


async def settled(client: ClientSession, least: int = 0) -> int:
    """Return the count once no follow-up is pending, and some have been.

    The jobs of a worker that was killed wait until another takes them over.
    """
    async with asyncio.timeout(6 * TIMEOUT):
        while True:
            answer = await read_count(client)
            if answer["count"] >= least and not answer["pending"]:
                return answer["count"]
            await asyncio.sleep(0.05)


def errors_in(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [r for r in caplog.records if r.levelno >= logging.ERROR]


class Held:
    """Holds back the answers to pings, from when it is told to."""

    def __init__(self, app: web.Application) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error: Exception | None = None
        app.on_response_prepare.append(self._hold)

    async def _hold(
        self, request: web.Request, response: web.StreamResponse
    ) -> None:
        if "/ping" in request.path and not self.go_on.is_set():
            self.request = request
            self.reached.set()
            await self.go_on.wait()
        if "/ping" in request.path and self.error is not None:
            raise self.error


@pytest.fixture
def held(application: web.Application) -> Iterator[Held]:
    held = Held(application)
    yield held
    held.go_on.set()


# The answer, and the work after it


@every_ping
async def test_the_answer_comes_before_the_follow_up_ends(
    client: ClientSession, target: str
) -> None:
    await ping(client, f"{target}?work=1")
    assert await read_count(client) == {"count": 0, "pending": 1}
    assert await settled(client) == 1


@pytest.mark.slow("it repeats")
@pytest.mark.unmeasured("it repeats")
@pytest.mark.parametrize("pings", [50, at_length(150)])
@every_ping
async def test_every_ping_counts_exactly_once(
    client: ClientSession, target: str, pings: int
) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(pings):
            group.create_task(ping(client, target))
    assert await settled(client) == pings


async def test_work_in_order_does_not_begin_before_the_answer_is_sent(
    held: Held, serve: Serve, application: web.Application
) -> None:
    server = await serve(application)
    async with (
        ClientSession(server.url) as client,
        asyncio.TaskGroup() as tasks,
    ):
        waiting = tasks.create_task(ping(client, "ping-in-order?work=0"))
        await held.reached.wait()
        assert (await read_count(client))["count"] == 0
        assert not waiting.done()
        held.go_on.set()
        await waiting
        assert await settled(client) == 1


@pytest.fixture
def long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow work of 9 s, which the end cancels; has to come before `client`."""
    monkeypatch.setattr(after_response, "MAX_WORK", 9.0)
    monkeypatch.setattr(after_response, "GRACE", 0.0)


@pytest.mark.full("the same at length", server="mounted")
@pytest.mark.answer_only("a worker runs a hundred jobs at a time")
async def test_a_follow_up_does_not_queue_behind_a_hundred_others(
    long_work: None, client: ClientSession
) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(ping(client, "ping?work=9"))
    await ping(client, "ping?work=0")
    async with asyncio.timeout(TIMEOUT / 2):
        count = 0
        while not count:
            count = (await read_count(client))["count"]
            await asyncio.sleep(0.02)
    assert count == 1


@every_ping
async def test_the_next_request_on_the_connection_is_not_delayed(
    server: Server, target: str
) -> None:
    answers = await exchange(
        server,
        post(server, f"{target}?work=1.5"),
        b"GET %bcount HTTP/1.1\r\n" % server.url.raw_path.encode(),
        b"Host: localhost\r\nConnection: close\r\n\r\n",
    )
    assert answers.endswith(b'{"count": 0, "pending": 1}')


def post(
    server: Server, target: str, *headers: str, version: str = "1"
) -> bytes:
    lines = [
        f"POST {server.url.raw_path}{target} HTTP/1.{version}",
        "Host: localhost",
        "Content-Length: 0",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@every_ping
async def test_an_http_1_0_client_is_answered(
    server: Server, target: str
) -> None:
    answer = await exchange(server, post(server, target, version="0"))
    assert answer.endswith(b'{"message": "PONG"}')


@every_ping
async def test_a_follow_up_that_fails_is_logged_once(
    server: Server,
    client: ClientSession,
    caplog: pytest.LogCaptureFixture,
    target: str,
) -> None:
    answers = await exchange(
        server,
        post(server, f"{target}?fail=1&work=0"),
        post(server, f"{target}?work=0", "Connection: close"),
    )
    assert answers.count(b'{"message": "PONG"}') == 2
    assert await settled(client) == 1
    [error] = errors_in(caplog)
    assert error.exc_info is not None
    assert "told to fail" in str(error.exc_info[1])


async def test_a_body_cannot_be_read_after_the_answer(serve: Serve) -> None:
    requests = []

    async def keep(request: web.Request) -> web.Response:
        requests.append(request)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", keep)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        # The answer to the second comes when the first is over.
        for _ in range(2):
            async with client.post("", data=b"tea") as response:
                assert response.status == 200
    with pytest.raises(PayloadAccessError):
        await requests[0].read()


# Bad requests


@in_turn("method", ["GET", "HEAD", "PUT", "DELETE"])
@every_ping
async def test_a_method_that_a_client_may_repeat_does_not_count(
    client: ClientSession, target: str, method: str
) -> None:
    async with client.request(method, target) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
    assert await settled(client) == 0


@in_turn(
    "query",
    [
        *("work=nan", "work=inf", "work=-inf", "work=1e999", "work=-0.01"),
        *("work=1.51", "work=", "work=soon", "work=%FF", "work=0&work=0"),
        *("work=%D9%A1", "work=1_0", "work=1%0A", "work=" + "1" * 5000),
        *("fail=", "fail=2", "fail=yes", "fail=1.0", "fail=0&fail=1"),
    ],
)
@every_ping
async def test_a_bad_query_is_refused_and_does_not_count(
    client: ClientSession, target: str, query: str
) -> None:
    async with client.post(f"{target}?{query}") as response:
        assert response.status == 400
        assert list(await response.json()) == ["error"]
    assert await settled(client) == 0


@pytest.mark.parametrize("work", ["0", "1.5", "0.000000001"])
async def test_work_may_take_0_to_1_5_seconds(
    client: ClientSession, work: str
) -> None:
    await ping(client, f"ping?work={work}")


# Clients that leave


class Stranger:
    """A client that sends a ping and leaves."""

    def __init__(self, server: Server, target: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._socket.sendall(post(server, target))

    async def receive(self) -> bytes:
        return await asyncio.to_thread(self._socket.recv, 65536)

    def leave(self) -> None:
        self._socket.close()


@every_ping
async def test_a_client_that_disconnects_before_the_answer_counts(
    held: Held,
    cancelling: Server,
    caplog: pytest.LogCaptureFixture,
    target: str,
) -> None:
    async with asyncio.timeout(TIMEOUT), ClientSession(cancelling.url) as other:
        stranger = Stranger(cancelling, f"{target}?work=0")
        await held.reached.wait()
        stranger.leave()
        await until_left(held.request)
        held.go_on.set()
        assert await settled(other, least=1) == 1
    assert not errors_in(caplog)


async def until_left(request: web.Request) -> None:
    while True:
        if request.transport is None:
            return
        await asyncio.sleep(0.01)


@every_ping
async def test_a_client_that_disconnects_after_the_answer_counts(
    cancelling: Server, target: str
) -> None:
    async with ClientSession(cancelling.url) as other:
        stranger = Stranger(cancelling, target)
        assert b"PONG" in await stranger.receive()
        stranger.leave()
        assert await settled(other, least=1) == 1


@pytest.mark.parametrize(
    "error", [RuntimeError("on purpose"), ConnectionError("Redis is away")]
)
async def test_an_answer_that_the_server_fails_to_send_does_not_count(
    held: Held, cancelling: Server, error: Exception
) -> None:
    held.error = error
    held.go_on.set()
    async with ClientSession(cancelling.url) as client:
        with pytest.raises(ClientError):
            await client.post("ping-in-order?work=0")
        assert await settled(client) == 0


# What is around it


@every_ping
async def test_a_middleware_around_it_sees_whether_the_answer_is_prepared(
    serve: Serve, application: web.Application, target: str
) -> None:
    seen = []

    @web.middleware
    async def mark(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        response = await handler(request)
        seen.append(response.prepared)
        if not response.prepared:
            response.headers["X-Mark"] = "yes"
        return response

    root = web.Application(middlewares=[mark])
    root.add_subapp("/sub", application)
    server = await serve(root)
    async with ClientSession(server.url.joinpath("sub/")) as client:
        await ping(client, f"{target}?work=0")
        assert await settled(client) == 1
    assert seen[0] is (target == "ping-in-order")
    assert seen[1] is False


async def test_a_session_middleware_around_it_raises_on_a_prepared_response(
    serve: Serve, application: web.Application
) -> None:
    root = web.Application()
    aiohttp_session.setup(root, aiohttp_session.SimpleCookieStorage())
    root.add_subapp("/sub", application)
    errors = []

    @web.middleware
    async def listen(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except RuntimeError as error:
            errors.append(str(error))
            raise

    root.middlewares.insert(0, listen)
    server = await serve(root)
    async with ClientSession(server.url.joinpath("sub/")) as client:
        await ping(client, "ping?work=0")
        # The connection ends after this one.
        await ping(client, "ping-in-order?work=0")
        assert await settled(client) == 2
    await server.stop()
    assert errors == ["Cannot save session data into prepared response"]


# The end


@pytest.mark.answer_only("what has not begun stays in the queue")
@every_ping
async def test_shutdown_waits_for_follow_ups(
    serve: Serve,
    application: web.Application,
    recipe: Any,
    caplog: pytest.LogCaptureFixture,
    target: str,
) -> None:
    server = await serve(application)
    async with ClientSession(server.url) as client:
        for _ in range(5):
            await ping(client, f"{target}?work=1")
        assert await read_count(client) == {"count": 0, "pending": 5}
    scheduler = application[recipe.SCHEDULER]
    await server.stop()
    assert len(scheduler) == 0
    assert not errors_in(caplog)


async def test_a_follow_up_too_slow_for_shutdown_is_cancelled_and_logged(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The production file has a test of its own.
    monkeypatch.setattr(after_response, "GRACE", 0.5)
    server = await serve(after_response.create_app())
    async with ClientSession(server.url) as client:
        for work in (1.5, 1.5, 0):
            await ping(client, f"ping?work={work}")
    await server.stop()
    assert caplog.messages.count(CANCELLED) == 2


async def test_shutdown_cancels_an_answer_that_is_held_up_without_a_traceback(
    held: Held,
    cancelling: Server,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stranger = Stranger(cancelling, "ping-in-order?work=0")
    async with asyncio.timeout(TIMEOUT):
        await held.reached.wait()
        await cancelling.stop()
        # What is cancelled ends in the turns after that.
        await asyncio.sleep(0.05)
    stranger.leave()
    assert not errors_in(caplog)


@pytest.mark.slow("it starts a program")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_process_exits_in_time_with_idle_and_stalled_clients(
    recipe: Tier,
    engine: dict[str, str],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    script = patient_copy(Path(recipe.__file__), tmp_path)
    async with forked(script, cwd=tmp_path, **engine) as process:
        address = ("127.0.0.1", process.port)
        with (
            socket.create_connection(address) as stalled,
            socket.create_connection(address),
        ):
            stalled.sendall(b"POST /ping HTTP/1.1\r\nHost: localhost\r\n")
            assert await process.end(number) == 0
        assert "Traceback" not in process.log.read_text()


@pytest.mark.answer_only("what has not begun stays in the queue")
async def test_the_process_does_all_of_its_work_before_it_exits(
    recipe: Tier, tmp_path: Path
) -> None:
    script = Path(recipe.__file__)
    async with forked(script, cwd=tmp_path) as process:
        url = f"http://127.0.0.1:{process.port}/"
        async with ClientSession(url) as client:
            for target in PINGS * 50:
                await ping(client, f"{target}?work=1.5")
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert await process.end() == 0
        assert loop.time() - before > 0.5
        assert process.log.read_text() == ""


async def test_a_port_in_use_is_told_in_a_line(
    recipe: Tier, engine: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, errors = await run_to_its_end(
            recipe.__file__, cwd=tmp_path, PORT=port, **engine
        )
    assert code == 1
    assert port in errors
    assert errors.count("\n") == 1
