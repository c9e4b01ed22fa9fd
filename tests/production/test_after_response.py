"""Proofs for recipes/after_response.py."""

import asyncio
import logging
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import aiohttp_session
import pytest
from aiohttp import ClientSession, web
from aiohttp.typedefs import Handler

from recipes.production import after_response
from tests.conftest import Serve
from tests.servers import ROOT, TIMEOUT, Server, exchange, running

SCRIPT = ROOT / "recipes" / "production" / "after_response.py"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "pings.db"


@pytest.fixture
def application(database: Path) -> web.Application:
    return after_response.create_app(database=database)


@pytest.fixture
async def stranger(
    serve: Serve, application: web.Application, handler_cancellation: bool
) -> AsyncIterator["Stranger"]:
    """A client that leaves; the server runs in both cancellation modes."""
    stranger = Stranger(application)
    server = await serve(application, handler_cancellation=handler_cancellation)
    async with ClientSession(server.url) as session:
        stranger.connect(server, session)
        yield stranger
        stranger.leave()


class Stranger:
    """Sends a ping and leaves while its answer is held back, or right after."""

    def __init__(self, application: web.Application) -> None:
        self.held = asyncio.Event()
        self.hold = False
        application.on_response_prepare.append(self._hold_back)

    def connect(self, server: Server, other_client: ClientSession) -> None:
        self.client = other_client
        self._socket = socket.create_connection(("127.0.0.1", server.port))

    def ping(self) -> None:
        self._socket.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def leave(self) -> None:
        self._socket.close()

    async def _hold_back(
        self, request: web.Request, response: web.StreamResponse
    ) -> None:
        if self.hold and request.path == "/ping":
            self.held.set()
            while True:
                if request.transport is None:
                    return
                await asyncio.sleep(0.01)


async def count_of(client: ClientSession) -> int:
    """Return the count as it is now."""
    async with client.get("count") as response:
        return int((await response.json())["count"])


