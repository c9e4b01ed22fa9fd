"""Proofs for recipes/production/database.py, beside those of the answer."""

import asyncio
import gzip
import json
import resource
import sqlite3
import threading
from collections.abc import Awaitable, Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientSession, web

from recipes.production import database
from tests.conftest import Serve
from tests.servers import ROOT, TIMEOUT, Server, forked
from tests.test_database import Slow, locked

SCRIPT = ROOT / "recipes" / "production" / "database.py"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


@pytest.fixture
def application(path: Path) -> web.Application:
    return database.create_app(database=path)


@pytest.fixture
def slow(application: web.Application) -> Slow:
    return Slow(application, database)


@pytest.fixture
async def cancelling(
    serve: Serve, application: web.Application, handler_cancellation: bool
) -> Server:
    """A server in either of the ways to treat a lost client's handler."""
    return await serve(application, handler_cancellation=handler_cancellation)


@pytest.fixture(autouse=True)
def upstream(application: web.Application) -> None:
    """A handler that fails for a reason that is not of the database."""

    async def handle(request: web.Request) -> web.Response:
        raise TimeoutError

    application.router.add_get("/upstream", handle)


@pytest.fixture
def swallow(application: web.Application) -> None:
    """A handler that goes on after an error that ended its transaction."""

    async def handle(request: web.Request) -> web.Response:
        async with database.transaction(request.app) as writer:
            await writer.execute(database.INSERT, ["half"])
            with pytest.raises(sqlite3.IntegrityError):
                await writer.execute(
                    "INSERT OR ROLLBACK INTO notes SELECT * FROM notes"
                )
        raise AssertionError("a lost transaction was committed")

    application.router.add_post("/swallow", handle)


async def post(client: ClientSession, target: str, body: object = None) -> int:
    async with client.post(target, json=body) as response:
        return response.status


async def add(client: ClientSession, text: str = "milk") -> int:
    return await post(client, "notes", {"text": text})


async def texts(client: ClientSession) -> list[str]:
    async with client.get("notes?limit=100") as response:
        assert response.status == 200
        return [note["text"] for note in (await response.json())["notes"]]


def stored(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [
            ("ok",)
        ]
        return [
            text for (text,) in connection.execute("SELECT text FROM notes")
        ]


async def leave(
    server: Server,
    path: str,
    body: object,
    when: Awaitable[object] | None = None,
) -> None:
    """Send a request, then reset the connection, `when` the time has come."""
    content = json.dumps(body).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST %b%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
        % (server.url.raw_path.encode(), path.encode(), len(content), content)
    )
    await writer.drain()
    if when:
        await when
    writer.transport.abort()


# The endpoints


async def test_a_stored_note_can_be_read_back(
    client: ClientSession, server: Server
) -> None:
    async with client.post("notes", json={"text": "milk"}) as response:
        note = await response.json()
    assert response.status == 201
    assert note == {"id": note["id"], "text": "milk"}
    location = response.headers["Location"]
    assert location == f"{server.url.path}notes/{note['id']}"
    async with client.get(server.url.with_path(location)) as response:
        assert await response.json() == note


async def test_the_newest_notes_come_first(client: ClientSession) -> None:
    for number in range(22):
        assert await add(client, str(number)) == 201
    async with client.get("notes") as response:
        notes = (await response.json())["notes"]
    assert [note["text"] for note in notes] == [
        str(n) for n in range(21, 1, -1)
    ]
    async with client.get("notes?limit=2") as response:
        assert (await response.json())["notes"] == notes[:2]
    assert len(await texts(client)) == 22


@pytest.mark.parametrize(
    "text",
    ["x", "x" * 1000, "\N{PILE OF POO}" * 1000, "a\0b", "\n", "'); DROP TABLE"],
    ids=lambda text: repr(text[:20]),
)
async def test_a_text_comes_back_as_it_was(
    client: ClientSession, text: str
) -> None:
    assert await add(client, text) == 201
    assert await texts(client) == [text]


@pytest.mark.parametrize(
    "note_id", ["0", "2", str(2**63), "9" * 5000, "-1", "x"]
)
async def test_an_unknown_note_is_not_found(
    client: ClientSession, note_id: str
) -> None:
    assert await add(client) == 201
    async with client.get(f"notes/{note_id}") as response:
        assert response.status == 404
        assert "error" in await response.json()


# Bad input


