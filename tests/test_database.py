"""Proofs for recipes/database.py; they hold for the production file too."""

import asyncio
import gzip
import json
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientSession, web

from tests.conftest import Serve, Tier, in_turn
from tests.servers import TIMEOUT, forked, run_to_its_end

STARTS_WITHOUT = "P: a production file starts without its engine"
OF_A_FILE = "E: the production file stores in PostgreSQL, not in a file"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


def is_production(recipe: Tier) -> bool:
    return recipe.__name__.startswith("recipes.production.")


@pytest.fixture
def engine(request: pytest.FixtureRequest, recipe: Tier) -> dict[str, Any]:
    """The option of a new database."""
    if is_production(recipe):
        return {"postgres_url": request.getfixturevalue("postgres_url")}
    return {"database": request.getfixturevalue("path")}


@pytest.fixture
def application(
    recipe: Tier, engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> web.Application:
    if "postgres_url" in engine:
        # A busy machine is no outage.
        monkeypatch.setattr(recipe, "CONNECTION_WAIT", TIMEOUT)
    return recipe.create_app(**engine)


@pytest.fixture
def environment(engine: dict[str, Any]) -> dict[str, Any]:
    """The variable that names the database where a recipe runs alone."""
    return {name.upper(): str(value) for name, value in engine.items()}


@pytest.fixture
def slow(application: web.Application, recipe: Any) -> "Slow":
    return Slow(application, recipe)


class Slow:
    """A handler that holds its transaction until it is told how to end."""

    def __init__(self, app: web.Application, recipe: Any) -> None:
        self._recipe = recipe
        self.entered = asyncio.Event()
        self.ended = asyncio.Event()
        self.go_on = asyncio.Event()
        self.refuse = False
        self.inside = 0
        app.router.add_post("/slow", self.handle)

    async def handle(self, request: web.Request) -> web.Response:
        try:
            async with self._recipe.transaction(request.app) as writer:
                await insert(self._recipe, writer, "slow")
                self.inside += 1
                self.entered.set()
                await self.go_on.wait()
                if self.refuse:
                    raise web.HTTPConflict(text="refused on purpose")
        finally:
            self.ended.set()
        return web.json_response({}, status=201)


async def insert(recipe: Any, connection: Any, text: str) -> None:
    """Insert a note by the statement of the recipe."""
    new: Any = [text]
    if is_production(recipe):
        new = {"texts": [text], "key": None}
    await connection.execute(recipe.INSERT, new)


def batch(*texts: str) -> dict[str, list[dict[str, str]]]:
    return {"notes": [{"text": text} for text in texts]}


async def add(client: ClientSession, *texts: str) -> int:
    async with client.post("notes/batch", json=batch(*texts)) as response:
        return response.status


async def until_open(client: ClientSession) -> None:
    """Wait for the database of a process that has just started."""
    async with asyncio.timeout(TIMEOUT):
        while (await client.get("notes")).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def texts(client: ClientSession) -> list[str]:
    async with client.get("notes") as response:
        assert response.status == 200
        return [note["text"] for note in (await response.json())["notes"]]


@asynccontextmanager
async def locked(
    path: Path, begin: str = "BEGIN IMMEDIATE"
) -> AsyncIterator[None]:
    """Another process holds the lock for writing."""
    program = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute(sys.argv[2])\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, path, begin),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT):
        assert await process.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            process.stdin.close()
            await process.wait()


async def test_the_answer_comes_from_the_database(
    client: ClientSession,
) -> None:
    async with client.get("answer") as response:
        assert await response.json() == {"answer": 42}


async def test_a_batch_is_stored_and_the_newest_notes_come_first(
    client: ClientSession,
) -> None:
    stored = [str(number) for number in range(22)]
    async with client.post("notes/batch", json=batch(*stored)) as response:
        assert response.status == 201
        ids = (await response.json())["ids"]
    async with client.get("notes") as response:
        notes = (await response.json())["notes"]
    assert [note["id"] for note in notes] == ids[:1:-1]
    assert [note["text"] for note in notes] == stored[:1:-1]


