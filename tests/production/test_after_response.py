"""Proofs for recipes/production/after_response.py, beside the answer's."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiosqlite import Connection

from recipes.production import after_response
from tests.conftest import Serve
from tests.servers import ROOT, TIMEOUT, Server, forked
from tests.test_after_response import CANCELLED, ping, read_count, settled
from tests.test_database import locked

SCRIPT = ROOT / "recipes" / "production" / "after_response.py"
CLOSED = {"error": "the database is not open yet"}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "pings.db"


@pytest.fixture
def application(database: Path) -> web.Application:
    return after_response.create_app(database=database)


def stored(database: Path) -> int:
    """Return what the file holds, whoever wrote it."""
    with closing(sqlite3.connect(database)) as connection:
        row = connection.execute("SELECT sum(count) FROM pongs").fetchone()
    return row[0] or 0


async def all_stored(client: ClientSession) -> int:
    """Return the count once all is stored, however long a lock has lasted."""
    async with asyncio.timeout(TIMEOUT):
        return await settled(client)


# A database that is busy


@pytest.mark.parametrize("target", ["ping", "ping-in-order"])
async def test_no_answered_ping_is_lost_to_a_lock(
    client: ClientSession,
    database: Path,
    caplog: pytest.LogCaptureFixture,
    target: str,
) -> None:
    await ping(client, target)
    assert await settled(client) == 1
    async with locked(database):
        # Longer than SQLite waits for it, and than a second.
        for _ in range(15):
            await ping(client, f"{target}?work=0")
            await asyncio.sleep(0.1)
            # It is readable meanwhile.
            assert (await read_count(client))["count"] == 1
        assert await read_count(client) == {"count": 1, "pending": 15}
    assert await all_stored(client) == 16
    assert stored(database) == 16
    lines = [m for m in caplog.messages if "database is locked" in m]
    assert len(lines) == 1
    assert "pings have to wait" in lines[0]
    assert "pings after all" in caplog.text


@pytest.mark.full("the same at length", server="mounted")
async def test_a_lock_that_comes_and_goes_loses_and_repeats_no_ping(
    client: ClientSession, database: Path
) -> None:
    async def keep_pinging() -> None:
        for _ in range(100):
            await ping(client, "ping?work=0.01")

    await ping(client, "ping?work=0")
    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(keep_pinging())
        for _ in range(3):
            async with locked(database):
                await asyncio.sleep(0.3)
    assert await all_stored(client) == 401


async def test_pings_that_come_while_a_batch_is_stored_are_kept(
    monkeypatch: pytest.MonkeyPatch,
    client: ClientSession,
    application: web.Application,
) -> None:
    counter = application[after_response.COUNTER]
    writer = counter.opened.writer
    execute = Connection.execute
    late = 0

    async def execute_slowly(self: Connection, *arguments: object) -> object:
        nonlocal late
        result = await execute(self, *arguments)
        if self is writer and late < 5:
            late += 1
            counter.add()
        return result

    monkeypatch.setattr(Connection, "execute", execute_slowly)
    await ping(client, "ping?work=0")
    assert await settled(client, least=6) == 6


@pytest.mark.full("the same at length", server="mounted")
async def test_many_pings_are_stored_in_few_statements(
    monkeypatch: pytest.MonkeyPatch,
    client: ClientSession,
    application: web.Application,
) -> None:
    statements: list[str] = []
    writer = application[after_response.COUNTER].opened.writer
    await writer.set_trace_callback(statements.append)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(300):
            tasks.create_task(ping(client, "ping?work=0.5"))
    assert await settled(client, least=300) == 300
    updates = [text for text in statements if "INSERT" in text]
    assert 1 <= len(updates) <= 150


async def test_two_processes_count_in_one_database(
    serve: Serve, client: ClientSession, database: Path
) -> None:
    other = await serve(after_response.create_app(database=database))
    async with ClientSession(other.url) as second:
        for _ in range(20):
            await ping(client, "ping?work=0")
            await ping(second, "ping?work=0")
        await settled(second)
    await settled(client)
    assert stored(database) == 40


async def test_a_mistake_in_the_program_is_a_500_and_keeps_the_pings(
    client: ClientSession, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TABLE pongs")
    async with client.get("count") as response:
        assert response.status == 500
    await ping(client, "ping?work=0")
    await asyncio.sleep(0.5)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(after_response.SCHEMA)
    assert await settled(client, least=1) == 1
    assert caplog.text.count("have to wait: OperationalError") == 1
    assert "no such table" in caplog.text


# A database that is not there yet


@pytest.fixture(params=["no folder", "a folder", "no database", "locked"])
async def unusable(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Path]:
    """A path that no database can be opened at."""
    path = tmp_path / "unusable"
    if request.param == "no folder":
        yield path / "pings.db"
    elif request.param == "a folder":
        path.mkdir()
        yield path
    elif request.param == "no database":
        path.write_text("no database" * 100)
        yield path
    else:
        async with locked(path, "BEGIN EXCLUSIVE"):
            yield path


async def test_it_starts_without_its_database_and_answers_503(
    serve: Serve, unusable: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    server = await serve(after_response.create_app(database=unusable))
    async with ClientSession(server.url) as client:
        for method, path in [
            ("POST", "ping"),
            ("POST", "ping-in-order"),
            ("GET", "count"),
        ]:
            async with client.request(method, path) as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"
                assert await response.json() == CLOSED
    assert caplog.text.count("cannot open ") == 1
    async with asyncio.timeout(2):
        await server.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


async def test_a_database_that_was_locked_at_the_start_is_opened_later(
    serve: Serve, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with locked(database, "BEGIN EXCLUSIVE"):
        server = await serve(after_response.create_app(database=database))
    async with asyncio.timeout(TIMEOUT), ClientSession(server.url) as client:
        while True:
            async with client.post("ping?work=0") as response:
                if response.status == 200:
                    break
                assert await response.json() == CLOSED
            await asyncio.sleep(0.05)
        assert await settled(client, least=1) == 1
    assert "cannot open " in caplog.text
    assert f"opened {database} after all" in caplog.text


async def test_a_folder_that_is_made_later_needs_no_restart(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "later" / "pings.db"
    server = await serve(after_response.create_app(database=path))
    path.parent.mkdir()
    async with asyncio.timeout(TIMEOUT), ClientSession(server.url) as client:
        status = 503
        while status == 503:
            async with client.get("count") as response:
                status = response.status
            await asyncio.sleep(0.05)
    assert status == 200


async def test_a_mistake_in_the_program_fails_the_start(
    serve: Serve, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_response, "SCHEMA", "CREATE TABEL pongs (id)")
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        await serve(after_response.create_app(database=database))


# Limits and refusals


@pytest.mark.full("the same at length", server="mounted")
async def test_a_ping_beyond_the_limit_is_refused_and_logged(
    client: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(after_response, "MAX_PENDING", 1)
    await ping(client, "ping?work=1")
    for target in ("ping", "ping-in-order"):
        async with client.post(target) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert await response.json() == {"error": "too much is pending"}
    assert caplog.messages.count("a ping is refused: too much is pending") == 2
    assert await settled(client) == 1


async def test_what_waits_for_the_database_counts_as_pending(
    client: ClientSession, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_response, "MAX_PENDING", 2)
    async with locked(database):
        for _ in range(2):
            await ping(client, "ping?work=0")
        await asyncio.sleep(0.1)
        async with client.post("ping?work=0") as response:
            assert response.status == 503
    assert await all_stored(client) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "ping", 405), ("POST", "count", 405), ("GET", "nothing", 404)],
)
async def test_what_aiohttp_refuses_is_json_too(
    client: ClientSession, method: str, path: str, status: int
) -> None:
    async with client.request(method, path) as response:
        assert response.status == status
        assert list(await response.json()) == ["error"]


# The end


async def test_the_end_stores_all_before_the_database_closes(
    server: Server, client: ClientSession, database: Path
) -> None:
    for _ in range(20):
        await ping(client, "ping?work=0.5")
    assert stored(database) == 0
    threads = [
        thread
        for thread in threading.enumerate()
        if "_connection_worker_thread" in thread.name
    ]
    assert len(threads) == 2
    await server.stop()
    assert stored(database) == 20
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


async def test_a_cancelled_follow_up_does_not_count(
    serve: Serve,
    database: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    application = after_response.create_app(database=database, grace=0.5)
    server = await serve(application)
    async with ClientSession(server.url) as client:
        for work in (1.5, 1.5, 0):
            await ping(client, f"ping?work={work}")
    await server.stop()
    assert stored(database) == 1
    assert caplog.messages.count(CANCELLED) == 2


async def test_shutdown_waits_for_a_short_lock(
    server: Server, client: ClientSession, database: Path
) -> None:
    async with asyncio.TaskGroup() as tasks, locked(database):
        await ping(client, "ping?work=0")
        stopping = tasks.create_task(server.stop())
        await asyncio.sleep(0.5)
        assert not stopping.done()
    assert stored(database) == 1


@pytest.mark.full("the same at length", server="mounted")
async def test_shutdown_is_bounded_and_says_how_many_pings_a_lock_has_cost(
    server: Server,
    client: ClientSession,
    database: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with locked(database):
        for _ in range(5):
            await ping(client, "ping?work=0")
        async with asyncio.timeout(4):
            await server.stop()
    assert "5 pings are lost" in caplog.text
    assert stored(database) == 0


async def test_shutdown_does_not_wait_for_a_lock_that_costs_nothing(
    server: Server,
    client: ClientSession,
    database: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await ping(client, "ping?work=0")
    assert await settled(client, least=1) == 1
    async with locked(database), asyncio.timeout(1.5):
        await server.stop()
    assert "pings" not in caplog.text


async def test_nothing_pending_is_lost_at_sigterm(
    database: Path, tmp_path: Path
) -> None:
    environment = {"DATABASE": str(database)}
    async with forked(SCRIPT, cwd=tmp_path, **environment) as process:
        url = f"http://127.0.0.1:{process.port}/"
        async with ClientSession(url) as client, asyncio.TaskGroup() as tasks:
            for _ in range(200):
                tasks.create_task(ping(client, "ping?work=1"))
        assert stored(database) == 0
        assert await process.end(within=TIMEOUT) == 0
    assert stored(database) == 200
    assert "Traceback" not in process.log.read_text()


async def test_a_process_without_its_database_ends_at_once(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "no folder" / "pings.db")
    async with forked(SCRIPT, cwd=tmp_path, DATABASE=path) as process:
        async with asyncio.timeout(2):
            assert await process.end() == 0
    assert "cannot open " in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


async def test_an_outage_that_a_request_meets_is_a_503_and_logged(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pings.db"
    app = after_response.create_app(database=path)

    async def write(request: web.Request) -> web.Response:
        uri = f"{path.as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as reader:
            reader.execute("CREATE TABLE other (id)")
        return web.Response()

    app.router.add_get("/write", write)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        client.get("write") as response,
    ):
        assert response.status == 503
        assert "read-only" in (await response.json())["error"]
    assert "read-only: OperationalError" in caplog.text