BAD_NOTES = [
    "{}",
    '{"text": ""}',
    json.dumps({"text": "x" * 1001}),
    '{"text": 1}',
    '{"text": true}',
    '{"text": null}',
    '{"text": NaN}',
    '{"text": ["x"]}',
    '{"text": {"text": "x"}}',
    '{"text": "\\ud800"}',
    '{"text": "x\\udfffx"}',
    '{"text": 99999999999999999999}',
    '"text"',
    '["text"]',
    "null",
    "1",
]


@pytest.mark.parametrize("note", BAD_NOTES, ids=lambda note: note[:30])
async def test_a_bad_note_is_refused(client: ClientSession, note: str) -> None:
    async with client.post("notes", data=note) as response:
        assert response.status == 400
        reason = (await response.json())["error"]
    assert reason == "text must have 1 to 1000 characters"
    assert await texts(client) == []


@pytest.mark.parametrize("target", ["notes", "notes/batch"])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"{", {}),
        (b'{"text": "\xff"}', {}),
        (b"[" * 100_000, {}),
        (b"9" * 5000, {}),
        (b"{}", {"Content-Encoding": "gzip"}),
        pytest.param(
            gzip.compress(b'{"text": "x"}')[:-14],
            {"Content-Encoding": "gzip"},
            id="gzip-cut-short",
        ),
    ],
)
async def test_a_body_that_is_no_json_is_refused(
    client: ClientSession, target: str, body: bytes, headers: dict[str, str]
) -> None:
    async with client.post(target, data=body, headers=headers) as response:
        assert response.status == 400
        assert await response.json() == {"error": "the body must be JSON"}


async def test_a_body_that_does_not_inflate_is_refused(
    client: ClientSession,
) -> None:
    # Where all of it comes at once, aiohttp answers before the handler could.
    headers = {"Content-Encoding": "deflate"}
    async with client.post("notes", data=b"{}", headers=headers) as response:
        assert response.status == 400


async def test_a_large_body_is_refused(client: ClientSession) -> None:
    body = BytesIO(b" " * (2**20 + 1))
    async with client.post("notes", data=body) as response:
        assert response.status == 413
        assert "error" in await response.json()


@pytest.mark.parametrize(
    "limit",
    ["0", "101", "-1", "", "x", "1.5", "1_0", "+5", "%D9%A3", "%205", "5%0A"],
)
async def test_a_limit_is_a_number_from_1_to_100(
    client: ClientSession, limit: str
) -> None:
    async with client.get(f"notes?limit={limit}") as response:
        assert response.status == 400
        assert "limit" in (await response.json())["error"]


async def test_a_limit_is_given_once(client: ClientSession) -> None:
    async with client.get("notes?limit=5&limit=6") as response:
        assert response.status == 400


async def test_a_wrong_method_is_told_the_right_one(
    client: ClientSession,
) -> None:
    async with client.get("notes/batch") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert "error" in await response.json()


# Isolation


async def test_a_write_waits_until_the_one_before_has_ended(
    slow: Slow, client: ClientSession
) -> None:
    slow.refuse = True
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        refused = tasks.create_task(post(client, "slow"))
        await slow.entered.wait()
        confirmed = tasks.create_task(add(client))
        # Reads go on, and see no half of a transaction.
        assert await texts(client) == []
        slow.go_on.set()
        assert await confirmed == 201
        assert slow.ended.is_set()
        assert await refused == 409
    assert await texts(client) == ["milk"]


async def test_a_write_whose_turn_does_not_come_is_refused(
    slow: Slow, client: ClientSession
) -> None:
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        confirmed = tasks.create_task(post(client, "slow"))
        await slow.entered.wait()
        async with client.post("notes", json={"text": "milk"}) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert "error" in await response.json()
        slow.go_on.set()
        # It took longer than a write may wait: only waits are bounded.
        assert await confirmed == 201
    assert await texts(client) == ["slow"]


async def test_a_write_that_an_error_ended_is_not_confirmed(
    swallow: None, client: ClientSession
) -> None:
    async with client.post("swallow") as response:
        assert response.status == 500
    assert await texts(client) == []
    assert await add(client) == 201


async def test_the_reader_cannot_write(
    client: ClientSession, application: web.Application
) -> None:
    reader = application[database.DATABASE].opened.reader
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await reader.execute(database.INSERT, ["x"])
    assert await texts(client) == []