async def settled(client: ClientSession, least: int = 0) -> int:
    """Return the count once no follow-up is pending, and some have been."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            async with client.get("count") as response:
                answer = await response.json()
            if answer["count"] >= least and not answer["pending"]:
                return int(answer["count"])
            await asyncio.sleep(0.01)


def stored(database: Path) -> int:
    """Return what the file holds, whoever wrote it."""
    with closing(sqlite3.connect(database)) as db:
        [count] = db.execute("SELECT count FROM pongs").fetchone()
    return int(count)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the write lock, as another process may do."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_answer_comes_before_the_follow_up_ends(
    client: ClientSession, method: str
) -> None:
    async with client.request(method, "ping?work=1") as response:
        assert await response.json() == {"message": "PONG"}
    assert await count_of(client) == 0
    assert await settled(client) == 1


async def test_every_ping_counts_exactly_once(client: ClientSession) -> None:
    async def ping() -> None:
        async with client.get("ping?work=0.05") as response:
            assert response.status == 200

    async with asyncio.TaskGroup() as group:
        for _ in range(150):
            group.create_task(ping())
    assert await settled(client) == 150


async def test_a_follow_up_does_not_queue_behind_a_hundred_others(
    client: ClientSession,
) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(ping(client, "ping?work=1.5"))
    await ping(client, "ping?work=0")
    async with asyncio.timeout(TIMEOUT):
        while True:
            if count := await count_of(client):
                break
    assert count == 1


async def test_a_head_has_no_body_and_counts(client: ClientSession) -> None:
    async with client.head("ping?work=0") as response:
        assert response.status == 200
        assert response.content_length == len('{"message": "PONG"}')
        assert await response.read() == b""
    assert await settled(client) == 1


async def test_the_next_request_on_the_connection_is_not_delayed(
    server: Server,
) -> None:
    path = server.url.raw_path.encode()
    answers = await exchange(
        server,
        b"GET %bping?work=1.5 HTTP/1.1\r\nHost: localhost\r\n\r\n" % path,
        b"GET %bcount HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Connection: close\r\n\r\n",
    )
    assert answers.endswith(b'{"count": 0, "pending": 1}')


async def test_an_http_1_0_client_is_answered(server: Server) -> None:
    path = server.url.raw_path.encode()
    answer = await exchange(
        server, b"GET %bping HTTP/1.0\r\n" % path, b"Host: localhost\r\n\r\n"
    )
    assert answer.endswith(b'{"message": "PONG"}')


async def test_a_follow_up_that_fails_is_logged_once(
    server: Server, client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    path = server.url.raw_path.encode()
    answers = await exchange(
        server,
        b"POST %bping?fail=1&work=0 HTTP/1.1\r\n" % path,
        b"Host: localhost\r\nContent-Length: 0\r\n\r\n",
        b"POST %bping?work=0 HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Content-Length: 0\r\nConnection: close\r\n\r\n",
    )
    assert answers.count(b'{"message": "PONG"}') == 2
    assert await settled(client) == 1
    errors = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert [error.message for error in errors] == ["a follow-up failed"]


async def test_a_client_that_leaves_before_the_answer_counts(
    stranger: Stranger, caplog: pytest.LogCaptureFixture
) -> None:
    stranger.hold = True
    stranger.ping()
    async with asyncio.timeout(TIMEOUT):
        await stranger.held.wait()
    stranger.leave()
    assert await settled(stranger.client, least=1) == 1
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_a_client_that_leaves_after_the_answer_counts(
    stranger: Stranger,
) -> None:
    stranger.ping()
    await asyncio.to_thread(stranger._socket.recv, 65536)
    stranger.leave()
    assert await settled(stranger.client, least=1) == 1


@pytest.mark.parametrize(
    "query",
    [
        *("work=nan", "work=inf", "work=-inf", "work=1e999", "work=-0.01"),
        *("work=1.51", "work=", "work=soon", "work=%FF", "work=0&work=0"),
        *("fail=", "fail=2", "fail=yes", "fail=1.0", "fail=0&fail=1"),
    ],
)
async def test_a_bad_query_is_refused_and_does_not_count(
    client: ClientSession, query: str
) -> None:
    async with client.get(f"ping?{query}") as response:
        assert response.status == 400
        assert list(await response.json()) == ["error"]
    assert await settled(client) == 0


async def test_other_methods_are_refused(client: ClientSession) -> None:
    async with client.put("ping") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD,POST"


async def test_a_ping_beyond_the_limit_is_refused(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_response, "MAX_PENDING", 1)
    await ping(client, "ping?work=1")
    async with client.get("ping?work=1") as response:
        assert response.status == 503
        assert await response.json() == {"error": "too much is pending"}
    assert await settled(client) == 1


async def test_a_write_that_fails_is_logged(
    client: ClientSession, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(database):
        await ping(client, "ping?work=0")
        assert await settled(client) == 0
    assert caplog.messages.count("a follow-up failed") == 1
    await ping(client, "ping?work=0")
    assert await settled(client) == 1


async def test_a_count_that_cannot_be_read_is_an_answer(
    client: ClientSession, database: Path
) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("DROP TABLE pongs")
    async with client.get("count") as response:
        assert response.status == 503
        answer = await response.json()
    assert answer == {"error": "the database cannot be read"}


async def test_the_end_waits_for_follow_ups_before_the_database_closes(
    server: Server, client: ClientSession, database: Path
) -> None:
    for _ in range(20):
        await ping(client, "ping?work=0.5")
    assert stored(database) == 0
    [thread] = [
        thread
        for thread in threading.enumerate()
        if "_connection_worker_thread" in thread.name
    ]
    await server.stop()
    assert stored(database) == 20
    thread.join(TIMEOUT)
    assert not thread.is_alive()


async def test_a_follow_up_that_is_too_slow_is_cancelled_and_logged(
    serve: Serve,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(after_response, "GRACE", 0.5)
    server = await serve(after_response.create_app(database=database))
    async with ClientSession(server.url) as client:
        for work in (1.5, 1.5, 0):
            await ping(client, f"ping?work={work}")
    await server.stop()
    assert stored(database) == 1
    message = "a follow-up was cancelled: the server ends"
    assert caplog.messages.count(message) == 2


async def test_the_end_does_not_wait_long_for_a_locked_database(
    server: Server, client: ClientSession, database: Path
) -> None:
    with locked(database):
        for _ in range(5):
            await ping(client, "ping?work=0")
        async with asyncio.timeout(TIMEOUT / 4):
            await server.stop()
    assert stored(database) == 0


async def test_a_middleware_around_it_sees_that_the_answer_is_sent(
    serve: Serve, application: web.Application
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
    async with ClientSession(server.url) as client:
        async with client.get("sub/ping?work=0") as response:
            assert await response.json() == {"message": "PONG"}
        assert await settled_below(client, "sub/") == 1
    assert seen[:2] == [True, False]


async def settled_below(client: ClientSession, prefix: str) -> int:
    async with ClientSession(f"{client._base_url}{prefix}") as session:
        return await settled(session)


async def test_a_session_middleware_around_it_raises(
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
    async with (
        ClientSession(server.url) as client,
        client.get("sub/ping?work=0") as response,
    ):
        assert await response.json() == {"message": "PONG"}
    await server.stop()
    assert errors == ["Cannot save session data into prepared response"]


async def test_nothing_pending_is_lost_at_sigterm(
    database: Path, tmp_path: Path
) -> None:
    environment = {"DATABASE": str(database)}
    async with running(SCRIPT, cwd=tmp_path, **environment) as process:
        url = f"http://127.0.0.1:{process.port}"
        async with ClientSession() as client, asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(ping(client, f"{url}/ping?work=1"))
        assert stored(database) == 0
        assert await process.end(signal.SIGTERM) == 0
    assert stored(database) == 200
    assert "Traceback" not in process.log.read_text()


async def ping(client: ClientSession, url: str) -> None:
    async with client.get(url) as response:
        assert response.status == 200


@pytest.mark.parametrize("bad", ["a folder", "no database", "no folder"])
def test_without_its_database_it_says_so_in_one_line(
    tmp_path: Path, bad: str
) -> None:
    path = tmp_path / bad
    if bad == "a folder":
        path.mkdir()
    elif bad == "no database":
        path.write_bytes(b"x" * 4096)
    else:
        path /= "pings.db"
    ended = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", SCRIPT],
        env={"DATABASE": str(path), "PORT": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("cannot start: ")
    assert ended.stderr.count("\n") == 1
