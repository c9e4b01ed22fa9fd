"""Proofs for recipes/subapp_database.py."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import aiosqlite
import pytest
from aiohttp import ClientConnectionError, ClientSession, web

from recipes import subapp_database
from recipes.subapp_database import (
    COUNT,
    DATABASE,
    NAME,
    SCHEMA,
    TURN,
    TURN_WAIT,
)
from tests.conftest import Serve
from tests.servers import (
    MEASURED,
    ROOT,
    TIMEOUT,
    Server,
    exchange,
    forked,
    run_to_its_end,
)

SCRIPT = ROOT / "recipes" / "subapp_database.py"
PATHS = ["", "sub/", "sub/deeper/"]
APPS = ["main", "sub", "deeper"]
OTHER = web.AppKey("OTHER", str)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "visits.db"


@pytest.fixture
def application(path: Path) -> web.Application:
    return subapp_database.create_app(database=path)


async def visit(client: ClientSession, path: str = "") -> int:
    async with client.get(path) as response:
        assert response.status == 200
        return int((await response.json())["visits"])


def read(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def journal(path: Path) -> list[str]:
    rows = read(path, "SELECT app, event FROM journal ORDER BY rowid")
    return [f"{app} {event}" for app, event in rows]


def visits(path: Path) -> object:
    [[visits]] = read(path, "SELECT visits FROM counter")
    return visits


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """A database as the main application would share it."""
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        await connection.executescript(SCHEMA)
        yield connection


def is_alive(thread: threading.Thread) -> bool:
    """Tell whether a thread goes on; one that is about to end does not."""
    thread.join(TIMEOUT)
    return thread.is_alive()


# One counter


async def test_all_applications_count_in_one_counter(
    client: ClientSession,
) -> None:
    for number, (path, app) in enumerate(zip(PATHS, APPS, strict=True)):
        async with client.get(path) as response:
            assert response.status == 200
            answer = await response.json()
        assert answer == {"app": app, "visits": number + 1}


async def test_a_request_is_one_visit(client: ClientSession) -> None:
    for number in range(10):
        assert await visit(client, PATHS[number % 3]) == number + 1


async def test_the_count_outlives_the_server(
    serve: Serve, application: web.Application, path: Path
) -> None:
    for number, app in enumerate(
        [application, subapp_database.create_app(database=path)]
    ):
        server = await serve(app)
        async with ClientSession(server.url) as client:
            assert await visit(client, "sub/") == number + 1
        await server.stop()


@pytest.mark.parametrize("target", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_visit_is_a_get(
    client: ClientSession, target: str, method: str
) -> None:
    async with client.request(method, target) as response:
        assert response.status == 405
    assert await visit(client) == 1


@pytest.mark.parametrize(
    "target", [b"sub/%00", b"sub/deeper/x", b"sub/..%2f", b"sub/%ff", b"suber/"]
)
async def test_a_path_of_nobody_is_no_visit(
    server: Server, client: ClientSession, target: bytes
) -> None:
    answer = await exchange(
        server,
        b"GET %b%b HTTP/1.1\r\n" % (server.url.raw_path.encode(), target),
        b"Host: localhost\r\nConnection: close\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 404")
    assert await visit(client) == 1


@pytest.fixture
def long_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a visit wait for its turn as long as a busy machine needs."""
    monkeypatch.setattr(subapp_database, "TURN_WAIT", TIMEOUT)


async def test_concurrent_visits_are_all_counted(
    long_turns: None, client: ClientSession
) -> None:
    # As many as a client has connections.
    counts = await asyncio.gather(
        *(visit(client, PATHS[number % 3]) for number in range(100))
    )
    assert sorted(counts) == list(range(1, 101))


