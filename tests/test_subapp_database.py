"""Proofs for recipes/subapp_database.py."""

import asyncio
import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiosqlite
import pytest
from aiohttp import ClientConnectionError, ClientSession, web

from recipes import subapp_database
from recipes.subapp_database import COUNT, DATABASE, NAME, SCHEMA
from tests.conftest import Serve
from tests.servers import ROOT, TIMEOUT, Server, exchange, running

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
        [application, subapp_database.create_app(database=str(path))]
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


async def test_concurrent_visits_are_all_counted(client: ClientSession) -> None:
    counts = await asyncio.gather(
        *(visit(client, PATHS[number % 3]) for number in range(300))
    )
    assert sorted(counts) == list(range(1, 301))


async def test_what_was_counted_stays_counted_whoever_leaves(
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


async def test_a_locked_database_is_told(
    client: ClientSession, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(3), client.get("sub/") as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert "error" in await response.json()
    assert await visit(client) == 1


async def test_another_process_that_reads_hinders_no_visit(
    client: ClientSession, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT visits FROM counter").fetchall() == []
        assert await visit(client, "sub/") == 1


# Isolation


async def test_a_subapplication_sees_no_more_than_what_is_shared(
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
                "same": request.config_dict[DATABASE] is request.app[DATABASE],
            }
        )

    app = subapp_database.create_app(database=path)
    app[OTHER] = "main's"
    sub, deeper = map(subapp_database.create_sub, ("an app", "its part"))
    deeper.router.add_get("/tell", tell)
    subapp_database.mount(sub, "/deeper", deeper)
    subapp_database.mount(app, "/own", sub)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        client.get("own/deeper/tell") as response,
    ):
        assert await response.json() == {
            "own": None,
            "found": "main's",
            "name": "its part",
            "same": True,
        }
    assert app[DATABASE] is sub[DATABASE] is deeper[DATABASE]


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
        server = await serve(sub)
        async with ClientSession(server.url) as client:
            assert await visit(client) == 1
        await server.stop()
        assert journal(path) == ["alone opened", "alone closed"]
        # Only who opened a connection closes it.
        [[count]] = await connection.execute_fetchall(COUNT)
        assert count == 2


async def test_a_subapplication_without_a_database_does_not_start(
    serve: Serve,
) -> None:
    root = web.Application()
    root.add_subapp("/sub", subapp_database.create_sub("forgotten"))
    with pytest.raises(RuntimeError, match="DATABASE with 'forgotten'"):
        await serve(root)


async def test_a_parent_without_a_database_does_not_start(serve: Serve) -> None:
    root = web.Application()
    subapp_database.mount(root, "/sub", subapp_database.create_sub("sub"))
    with pytest.raises(KeyError, match="DATABASE"):
        await serve(root)


# Start and end


async def test_who_starts_last_ends_first_and_writes_until_then(
    server: Server, path: Path
) -> None:
    assert journal(path) == ["sub opened", "deeper opened"]
    await server.stop()
    assert journal(path)[2:] == ["deeper closed", "sub closed"]


async def test_the_parent_has_its_database_when_the_others_have_ended(
    serve: Serve, application: web.Application, path: Path
) -> None:
    counts: list[object] = []

    async def count_last(app: web.Application) -> AsyncIterator[None]:
        yield
        assert journal(path)[-1] == "sub closed"
        [[count]] = await app[DATABASE].execute_fetchall(COUNT)
        counts.append(count)

    application.cleanup_ctx.insert(1, count_last)
    server = await serve(application)
    await server.stop()
    assert counts == [1]
    with pytest.raises(ValueError, match="closed"):
        await application[DATABASE].execute_fetchall(COUNT)


async def test_signals_of_a_subapplication_run_once_and_with_the_database(
    serve: Serve, application: web.Application
) -> None:
    events = []

    async def start(app: web.Application) -> None:
        await app[DATABASE].execute(COUNT)
        events.append("start")

    async def shut_down(app: web.Application) -> None:
        events.append("shut down")

    async def end(app: web.Application) -> None:
        await app[DATABASE].execute(COUNT)
        events.append("end")

    sub = subapp_database.create_sub("with signals")
    sub.on_startup.append(start)
    sub.on_shutdown.append(shut_down)
    sub.on_cleanup.append(end)
    subapp_database.mount(application, "/signals", sub)
    server = await serve(application)
    await server.stop()
    assert events == ["start", "shut down", "end"]


async def test_the_end_is_written_whatever_brought_it(path: Path) -> None:
    async with opened(path) as connection:
        sub = subapp_database.create_sub("broken")
        sub[DATABASE] = connection
        with pytest.raises(RuntimeError, match="on purpose"):
            async with subapp_database.journal(sub):
                await fail(sub)
    assert journal(path) == ["broken opened", "broken closed"]


async def fail(app: web.Application) -> None:
    raise RuntimeError("failed on purpose")


async def test_a_subapplication_that_fails_to_start_ends_the_others_in_order(
    serve: Serve, application: web.Application, path: Path
) -> None:
    before = set(threading.enumerate())
    failing = subapp_database.create_sub("failing")
    failing.on_startup.append(fail)
    subapp_database.mount(application, "/failing", failing)
    with pytest.raises(RuntimeError, match="on purpose"):
        await serve(application)
    assert journal(path) == [
        *("sub opened", "deeper opened", "failing opened"),
        *("failing closed", "deeper closed", "sub closed"),
    ]
    opened = set(threading.enumerate()) - before
    assert not any(is_alive(thread) for thread in opened)


async def test_the_process_ends_when_a_subapplication_fails_to_start(
    tmp_path: Path, path: Path
) -> None:
    program = tmp_path / "failing.py"
    program.write_text(
        "import sys\n"
        "from aiohttp import web\n"
        f"sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "import subapp_database as recipe\n"
        "async def fail(app): raise RuntimeError('failed on purpose')\n"
        "failing = recipe.create_sub('failing')\n"
        "failing.on_startup.append(fail)\n"
        "parent = recipe.create_sub('parent')\n"
        "recipe.mount(parent, '/failing', failing)\n"
        "app = web.Application()\n"
        "app.cleanup_ctx.append(\n"
        f"    lambda app: recipe.connection(app, {str(path)!r})\n"
        ")\n"
        "recipe.mount(app, '/parent', parent)\n"
        "web.run_app(app, host='127.0.0.1', port=0)\n"
    )
    code, errors = await run(program)
    assert code == 1
    assert errors.endswith("RuntimeError: failed on purpose\n")
    assert errors.count("Traceback") == 1
    assert journal(path) == [
        *("parent opened", "failing opened"),
        *("failing closed", "parent closed"),
    ]
    # The last to close the file removes its log.
    assert not path.with_name(f"{path.name}-wal").exists()


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
    code, errors = await run(SCRIPT, DATABASE=str(path))
    assert code == 1
    assert errors.startswith("cannot start: ")
    assert errors.count("\n") == 1


async def run(script: Path, **environment: str) -> tuple[int | None, str]:
    """Run a script to its end, return its exit code and standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", script),
        env={**os.environ, "PORT": "0", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, errors.decode()


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
        running(SCRIPT, cwd=tmp_path, DATABASE=str(path)) as process,
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
    async with running(SCRIPT, cwd=tmp_path, DATABASE=str(path)) as process:
        assert path.exists()
        assert await process.end() == 0
    async with running(SCRIPT, cwd=tmp_path) as process:
        assert (tmp_path / "visits.db").exists()
        assert await process.end() == 0