@pytest.mark.answer_only(OF_A_FILE)
async def test_a_nul_comes_back_as_it_was(client: ClientSession) -> None:
    assert await add(client, "a\0b") == 201
    assert await texts(client) == ["a\0b"]


@pytest.mark.parametrize(
    "text",
    ["x", "x" * 1000, "\N{PILE OF POO}" * 1000, "\n", "'); DROP TABLE"],
    ids=lambda text: repr(text[:20]),
)
async def test_a_text_comes_back_as_it_was(
    client: ClientSession, text: str
) -> None:
    assert await add(client, text) == 201
    assert await texts(client) == [text]


BAD_NOTES = [
    "{}",
    '{"text": ""}',
    json.dumps({"text": "x" * 1001}),
    '{"text": 1}',
    '{"text": null}',
    '{"text": ["x"]}',
    '{"text": "\\ud800"}',
    '{"text": "x\\udfffx"}',
    '"text"',
    "null",
]


@in_turn("note", BAD_NOTES)
async def test_a_bad_note_is_named_and_its_batch_is_rolled_back(
    client: ClientSession, note: str
) -> None:
    before = await texts(client)
    body = f'{{"notes": [{{"text": "a"}}, {{"text": "b"}}, {note}]}}'
    async with client.post("notes/batch", data=body) as response:
        assert response.status == 400
        reason = (await response.json())["error"]
    assert reason == "notes[2]: text must have 1 to 1000 characters"
    assert await add(client, "after") == 201
    assert await texts(client) == ["after", *before]


@in_turn(
    "body",
    [
        {},
        [],
        None,
        {"notes": None},
        {"notes": "ab"},
        {"notes": {"text": "x"}},
        {"notes": []},
        {"notes": [{"text": "x"}] * 101},
    ],
)
async def test_a_batch_is_a_list_of_1_to_100(
    client: ClientSession, body: Any
) -> None:
    async with client.post("notes/batch", data=json.dumps(body)) as response:
        assert response.status == 400
        assert "list of 1 to 100" in (await response.json())["error"]
    assert await add(client, *"x" * 100) == 201


@in_turn(
    "body, headers",
    [
        (b"", {}),
        (b"{", {}),
        (b'{"text": "\xff"}', {}),
        (b"[" * 100_000, {}),
        (b"9" * 5000, {}),
        # Cut short.
        (
            gzip.compress(b'{"text": "x"}')[:-14],
            {"Content-Encoding": "gzip"},
        ),
    ],
)
async def test_a_body_that_is_no_json_is_refused(
    client: ClientSession, body: bytes, headers: dict[str, str]
) -> None:
    async with client.post(
        "notes/batch", data=body, headers=headers
    ) as response:
        assert response.status == 400
        assert await response.json() == {"error": "the body must be JSON"}


async def test_a_codec_that_the_client_names_is_not_used(
    client: ClientSession,
) -> None:
    # Punycode is decoded in quadratic time.
    headers = {"Content-Type": "application/json; charset=punycode"}
    body = json.dumps(batch("tea"))
    async with client.post(
        "notes/batch", data=body, headers=headers
    ) as response:
        assert response.status == 201
    assert await texts(client) == ["tea"]


# Isolation


async def test_a_rollback_leaves_nothing_behind(
    slow: Slow, client: ClientSession
) -> None:
    slow.refuse = True
    slow.go_on.set()
    async with client.post("slow") as response:
        assert response.status == 409
    assert await add(client, "milk") == 201
    assert await texts(client) == ["milk"]