async def test_what_was_counted_stays_counted_whoever_leaves(
    long_turns: None,
    serve: Serve,
    application: web.Application,
    path: Path,
    handler_cancellation: bool,
) -> None:
    server = await serve(application, handler_cancellation=handler_cancellation)

    async def leave(number: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        target = PATHS[number % 3].encode()
        writer.write(b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
        await writer.drain()
        writer.transport.abort()

    async with (
        ClientSession(server.url) as client,
        asyncio.timeout(TIMEOUT),
        asyncio.TaskGroup() as tasks,
    ):
        answers = []
        for number in range(64):
            tasks.create_task(leave(number))
            answer = visit(client, PATHS[number % 3])
            answers.append(tasks.create_task(answer))
    await server.stop()
    counts = {answer.result() for answer in answers}
    assert len(counts) == 64
    assert visits(path) in range(max(counts), 129)


async def test_a_busy_database_is_a_503_and_logged(
    client: ClientSession, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        # SQLite itself would wait for 5 s.
        async with asyncio.timeout(4.5), client.get("sub/") as response:
            assert response.status == 503
            assert "busy" in (await response.json())["error"]
    assert "the database is busy: OperationalError" in caplog.text
    assert await visit(client) == 1


@pytest.fixture
def long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for a foreign lock; has to come before `client`."""
    monkeypatch.setattr(subapp_database, "LOCK_WAIT", 0.5)


@pytest.mark.full("the same at length", server="mounted")
async def test_many_visits_under_a_foreign_lock_are_answered_at_once(
    long_wait: None,
    client: ClientSession,
    path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def is_busy(path: str) -> bool:
        async with client.get(path) as response:
            error = (await response.json())["error"]
            return response.status == 503 and error == "the database is busy"

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        # One after another they would need 25 s.
        async with asyncio.timeout(TIMEOUT):
            answers = [is_busy(PATHS[number % 3]) for number in range(50)]
            assert all(await asyncio.gather(*answers))
    assert "the database is busy: TimeoutError()" in caplog.text
    assert await visit(client) == 1


async def test_a_visit_that_has_its_turn_is_not_cut_off_by_the_time_limit(
    serve: Serve, application: web.Application
) -> None:
    server = await serve(application)
    connection = application[DATABASE]
    await connection.create_function("sleep", 1, time.sleep)
    async with ClientSession(server.url) as client, asyncio.timeout(TIMEOUT):
        # The visit has its turn at once. Its statement runs after this one.
        slow = connection.execute_fetchall("SELECT sleep(?)", [TURN_WAIT + 0.2])
        _, count = await asyncio.gather(slow, visit(client, "sub/"))
        assert count == 1


async def test_a_mistake_of_the_program_is_a_500(
    client: ClientSession, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE counter")
    async with client.get("sub/") as response:
        assert response.status == 500


async def test_another_process_that_reads_hinders_no_visit(
    client: ClientSession, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT visits FROM counter").fetchall() == []
        assert await visit(client, "sub/") == 1


# Isolation


async def test_a_subapplication_finds_its_parent_by_config_dict_alone(
    serve: Serve, path: Path
) -> None:
    async def tell(request: web.Request) -> web.Response:
        with pytest.raises(TypeError):
            request.config_dict[OTHER] = "sub's"  # type: ignore[index]
        return web.json_response(
            {
                "own": request.app.get(OTHER),
                "found": request.config_dict[OTHER],
                "name": request.config_dict[NAME],
                "shared": DATABASE in request.config_dict,
                "copied": DATABASE in request.app,
            }
        )

    app = subapp_database.create_app(database=path)
    app[OTHER] = "main's"
    sub = subapp_database.create_sub("another")
    sub.router.add_get("/tell", tell)
    app.add_subapp("/another", sub)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        client.get("another/tell") as response,
    ):
        assert await response.json() == {
            "own": None,
            "found": "main's",
            "name": "another",
            "shared": True,
            "copied": False,
        }


async def test_a_key_of_the_same_name_is_another_key(
    client: ClientSession, application: web.Application
) -> None:
    assert await visit(client) == 1
    assert DATABASE in application
    assert web.AppKey("DATABASE", aiosqlite.Connection) not in application


# A subapplication alone


async def test_a_subapplication_runs_alone_with_a_given_database(
    serve: Serve, path: Path
) -> None:
    async with opened(path) as connection:
        sub = subapp_database.create_sub("alone")
        sub[DATABASE] = connection
        sub[TURN] = asyncio.Lock()
        server = await serve(sub)
        async with ClientSession(server.url) as client:
            assert await visit(client) == 1
        await server.stop()
        # Only who opened a connection closes it.
        [[count]] = await connection.execute_fetchall(COUNT)
        assert count == 2


async def test_a_subapplication_without_a_database_does_not_start(
    serve: Serve,
) -> None:
    root = web.Application()
    sub = subapp_database.create_sub("forgotten")
    sub.cleanup_ctx.append(
        partial(subapp_database.require_database, parent=root)
    )
    root.add_subapp("/sub", sub)
    with pytest.raises(RuntimeError, match="forgotten is mounted without"):
        await serve(root)


async def test_the_parent_is_asked_for_its_database(path: Path) -> None:
    app = subapp_database.create_app(database=path)
    # The context that opens it is lost, by a mistake.
    app.cleanup_ctx.pop(0)
    runner = web.AppRunner(app)
    with pytest.raises(RuntimeError, match="sub is mounted without"):
        await runner.setup()
    await runner.cleanup()


# Start and end


async def test_who_starts_last_ends_first_and_writes_until_then(
    server: Server, path: Path
) -> None:
    assert journal(path) == ["sub opened", "deeper opened"]
    await server.stop()
    assert journal(path)[2:] == ["deeper closed", "sub closed"]


async def test_the_database_is_closed_at_the_end(
    serve: Serve, application: web.Application
) -> None:
    server = await serve(application)
    await server.stop()
    with pytest.raises(ValueError, match="closed"):
        await application[DATABASE].execute_fetchall(COUNT)


async def test_the_end_is_written_whatever_brought_it(path: Path) -> None:
    async with opened(path) as connection:
        with pytest.raises(RuntimeError, match="on purpose"):
            async with subapp_database.journal(connection, "broken"):
                raise RuntimeError("failed on purpose")
    assert journal(path) == ["broken opened", "broken closed"]


async def fail(app: web.Application) -> None:
    raise RuntimeError("failed on purpose")


async def test_a_subapplication_that_fails_to_start_closes_the_database(
    serve: Serve, application: web.Application, path: Path
) -> None:
    before = set(threading.enumerate())
    failing = subapp_database.create_sub("failing")
    failing.on_startup.append(fail)
    application.add_subapp("/failing", failing)
    with pytest.raises(RuntimeError, match="on purpose"):
        await serve(application)
    assert journal(path)[2:] == ["deeper closed", "sub closed"]
    opened = set(threading.enumerate()) - before
    assert not any(is_alive(thread) for thread in opened)


async def test_an_end_under_a_foreign_lock_is_logged_and_no_failure(
    tmp_path: Path, path: Path
) -> None:
    environment = {"DATABASE": str(path), **MEASURED}
    async with forked(SCRIPT, cwd=tmp_path, **environment) as process:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await process.end() == 0
    lines = process.log.read_text().splitlines()
    reason = "OperationalError('database is locked')"
    assert lines == [
        f"the end of {name} is not in the journal: {reason}"
        for name in ("deeper", "sub")
    ]


@pytest.mark.parametrize("broken", ["no folder", "a folder", "no database"])
async def test_a_start_that_fails_says_so_in_a_line(
    tmp_path: Path, broken: str
) -> None:
    path = tmp_path / "broken"
    if broken == "no folder":
        path /= "visits.db"
    elif broken == "a folder":
        path.mkdir()
    else:
        path.write_text("no database" * 100)
    code, errors = await run_to_its_end(SCRIPT, DATABASE=str(path))
    assert code == 1
    assert errors.startswith("cannot start: ")
    assert errors.count("\n") == 1


async def test_no_visit_meets_a_closed_database_at_the_end(
    tmp_path: Path, path: Path
) -> None:
    counts: list[int] = []
    enough = asyncio.Event()

    async def keep_visiting(client: ClientSession, path: str) -> None:
        while True:
            try:
                counts.append(await visit(client, path))
            except ClientConnectionError:
                break
            if len(counts) >= 100:
                enough.set()

    async with (
        forked(SCRIPT, cwd=tmp_path, DATABASE=str(path)) as process,
        ClientSession(f"http://127.0.0.1:{process.port}/") as client,
        asyncio.timeout(TIMEOUT),
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(12):
            tasks.create_task(keep_visiting(client, PATHS[number % 3]))
        await enough.wait()
        assert await process.end() == 0
    assert process.log.read_text() == ""
    assert journal(path)[2:] == ["deeper closed", "sub closed"]
    assert len(set(counts)) == len(counts)
    assert visits(path) == max(counts)


async def test_the_file_is_the_one_of_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    async with forked(SCRIPT, cwd=tmp_path, DATABASE=str(path)) as process:
        assert path.exists()
        assert await process.end() == 0
    async with forked(SCRIPT, cwd=tmp_path) as process:
        assert (tmp_path / "visits.db").exists()
        assert await process.end() == 0