# Clients that leave


async def test_a_client_may_leave_at_any_moment(
    path: Path, cancelling: Server
) -> None:
    async with (
        asyncio.timeout(TIMEOUT),
        ClientSession(cancelling.url) as client,
    ):
        for turns in range(80):
            pair = {"notes": [{"text": f"{turns}"}, {"text": f"{turns}b"}]}
            moment = asyncio.create_task(pass_turns(turns))
            await leave(cancelling, "notes/batch", pair, when=moment)
            assert await add(client, f"{turns} stays") == 201
    await cancelling.stop()
    rows = set(stored(path))
    for turns in range(80):
        assert f"{turns} stays" in rows
        assert (f"{turns}" in rows) == (f"{turns}b" in rows)


async def pass_turns(turns: int) -> None:
    """Let the loop turn: there is a call of a transaction in each few."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_a_client_that_leaves_while_it_waits_keeps_nobody_waiting(
    path: Path, cancelling: Server
) -> None:
    async with ClientSession(cancelling.url) as client:
        async with locked(path), asyncio.TaskGroup() as tasks:
            for number in range(5):
                left = leave(cancelling, "notes", {"text": f"left {number}"})
                tasks.create_task(left)
        async with asyncio.timeout(TIMEOUT):
            while await add(client) != 201:
                pass
        assert (await texts(client))[0] == "milk"


async def test_what_is_confirmed_is_stored_and_what_is_refused_is_not(
    slow: Slow, path: Path, cancelling: Server
) -> None:
    confirmed, refused, left = set[str](), set[str](), set[str]()
    slow.refuse = True
    slow.go_on.set()

    async def write(client: ClientSession, name: str) -> None:
        for turn in range(10):
            text = f"{name}.{turn}"
            pair = {"notes": [{"text": text}, {"text": f"{text}b"}]}
            if turn % 5 == 0:
                left.update((text, f"{text}b"))
                await leave(cancelling, "notes/batch", pair)
            elif turn % 5 == 1:
                refused.add("slow")
                assert await post(client, "slow") in {409, 503}
            elif turn % 5 == 2:
                pair["notes"].append({"text": ""})
                assert await post(client, "notes/batch", pair) == 400
                refused.update((text, f"{text}b"))
            elif turn % 5 == 3:
                status = await post(client, "notes/batch", pair)
                known = confirmed if status == 201 else refused
                known.update((text, f"{text}b"))
            else:
                status = await add(client, text)
                (confirmed if status == 201 else refused).add(text)

    async with (
        ClientSession(cancelling.url) as client,
        asyncio.timeout(6 * TIMEOUT),
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(64):
            tasks.create_task(write(client, str(number)))
    await cancelling.stop()
    rows = stored(path)
    assert len(set(rows)) == len(rows)
    assert confirmed <= set(rows)
    assert not refused & set(rows)
    halves = left & set(rows)
    assert {text.rstrip("b") for text in halves} == {
        text for text in halves if not text.endswith("b")
    }
    assert len(halves) % 2 == 0


# Faults


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
async def test_reads_go_on_while_another_process_writes(
    client: ClientSession, path: Path, begin: str
) -> None:
    assert await add(client, "before") == 201
    async with locked(path, begin), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(
            client.post("notes", json={"text": "refused"})
        )
        for _ in range(10):
            assert await texts(client) == ["before"]
        assert not waiting.done()
        async with asyncio.timeout(3), await waiting as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert "error" in await response.json()
    assert await add(client, "after") == 201
    assert await texts(client) == ["after", "before"]


async def test_no_writer_waits_for_all_the_others(
    client: ClientSession, path: Path
) -> None:
    async with locked(path), asyncio.timeout(3):
        statuses = await asyncio.gather(*(add(client) for _ in range(64)))
    assert statuses == [503] * 64
    assert await texts(client) == []


async def test_a_full_database_refuses_writes_and_is_still_read(
    client: ClientSession, application: web.Application
) -> None:
    await limit_pages(application, 8)
    confirmed: list[str] = []
    while await add(client, text := f"{len(confirmed)}".ljust(1000)) == 201:
        confirmed.append(text)
    batch = {"notes": [{"text": "half"}, {"text": "x" * 1000}] * 50}
    async with client.post("notes/batch", json=batch) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
    assert await texts(client) == confirmed[::-1]
    await limit_pages(application, 1000)
    assert await add(client, "after") == 201
    assert await texts(client) == ["after", *confirmed[::-1]]


async def limit_pages(app: web.Application, pages: int) -> None:
    writer = app[database.DATABASE].opened.writer
    await writer.execute_fetchall(f"PRAGMA max_page_count = {pages}")


async def test_a_disk_that_takes_no_more_refuses_writes_and_is_still_read(
    client: ClientSession, path: Path
) -> None:
    assert await add(client, "before") == 201
    log = path.with_name(f"{path.name}-wal")
    with file_size_limit(log.stat().st_size + 100):
        assert await add(client, "refused") == 503
        assert await add(client, "refused") == 503
        assert await texts(client) == ["before"]
    assert await add(client, "after") == 201
    assert await texts(client) == ["after", "before"]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let the system refuse to make any file larger than `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_broken_file_is_reported(
    serve: Serve, application: web.Application, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(database.SCHEMA)
        [page_size] = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek(page_size)
        file.write(b"\xff" * page_size)
    server = await serve(application)
    async with ClientSession(server.url) as client:
        async with client.get("notes") as response:
            assert response.status == 503
            assert "error" in await response.json()
        assert await add(client) == 503


# Start and end


async def test_a_database_that_is_locked_at_the_start_is_opened_later(
    serve: Serve, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with locked(path, "BEGIN EXCLUSIVE"):
        server = await serve(database.create_app(database=path))
        async with ClientSession(server.url) as client:
            for target in ("answer", "notes"):
                async with client.get(target) as response:
                    assert response.status == 503
                    assert response.headers["Retry-After"] == "1"
                    assert "not open yet" in await response.text()
            assert await add(client) == 503
    async with asyncio.timeout(TIMEOUT), ClientSession(server.url) as client:
        while await add(client) != 201:
            pass
        assert await texts(client) == ["milk"]
    assert caplog.text.count(f"cannot open {path}: ") == 1
    assert f"opened {path} after all" in caplog.text


async def test_a_folder_that_is_missing_at_the_start_may_come_later(
    serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    server = await serve(database.create_app(database=folder / "notes.db"))
    async with asyncio.timeout(TIMEOUT), ClientSession(server.url) as client:
        assert await add(client) == 503
        folder.mkdir()
        while await add(client) != 201:
            pass


async def test_a_mistake_keeps_it_from_starting_and_is_logged(
    path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(database, "SCHEMA", "CREATE TABEL notes (id)")
    with pytest.raises(sqlite3.OperationalError, match="TABEL"):
        await serve(database.create_app(database=path))
    assert f"a mistake keeps {path} closed" in caplog.text


async def test_a_timeout_that_is_not_of_the_database_is_not_called_busy(
    client: ClientSession, application: web.Application
) -> None:
    async with client.get("upstream") as response:
        assert response.status == 504


async def test_an_end_before_it_could_be_opened_leaves_no_thread(
    serve: Serve, path: Path
) -> None:
    before = set(threading.enumerate())
    async with locked(path, "BEGIN EXCLUSIVE"), asyncio.timeout(TIMEOUT):
        server = await serve(database.create_app(database=path))
        await server.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


async def test_a_commit_waits_for_the_disk(
    client: ClientSession, application: web.Application
) -> None:
    writer = application[database.DATABASE].opened.writer
    # 2 is FULL. No test can cut the power, and a kill loses nothing less safe.
    [[level]] = await writer.execute_fetchall("PRAGMA synchronous")
    assert level == 2
    assert await add(client) == 201


async def test_what_is_confirmed_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    confirmed = list[str]()

    async def write(client: ClientSession, name: str, enough: int) -> None:
        while True:
            text = f"{name} {len(confirmed)}"
            try:
                assert await add(client, text) == 201
            except ClientConnectionError:
                break
            confirmed.append(text)
            if len(confirmed) == enough:
                process.process.kill()

    for life in range(3):
        enough = len(confirmed) + 50
        async with (
            forked(SCRIPT, cwd=tmp_path, DATABASE=str(path)) as process,
            ClientSession(f"http://127.0.0.1:{process.port}/") as client,
            asyncio.timeout(TIMEOUT),
            asyncio.TaskGroup() as tasks,
        ):
            for number in range(8):
                tasks.create_task(write(client, f"{life}.{number}", enough))
    assert set(confirmed) <= set(stored(path))