@pytest.mark.answer_only("E: PostgreSQL lets several write at once")
async def test_two_requests_at_once_are_isolated(
    slow: Slow, client: ClientSession
) -> None:
    slow.refuse = True
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        refused = tasks.create_task(client.post("slow"))
        await slow.entered.wait()
        confirmed = tasks.create_task(add(client, "milk"))
        # Reads go on, and see no half of a transaction.
        assert await texts(client) == []
        slow.go_on.set()
        assert await confirmed == 201
        assert slow.ended.is_set()
        assert (await refused).status == 409
    assert await texts(client) == ["milk"]


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_transaction_is_rolled_back(
    client: ClientSession,
    application: web.Application,
    recipe: Any,
    times: int,
) -> None:
    entered = asyncio.Event()

    async def write() -> None:
        async with recipe.transaction(application) as writer:
            await insert(recipe, writer, "half")
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await entered.wait()
    for _ in range(times):
        task.cancel()
        # One turn of the loop takes it into the rollback.
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await add(client, "milk") == 201
    assert await texts(client) == ["milk"]


async def test_a_begin_that_is_cancelled_is_rolled_back(
    client: ClientSession, application: web.Application, recipe: Any
) -> None:
    async def write() -> None:
        async with recipe.transaction(application):
            raise AssertionError("it was cancelled before")

    for turns in range(4):
        task = asyncio.create_task(write())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert await add(client, "milk") == 201


async def test_a_client_that_disconnects_leaves_no_half(
    slow: Slow,
    serve: Serve,
    application: web.Application,
    handler_cancellation: bool,
) -> None:
    server = await serve(application, handler_cancellation=handler_cancellation)
    async with asyncio.timeout(TIMEOUT), ClientSession(server.url) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await slow.entered.wait()
        writer.transport.abort()
        if handler_cancellation:
            await slow.ended.wait()
        slow.go_on.set()
        assert await add(client, "milk") == 201
        whole = ["milk"] if handler_cancellation else ["milk", "slow"]
        assert await texts(client) == whole


@pytest.mark.answer_only(OF_A_FILE)
async def test_a_transaction_holds_the_lock_before_it_reads(
    client: ClientSession,
    application: web.Application,
    recipe: Any,
    path: Path,
) -> None:
    async with recipe.transaction(application):
        with (
            closing(sqlite3.connect(path, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("BEGIN IMMEDIATE")
    # Nobody gets past the lock: what reads cannot write.
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await insert(recipe, application[recipe.READER], "past the lock")
    assert await add(client, "milk") == 201


@pytest.mark.answer_only(OF_A_FILE)
async def test_an_error_that_ended_the_transaction_is_no_success(
    client: ClientSession, application: web.Application, recipe: Any
) -> None:
    async def write() -> None:
        async with recipe.transaction(application) as writer:
            await insert(recipe, writer, "half")
            with pytest.raises(sqlite3.IntegrityError):
                await writer.execute(
                    "INSERT OR ROLLBACK INTO notes SELECT * FROM notes"
                )

    with pytest.raises(sqlite3.OperationalError, match="no transaction"):
        await write()
    assert await texts(client) == []


# Busy, and broken


@pytest.mark.answer_only(OF_A_FILE)
@pytest.mark.full("the same at length", server="mounted")
async def test_a_busy_database_is_a_503_and_still_read(
    client: ClientSession, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await add(client, "before") == 201
    # Without WAL, such a writer would let nobody read.
    async with locked(path, "BEGIN EXCLUSIVE"), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(
            client.post("notes/batch", json=batch("refused"))
        )
        for _ in range(3):
            assert await texts(client) == ["before"]
        assert not waiting.done()
        # SQLite itself would wait for 5 s.
        async with asyncio.timeout(4.5), await waiting as response:
            assert response.status == 503
            assert "busy" in (await response.json())["error"]
    assert "the database is busy: OperationalError" in caplog.text
    assert await add(client, "after") == 201
    assert await texts(client) == ["after", "before"]


@pytest.mark.answer_only(OF_A_FILE)
@pytest.mark.full("the same at length", server="mounted")
async def test_a_request_waits_for_its_turn_with_a_limit(
    slow: Slow, client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        confirmed = tasks.create_task(client.post("slow"))
        await slow.entered.wait()
        waiting = [add(client, "milk") for _ in range(20)]
        assert await asyncio.gather(*waiting) == [503] * 20
        slow.go_on.set()
        # It took longer than a write may wait: only waits have a limit.
        assert (await confirmed).status == 201
    assert "the database is busy: TimeoutError" in caplog.text
    assert await texts(client) == ["slow"]


@pytest.mark.answer_only(OF_A_FILE)
async def test_a_mistake_of_the_program_is_a_500(
    client: ClientSession, application: web.Application, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE notes")
    assert await add(client, "milk") == 500


# Start and end


@pytest.mark.answer_only(OF_A_FILE)
async def test_the_connections_are_closed_at_the_end(
    serve: Serve, application: web.Application
) -> None:
    before = set(threading.enumerate())
    server = await serve(application)
    opened = set(threading.enumerate()) - before
    assert len(opened) == 2
    await server.stop()
    for thread in opened:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@pytest.mark.answer_only(OF_A_FILE)
async def test_a_write_that_shutdown_cancels_is_rolled_back(
    slow: Slow, serve: Serve, application: web.Application, path: Path
) -> None:
    server = await serve(application, shutdown_timeout=0.1)
    async with asyncio.timeout(TIMEOUT), ClientSession(server.url) as client:
        waiting = asyncio.create_task(client.post("slow"))
        await slow.entered.wait()
        await server.stop()
        with pytest.raises(ClientConnectionError):
            await waiting
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT * FROM notes").fetchall()
    assert rows == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_process_exits_when_it_is_told_to(
    recipe: Tier,
    tmp_path: Path,
    environment: dict[str, Any],
    number: signal.Signals,
) -> None:
    script = Path(recipe.__file__)
    async with forked(script, cwd=tmp_path, **environment) as process:
        url = f"http://127.0.0.1:{process.port}/"
        async with ClientSession(url) as client:
            await until_open(client)
            assert await add(client, "milk") == 201
        assert await process.end(number) == 0


@pytest.mark.answer_only(OF_A_FILE)
async def test_a_database_in_memory_is_a_file_that_both_connections_share(
    recipe: Tier, tmp_path: Path
) -> None:
    script = Path(recipe.__file__)
    async with (
        forked(script, cwd=tmp_path, DATABASE=":memory:") as process,
        ClientSession(f"http://127.0.0.1:{process.port}/") as client,
    ):
        assert await add(client, "milk") == 201
        assert await texts(client) == ["milk"]


@pytest.fixture(params=["no folder", "a folder", "no database", "locked"])
async def unusable(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Path]:
    """A path that no database can be opened at."""
    path = tmp_path / "unusable"
    if request.param == "no folder":
        yield path / "notes.db"
    elif request.param == "a folder":
        path.mkdir()
        yield path
    elif request.param == "no database":
        path.write_text("no database" * 100)
        yield path
    else:
        async with locked(path, "BEGIN EXCLUSIVE"):
            yield path


@pytest.mark.answer_only(STARTS_WITHOUT)
async def test_what_was_opened_before_a_failure_is_closed(
    serve: Serve, recipe: Tier, unusable: Path
) -> None:
    before = set(threading.enumerate())
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(sqlite3.Error):
            await serve(recipe.create_app(database=unusable))
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@pytest.mark.answer_only(STARTS_WITHOUT)
async def test_a_start_that_fails_is_told_in_a_line(
    recipe: Tier, unusable: Path
) -> None:
    code, errors = await run_to_its_end(recipe.__file__, DATABASE=str(unusable))
    assert code == 1
    assert errors.startswith("cannot start: ")
    assert errors.count("\n") == 1


async def test_a_port_in_use_is_told_in_a_line(
    recipe: Tier, serve: Serve, path: Path, environment: dict[str, Any]
) -> None:
    server = await serve(web.Application())
    port = str(server.port)
    code, errors = await run_to_its_end(
        recipe.__file__, PORT=port, **environment
    )
    assert code == 1
    assert port in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert not path.with_name("notes.db-wal").exists()
