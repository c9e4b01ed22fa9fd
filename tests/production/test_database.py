"""Proofs for recipes/production/database.py, beside those of the answer."""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from aiohttp import ClientConnectionError, ClientSession, web
from psycopg.errors import SerializationFailure, UniqueViolation
from psycopg.sql import SQL, Identifier
from yarl import URL

from recipes.production import database
from tests.conftest import KillablePostgres, Serve, at_length, in_turn
from tests.faults import PIECE, Network
from tests.servers import (
    PATIENCE,
    ROOT,
    TIMEOUT,
    Server,
    forked,
    run_to_its_end,
)
from tests.test_database import Slow, until_open

SCRIPT = ROOT / "recipes" / "production" / "database.py"


@pytest.fixture
def application(postgres_url: str) -> web.Application:
    return database.create_app(postgres_url=postgres_url)


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
        async with database.transaction(request.app) as connection:
            await insert(connection, "half")
            with pytest.raises(UniqueViolation):
                await connection.execute(
                    "INSERT INTO notes (id, text) OVERRIDING SYSTEM VALUE "
                    "SELECT id, text FROM notes"
                )
        return web.json_response({}, status=201)

    application.router.add_post("/swallow", handle)


async def insert(connection: database.Connection, text: str) -> None:
    await connection.execute(database.INSERT, {"texts": [text], "key": None})


async def post(
    client: ClientSession, target: str, body: object = None, **headers: str
) -> int:
    async with client.post(target, json=body, headers=headers) as response:
        return response.status


async def add(client: ClientSession, text: str = "milk") -> int:
    return await post(client, "notes", {"text": text})


async def texts(client: ClientSession) -> list[str]:
    async with client.get("notes?limit=100") as response:
        assert response.status == 200
        return [note["text"] for note in (await response.json())["notes"]]


def stored(postgres_url: str) -> list[str]:
    return [text for (text,) in ask(postgres_url, "SELECT text FROM notes")]


def ask(postgres_url: str, query: LiteralString) -> list[Any]:
    """Ask in a session of our own."""
    with psycopg.connect(postgres_url) as connection:
        return connection.execute(query).fetchall()


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
    ["x", "x" * 1000, "\N{PILE OF POO}" * 1000, "\n", "'); DROP TABLE"],
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
    '{"text": "a\\u0000b"}',
    '{"text": 99999999999999999999}',
    '"text"',
    '["text"]',
    "null",
    "1",
]


@in_turn("note", BAD_NOTES)
async def test_a_bad_note_is_refused(client: ClientSession, note: str) -> None:
    async with client.post("notes", data=note) as response:
        assert response.status == 400
        reason = (await response.json())["error"]
    assert reason == "text must have 1 to 1000 characters"
    assert await texts(client) == []


@pytest.mark.parametrize("target", ["notes", "notes/batch"])
@in_turn(
    "body, headers",
    [
        (b"", {}),
        (b"{", {}),
        (b'{"text": "\xff"}', {}),
        (b"[" * 100_000, {}),
        (b"9" * 5000, {}),
        (b"{}", {"Content-Encoding": "gzip"}),
        # Cut short.
        (
            gzip.compress(b'{"text": "x"}')[:-14],
            {"Content-Encoding": "gzip"},
        ),
    ],
)
async def test_a_body_that_is_no_json_is_refused(
    client: ClientSession, target: str, body: bytes, headers: dict[str, str]
) -> None:
    # aiohttp may close the connection of a body that does not inflate.
    headers = {**headers, "Connection": "close"}
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


@in_turn(
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


async def test_two_requests_write_at_once_and_are_isolated(
    slow: Slow, client: ClientSession
) -> None:
    slow.refuse = True
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        refused = tasks.create_task(post(client, "slow"))
        await slow.entered.wait()
        assert await add(client) == 201
        assert not slow.ended.is_set()
        # Nobody sees the half of a transaction.
        assert await texts(client) == ["milk"]
        slow.go_on.set()
        assert await refused == 409
    assert await texts(client) == ["milk"]


@pytest.mark.slow("it waits for a limit")
async def test_a_write_waits_for_a_connection_with_a_limit(
    slow: Slow, client: ClientSession
) -> None:
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        confirmed = [
            tasks.create_task(post(client, "slow"))
            for _ in range(database.MAX_CONNECTIONS)
        ]
        while slow.inside < database.MAX_CONNECTIONS:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        async with client.post("notes", json={"text": "milk"}) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert "error" in await response.json()
        slow.go_on.set()
        # They took longer than a request may wait: only waits are bounded.
        assert set(await asyncio.gather(*confirmed)) == {201}
    assert await texts(client) == ["slow"] * database.MAX_CONNECTIONS


async def test_a_connection_that_answers_is_not_cut(
    serve: Serve, application: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database.Connection, "silence", 1.5)
    await serve(application)
    async with database.transaction(application) as connection:
        # Together they take longer than each may.
        for _ in range(4):
            await connection.execute("SELECT pg_sleep(0.5)")


async def test_a_queue_that_is_full_refuses_at_once(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, postgres_url: str
) -> None:
    monkeypatch.setattr(database, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(database, "MAX_WAITING", 1)
    monkeypatch.setattr(database, "CONNECTION_WAIT", TIMEOUT)
    app = database.create_app(postgres_url=postgres_url)
    slow = Slow(app, database)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        asyncio.timeout(TIMEOUT),
        asyncio.TaskGroup() as tasks,
    ):
        first = tasks.create_task(post(client, "slow"))
        await slow.entered.wait()
        others = [tasks.create_task(add(client)) for _ in range(5)]
        while sum(each.done() for each in others) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        slow.go_on.set()
        assert await first == 201
        statuses = sorted([await each for each in others])
    assert statuses == [201, 503, 503, 503, 503]


async def test_a_write_that_an_error_ended_is_not_confirmed(
    swallow: None, client: ClientSession
) -> None:
    assert await add(client, "before") == 201
    async with client.post("swallow") as response:
        assert response.status == 500
    assert await texts(client) == ["before"]
    assert await add(client) == 201


async def test_a_rollback_gives_back_a_clean_connection(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, postgres_url: str
) -> None:
    monkeypatch.setattr(database, "MAX_CONNECTIONS", 1)
    app = database.create_app(postgres_url=postgres_url)
    slow = Slow(app, database)
    slow.refuse = True
    slow.go_on.set()
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for _ in range(3):
            assert await post(client, "slow") == 409
            assert await add(client) == 201
    assert stored(postgres_url) == ["milk"] * 3


# Transactions that PostgreSQL rolls back


async def test_a_deadlock_is_tried_again(
    client: ClientSession,
    application: web.Application,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        assert await add(client) == 201
    both = asyncio.Barrier(2)
    runs = count()

    async def change(first: int, second: int) -> None:
        query = "UPDATE notes SET text = text || %s WHERE id = %s"

        async def work(connection: database.Connection) -> None:
            await connection.execute(query, [str(first), first])
            if next(runs) < 2:
                await both.wait()
            await connection.execute(query, [str(first), second])

        await database.in_transaction(application, work)

    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        tasks.create_task(change(1, 2))
        tasks.create_task(change(2, 1))
    assert (
        caplog.text.count("attempt 1 of a transaction: DeadlockDetected") == 1
    )
    assert {"".join(sorted(text)) for text in await texts(client)} == {
        "".join(sorted("milk12"))
    }


async def test_a_serialization_failure_is_tried_again(
    client: ClientSession,
    application: web.Application,
    postgres_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    both = asyncio.Barrier(2)
    runs = count()

    async def work(connection: database.Connection) -> None:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        cursor = await connection.execute("SELECT count(*) FROM notes")
        [row] = await cursor.fetchall()
        is_first = next(runs) < 2
        if is_first:
            await both.wait()
        await insert(connection, str(row["count"]))
        if is_first:
            # Both have written, so it is the second COMMIT that fails.
            await both.wait()

    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(database.in_transaction(application, work))
    assert "attempt 1 of a transaction: SerializationFailure" in caplog.text
    assert await texts(client) == ["1", "0"]


async def test_a_transaction_is_tried_a_few_times(
    client: ClientSession, application: web.Application
) -> None:
    runs = count(1)

    async def work(connection: database.Connection) -> None:
        next(runs)
        await connection.execute(raising("40001"))

    with pytest.raises(SerializationFailure):
        await database.in_transaction(application, work)
    assert next(runs) == database.ATTEMPTS + 1


def raising(code: LiteralString) -> LiteralString:
    """A statement with which PostgreSQL reports what we cannot bring about."""
    return "DO $$ BEGIN RAISE SQLSTATE '" + code + "'; END $$"


# Keys


async def test_a_request_that_is_repeated_is_stored_once(
    client: ClientSession,
) -> None:
    key = {"Idempotency-Key": "k"}
    answers = []
    for _ in range(2):
        async with client.post(
            "notes", json={"text": "milk"}, headers=key
        ) as response:
            assert response.status == 201
            answers.append(
                (await response.json(), response.headers["Location"])
            )
    assert answers[0] == answers[1]
    assert await texts(client) == ["milk"]


async def test_a_batch_that_is_repeated_at_once_is_stored_once(
    client: ClientSession,
) -> None:
    batch = {"notes": [{"text": "a"}, {"text": "b"}]}

    async def store() -> list[int]:
        async with client.post(
            "notes/batch", json=batch, headers={"Idempotency-Key": "k"}
        ) as response:
            assert response.status == 201
            ids: list[int] = (await response.json())["ids"]
        return ids

    answers = await asyncio.gather(*(store() for _ in range(8)))
    assert all(ids == answers[0] for ids in answers)
    assert await texts(client) == ["b", "a"]


@pytest.mark.parametrize("other", [["tea"], ["milk", "tea"], ["milk"] * 2])
async def test_a_key_belongs_to_its_notes(
    client: ClientSession, other: list[str]
) -> None:
    key = {"Idempotency-Key": "k"}
    assert await post(client, "notes", {"text": "milk"}, **key) == 201
    batch = {"notes": [{"text": text} for text in other]}
    async with client.post("notes/batch", json=batch, headers=key) as response:
        assert response.status == 422
        assert "other notes" in (await response.json())["error"]
    assert await texts(client) == ["milk"]


@pytest.mark.parametrize("key", ["", "x" * 201, "a b", "\xe9"])
async def test_a_bad_key_is_refused(client: ClientSession, key: str) -> None:
    body = {"text": "milk"}
    async with client.post(
        "notes", json=body, headers={"Idempotency-Key": key}
    ) as response:
        assert response.status == 400
        assert "error" in await response.json()
    longest = {"Idempotency-Key": "x" * 200}
    assert await post(client, "notes", body, **longest) == 201


async def test_a_key_is_given_once(client: ClientSession) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    async with client.post(
        "notes", json={"text": "milk"}, headers=headers
    ) as response:
        assert response.status == 400


# A COMMIT whose answer is lost


ANSWER = b"C\0\0\0\x0bCOMMIT\0"
"""What PostgreSQL says when a transaction is stored."""


class Wire(Network):
    """A network that is cut at a COMMIT, so many times."""

    cuts = 0
    arrives = True
    """Whether the COMMIT reaches the server, and only its answer is lost."""
    stays_cut = False

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lost = ANSWER if self.arrives else b"COMMIT\0"
        while data := await reader.read(PIECE):
            if self.cuts and lost in data:
                self.cuts -= 1
                if self.stays_cut:
                    self.cut()
                return
            writer.write(data)


@pytest.fixture
async def wire(postgres_url: str) -> AsyncIterator[Wire]:
    """A wire to the server of a new database."""
    folder = URL(postgres_url).query["host"]
    wire = Wire(Path(folder, ".s.PGSQL.5432"))
    listener = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
    wire.port = listener.sockets[0].getsockname()[1]
    yield wire
    listener.close()
    await wire.close()


@pytest.fixture
async def wired(
    serve: Serve, wire: Wire, postgres_url: str
) -> AsyncIterator[ClientSession]:
    """A client of a worker at the other end of the wire."""
    app = database.create_app(postgres_url=wire.url_of(postgres_url))
    server = await serve(app)
    async with ClientSession(server.url) as client:
        yield client
    await server.stop()


@pytest.mark.parametrize("arrives", [True, False], ids=["stored", "lost"])
@pytest.mark.parametrize("cuts", [1, 2])
async def test_a_commit_whose_answer_is_lost_is_confirmed_and_stored_once(
    wired: ClientSession,
    wire: Wire,
    postgres_url: str,
    caplog: pytest.LogCaptureFixture,
    arrives: bool,
    cuts: int,
) -> None:
    wire.arrives = arrives
    wire.cuts = cuts
    assert await add(wired) == 201
    assert wire.cuts == 0
    assert stored(postgres_url) == ["milk"]
    assert "attempt 1 of a transaction: CommitUnknownError" in caplog.text


@pytest.mark.slow("an outage has to last")
@pytest.mark.parametrize("arrives", [True, False], ids=["stored", "lost"])
async def test_a_commit_of_which_nobody_knows_is_a_504_and_may_be_repeated(
    wired: ClientSession,
    wire: Wire,
    postgres_url: str,
    caplog: pytest.LogCaptureFixture,
    arrives: bool,
) -> None:
    key = {"Idempotency-Key": "k"}
    body = {"text": "milk"}
    wire.arrives = arrives
    wire.cuts = 1
    wire.stays_cut = True
    async with wired.post("notes", json=body, headers=key) as response:
        assert response.status == 504
        assert "Retry-After" not in response.headers
        assert "not known" in (await response.json())["error"]
    assert "it is not known whether this is stored: " in caplog.text
    assert stored(postgres_url) == ["milk"] * arrives
    wire.mend()
    async with asyncio.timeout(TIMEOUT):
        while await post(wired, "notes", body, **key) != 201:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert stored(postgres_url) == ["milk"]


async def test_the_pauses_of_the_pool_do_not_grow(
    serve: Serve, application: web.Application
) -> None:
    # What this is good for is tried at length in the next test.
    await serve(application)
    assert application[database.POOL].reconnect_timeout <= 1


@pytest.mark.full("an outage has to last")
@pytest.mark.slow("an outage has to last")
async def test_a_long_outage_is_over_when_it_is_over(
    wired: ClientSession, wire: Wire
) -> None:
    assert await add(wired) == 201
    wire.cut()
    # The pauses of a pool that doubles them would be 8 s by then.
    for _ in range(9):
        assert await add(wired) == 503
    wire.mend()
    async with asyncio.timeout(TIMEOUT / 2):
        while await add(wired) != 201:
            pass


async def test_a_transaction_that_is_tried_again_may_be_refused_for_good(
    wired: ClientSession, wire: Wire, postgres_url: str
) -> None:
    key = {"Idempotency-Key": "k"}
    assert await post(wired, "notes", {"text": "milk"}, **key) == 201
    wire.cuts = 1
    assert await post(wired, "notes", {"text": "tea"}, **key) == 422
    assert stored(postgres_url) == ["milk"]


# Clients that leave


@pytest.mark.unmeasured("it repeats")
@pytest.mark.parametrize("step", [4, at_length(1)])
async def test_a_client_may_leave_at_any_moment(
    postgres_url: str, cancelling: Server, step: int
) -> None:
    async with (
        asyncio.timeout(TIMEOUT),
        ClientSession(cancelling.url) as client,
    ):
        for turns in range(0, 80, step):
            pair = {"notes": [{"text": f"{turns}"}, {"text": f"{turns}b"}]}
            moment = asyncio.create_task(pass_turns(turns))
            await leave(cancelling, "notes/batch", pair, when=moment)
            assert await add(client, f"{turns} stays") == 201
    await cancelling.stop()
    rows = set(stored(postgres_url))
    for turns in range(0, 80, step):
        assert f"{turns} stays" in rows
        assert (f"{turns}" in rows) == (f"{turns}b" in rows)


async def pass_turns(turns: int) -> None:
    """Let the loop turn: there is a call of a transaction in each few."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_a_client_that_leaves_while_it_waits_keeps_nobody_waiting(
    postgres_url: str, cancelling: Server
) -> None:
    async with ClientSession(cancelling.url) as client:
        async with locked(postgres_url), asyncio.TaskGroup() as tasks:
            for number in range(5):
                left = leave(cancelling, "notes", {"text": f"left {number}"})
                tasks.create_task(left)
        assert await add(client) == 201
    await cancelling.stop()
    states: LiteralString = (
        "SELECT state FROM pg_stat_activity WHERE state ~ 'transaction' "
        "AND datname = current_database()"
    )
    async with asyncio.timeout(TIMEOUT):
        # One that was closed ends a little later.
        while ask(postgres_url, states):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def locked(
    postgres_url: str, lock: LiteralString = "LOCK TABLE notes"
) -> AsyncIterator[None]:
    """Another session holds a lock."""
    async with await psycopg.AsyncConnection.connect(postgres_url) as other:
        await other.execute(lock)
        yield
        await other.rollback()


WRITERS_ONLY: LiteralString = "LOCK TABLE notes IN EXCLUSIVE MODE"


@pytest.mark.slow("it repeats")
@pytest.mark.unmeasured("it repeats")
@pytest.mark.parametrize("writers", [16, at_length(64)])
async def test_what_is_confirmed_is_stored_and_what_is_refused_is_not(
    slow: Slow, postgres_url: str, cancelling: Server, writers: int
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
        for number in range(writers):
            tasks.create_task(write(client, str(number)))
    await cancelling.stop()
    rows = stored(postgres_url)
    assert len(set(rows)) == len(rows)
    assert confirmed <= set(rows)
    assert not refused & set(rows)
    halves = left & set(rows)
    assert {text.rstrip("b") for text in halves} == {
        text for text in halves if not text.endswith("b")
    }
    assert len(halves) % 2 == 0


# Faults


@pytest.mark.slow("it waits for a limit")
async def test_reads_go_on_while_another_session_writes(
    client: ClientSession,
    postgres_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await add(client, "before") == 201
    async with locked(postgres_url, WRITERS_ONLY), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(
            client.post("notes", json={"text": "refused"})
        )
        for _ in range(3):
            assert await texts(client) == ["before"]
        assert not waiting.done()
        async with asyncio.timeout(TIMEOUT), await waiting as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert "busy" in (await response.json())["error"]
    assert "the database is busy: LockNotAvailable" in caplog.text
    assert await add(client, "after") == 201
    assert await texts(client) == ["after", "before"]


@pytest.fixture
def few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker have two connections; has to come before `client`."""
    monkeypatch.setattr(database, "MAX_CONNECTIONS", 2)


@pytest.mark.slow("it waits for a limit")
@pytest.mark.full("the same at length", server="mounted")
async def test_no_writer_waits_for_all_the_others(
    few_connections: None, client: ClientSession, postgres_url: str
) -> None:
    # Two at a time, they would take half a minute.
    async with locked(postgres_url), asyncio.timeout(TIMEOUT):
        statuses = await asyncio.gather(*(add(client) for _ in range(64)))
    assert statuses == [503] * 64
    assert await texts(client) == []


async def test_a_statement_that_takes_too_long_is_ended(
    application: web.Application, serve: Serve
) -> None:
    async def sleep(request: web.Request) -> web.Response:
        return web.json_response(
            await database.fetch(request.app, "SELECT pg_sleep(60)")
        )

    application.router.add_get("/sleep", sleep)
    server = await serve(application)
    async with asyncio.timeout(TIMEOUT), ClientSession(server.url) as client:
        async with client.get("sleep") as response:
            assert response.status == 503
            assert "too slow" in (await response.json())["error"]
        assert await add(client) == 201


OUTAGES: dict[LiteralString, str] = {
    "08006": "not ready",
    "25006": "read-only",
    "40001": "busy",
    "53100": "disk",
    "55P03": "busy",
    "57P01": "not ready",
    "58030": "disk",
}


@pytest.mark.parametrize("code", OUTAGES)
async def test_an_outage_is_a_503_that_is_logged_with_its_cause(
    application: web.Application,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    code: LiteralString,
) -> None:
    async def handle(request: web.Request) -> web.Response:
        async def work(connection: database.Connection) -> None:
            await insert(connection, "half")
            await connection.execute(raising(code))

        await database.in_transaction(request.app, work)
        raise AssertionError("it was stored")

    application.router.add_post("/fail", handle)
    server = await serve(application)
    async with ClientSession(server.url) as client:
        async with client.post("fail") as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            reason = (await response.json())["error"]
        assert OUTAGES[code] in reason
        assert f"{reason}: " in caplog.text
        assert await texts(client) == []


@pytest.mark.parametrize("code", ["22012", "23505", "42P01", "XX000"])
async def test_a_mistake_of_the_program_is_a_500(
    application: web.Application, serve: Serve, code: LiteralString
) -> None:
    async def handle(request: web.Request) -> web.Response:
        rows = await database.fetch(request.app, raising(code))
        return web.json_response(rows)

    application.router.add_post("/fail", handle)
    server = await serve(application)
    async with ClientSession(server.url) as client:
        assert await post(client, "fail") == 500
        assert await add(client) == 201


async def test_a_timeout_that_is_not_of_the_database_is_not_called_busy(
    client: ClientSession, application: web.Application
) -> None:
    async with client.get("upstream") as response:
        assert response.status == 504


async def test_connections_that_the_server_has_ended_are_replaced(
    client: ClientSession, postgres_url: str
) -> None:
    await asyncio.gather(*(add(client) for _ in range(8)))
    ended = ask(
        postgres_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'notes' AND datname = current_database()",
    )
    assert len(ended) > 1
    assert await asyncio.gather(*(add(client) for _ in range(8))) == [201] * 8


# The server is away


@pytest.fixture
async def shaky(
    serve: Serve, killable_postgres: KillablePostgres
) -> AsyncIterator[ClientSession]:
    """A client of a worker whose server a test can end."""
    app = database.create_app(postgres_url=killable_postgres.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        await until_open(client)
        yield client


async def refused(client: ClientSession) -> str:
    """Check that a write and a read are a 503, and return the reason."""
    async with asyncio.timeout(2 * TIMEOUT):
        async with client.get("notes") as response:
            assert response.status == 503
        async with client.post("notes", json={"text": "refused"}) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            reason: str = (await response.json())["error"]
    return reason


async def recovered(client: ClientSession) -> None:
    async with asyncio.timeout(TIMEOUT):
        while await add(client, "after") != 201:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_start_does_not_wait_where_nobody_listens(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CONNECTION_WAIT", 3600)
    url = f"postgresql:///notes?host={tmp_path}"
    async with asyncio.timeout(TIMEOUT):
        await serve(database.create_app(postgres_url=url))


@pytest.mark.slow("it starts a server")
async def test_a_server_that_is_away_at_the_start_may_come_later(
    serve: Serve,
    killable_postgres: KillablePostgres,
    caplog: pytest.LogCaptureFixture,
) -> None:
    killable_postgres.stop()
    app = database.create_app(postgres_url=killable_postgres.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        assert "make cluster" in await refused(client)
        await asyncio.to_thread(killable_postgres.start)
        await recovered(client)
        assert await texts(client) == ["after"]
    reasons = re.findall("the database is not open yet: .*", caplog.text)
    assert len(reasons) == len(set(reasons))
    assert "the database is open after all" in caplog.text


async def test_a_server_that_is_read_only_at_the_start_may_be_written_to_later(
    serve: Serve, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    # As one is that takes over after a failover, for its first seconds.
    name = str(URL(postgres_url).path).removeprefix("/")
    set_read_only(postgres_url, name, "on")
    try:
        server = await serve(database.create_app(postgres_url=postgres_url))
        async with ClientSession(server.url) as client:
            assert "make cluster" in await refused(client)
            async with asyncio.timeout(TIMEOUT):
                while "not open yet" not in caplog.text:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            set_read_only(postgres_url, name, "off")
            await recovered(client)
    finally:
        set_read_only(postgres_url, name, "off")
    assert "Traceback" not in caplog.text


def set_read_only(url: str, name: str, value: LiteralString) -> None:
    options = "-c default_transaction_read_only=off"
    with psycopg.connect(url, autocommit=True, options=options) as connection:
        statement = SQL(
            "ALTER DATABASE {} SET default_transaction_read_only={}"
        )
        connection.execute(statement.format(Identifier(name), SQL(value)))


@pytest.mark.slow("it starts a server")
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_server_that_ends_is_a_503_until_it_is_back(
    shaky: ClientSession, killable_postgres: KillablePostgres, how: str
) -> None:
    assert await add(shaky, "before") == 201
    await asyncio.to_thread(getattr(killable_postgres, how))
    assert "make cluster" in await refused(shaky)
    await asyncio.to_thread(killable_postgres.start)
    await recovered(shaky)
    assert await texts(shaky) == ["after", "before"]


@pytest.mark.slow("it starts a server")
async def test_a_frozen_server_keeps_nobody_waiting(
    shaky: ClientSession, killable_postgres: KillablePostgres
) -> None:
    assert await add(shaky, "before") == 201
    killable_postgres.freeze()
    await refused(shaky)
    killable_postgres.thaw()
    await recovered(shaky)
    assert await texts(shaky) == ["after", "before"]


@pytest.mark.slow("it starts a server")
async def test_a_server_that_freezes_in_a_transaction_stores_nothing_refused(
    serve: Serve, killable_postgres: KillablePostgres
) -> None:
    app = database.create_app(postgres_url=killable_postgres.url)
    slow = Slow(app, database)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        asyncio.timeout(2 * TIMEOUT),
        asyncio.TaskGroup() as tasks,
    ):
        confirmed = tasks.create_task(post(client, "slow"))
        await slow.entered.wait()
        killable_postgres.freeze()
        slow.go_on.set()
        # Its COMMIT waits in the kernel: the server runs it when it thaws.
        assert await confirmed == 504
        killable_postgres.thaw()
        await recovered(client)


@pytest.mark.full("gentler than a kill", how="stop")
@pytest.mark.unmeasured("it repeats")
@pytest.mark.slow("it starts a server")
@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("restarts", [1, at_length(3)])
async def test_a_restart_under_load_loses_nothing_and_stores_nothing_refused(
    serve: Serve, killable_postgres: KillablePostgres, how: str, restarts: int
) -> None:
    url = killable_postgres.url
    servers = [
        await serve(database.create_app(postgres_url=url)) for _ in range(2)
    ]
    confirmed, unconfirmed, unknown = set[str](), set[str](), set[str]()
    is_over = asyncio.Event()

    async def write(client: ClientSession, name: str) -> None:
        for turn in count():
            if is_over.is_set():
                return
            text = f"{name}.{turn}"
            status = await add(client, text)
            kinds = {201: confirmed, 503: unconfirmed, 504: unknown}
            kinds[status].add(text)
            if status != 201:
                await asyncio.sleep(0.05)

    async with (
        ClientSession(servers[0].url) as one,
        ClientSession(servers[1].url) as other,
        asyncio.timeout(6 * TIMEOUT),
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(8):
            tasks.create_task(write(one, f"{number}a"))
            tasks.create_task(write(other, f"{number}b"))
        for _ in range(restarts):
            enough = len(confirmed) + 100
            while len(confirmed) < enough:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.to_thread(getattr(killable_postgres, how))
            await asyncio.to_thread(killable_postgres.start)
        await recovered(one)
        await recovered(other)
        is_over.set()
    rows = stored(url)
    assert len(rows) - rows.count("after") == len(set(rows) - {"after"})
    assert confirmed <= set(rows)
    assert not unconfirmed & set(rows)
    assert set(rows) - {"after"} <= confirmed | unknown


@pytest.mark.slow("it starts a server")
async def test_what_is_confirmed_survives_the_kill_of_a_worker(
    tmp_path: Path, postgres_url: str
) -> None:
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
            forked(SCRIPT, cwd=tmp_path, POSTGRES_URL=postgres_url) as process,
            ClientSession(f"http://127.0.0.1:{process.port}/") as client,
            asyncio.timeout(3 * TIMEOUT),
            asyncio.TaskGroup() as tasks,
        ):
            await until_open(client)
            for number in range(8):
                tasks.create_task(write(client, f"{life}.{number}", enough))
            tasks.create_task(process.process.wait())
    rows = stored(postgres_url)
    assert set(confirmed) <= set(rows)
    assert len(rows) == len(set(rows))


# The schema


async def test_workers_that_start_at_once_migrate_once(
    serve: Serve,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Each waits for those before it, and a busy machine takes its time.
    monkeypatch.setattr(database, "CONNECTION_WAIT", TIMEOUT)
    apps = [database.create_app(postgres_url=postgres_url) for _ in range(8)]
    servers = await asyncio.gather(*map(serve, apps))
    for server in servers:
        async with ClientSession(server.url) as client:
            assert await add(client) == 201
    for number in range(1, len(database.MIGRATIONS) + 1):
        assert caplog.text.count(f"migration {number} is done") == 1
    assert "not open yet" not in caplog.text


async def test_a_newer_version_keeps_what_is_stored(
    serve: Serve, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations = database.MIGRATIONS
    with monkeypatch.context() as older:
        older.setattr(database, "MIGRATIONS", migrations[:1])
        await serve(database.create_app(postgres_url=postgres_url))
        with psycopg.connect(postgres_url) as connection:
            connection.execute("INSERT INTO notes (text) VALUES ('old')")
    server = await serve(database.create_app(postgres_url=postgres_url))
    async with ClientSession(server.url) as client:
        assert await add(client, "new") == 201
        assert await texts(client) == ["new", "old"]
    at = ask(postgres_url, "SELECT at FROM notes_schema")
    assert len(at) == len(migrations)


WRONG = (*database.MIGRATIONS, "CREATE TABEL notes (id int)")
"""Migrations with a mistake in the last."""


async def test_a_mistake_in_a_migration_ends_the_start_and_changes_nothing(
    serve: Serve, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MIGRATIONS", WRONG)
    with pytest.raises(psycopg.errors.SyntaxError, match="TABEL"):
        await serve(database.create_app(postgres_url=postgres_url))
    query: LiteralString = "SELECT to_regclass('notes')"
    assert ask(postgres_url, query) == [(None,)]


async def test_a_role_that_may_create_no_tables_ends_the_start(
    serve: Serve, postgres_url: str
) -> None:
    name = Identifier(URL(postgres_url).path.strip("/"))
    begin = SQL("ALTER DATABASE {} SET role = no_creator").format(name)
    end = SQL("ALTER DATABASE {} RESET role").format(name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE no_creator")
        # Whoever connects from now on is that role.
        connection.execute(begin)
        try:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await serve(database.create_app(postgres_url=postgres_url))
            connection.execute("GRANT CREATE ON SCHEMA public TO no_creator")
            server = await serve(database.create_app(postgres_url=postgres_url))
            async with ClientSession(server.url) as client:
                assert await add(client) == 201
            await server.stop()
        finally:
            connection.execute(end)
            connection.execute("DROP OWNED BY no_creator")
            connection.execute("DROP ROLE no_creator")


@pytest.mark.slow("it starts a server")
async def test_a_role_that_may_create_no_tables_needs_no_restart_if_it_is_late(
    serve: Serve,
    killable_postgres: KillablePostgres,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = killable_postgres.url
    with psycopg.connect(url, autocommit=True) as connection:
        name = Identifier(connection.info.dbname)
        connection.execute("CREATE ROLE no_creator")
        connection.execute(
            SQL("ALTER DATABASE {} SET role = no_creator").format(name)
        )
    killable_postgres.stop()
    server = await serve(database.create_app(postgres_url=url))
    await asyncio.to_thread(killable_postgres.start)
    async with ClientSession(server.url) as client:
        async with asyncio.timeout(PATIENCE):
            while "permission denied" not in caplog.text:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
        assert "make cluster" in await refused(client)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET ROLE NONE")
            connection.execute("GRANT CREATE ON SCHEMA public TO no_creator")
        await recovered(client)
    assert caplog.text.count("permission denied") == 1
    assert "Traceback" not in caplog.text


@pytest.mark.slow("it starts a server")
async def test_a_mistake_in_a_migration_that_comes_late_is_logged(
    serve: Serve,
    killable_postgres: KillablePostgres,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(database, "MIGRATIONS", WRONG)
    killable_postgres.stop()
    server = await serve(
        database.create_app(postgres_url=killable_postgres.url)
    )
    await asyncio.to_thread(killable_postgres.start)
    async with asyncio.timeout(PATIENCE):
        while "not open yet: SyntaxError" not in caplog.text:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)
    async with ClientSession(server.url) as client:
        assert "make cluster" in await refused(client)


async def test_a_worker_waits_for_the_one_that_migrates(
    serve: Serve, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    lock: LiteralString = "SELECT pg_advisory_xact_lock(20261126)"
    async with locked(postgres_url, lock):
        server = await serve(database.create_app(postgres_url=postgres_url))
        async with ClientSession(server.url) as client:
            await refused(client)
    async with ClientSession(server.url) as client:
        await recovered(client)


# Start and end


async def test_a_url_that_is_none_fails_the_start_in_a_line(
    tmp_path: Path,
) -> None:
    code, errors = await run_to_its_end(
        str(SCRIPT), POSTGRES_URL="postgresql://localhost/x?no=option"
    )
    assert code == 1
    assert errors.startswith("cannot start: ")
    assert errors.strip().count("\n") == 0


async def test_the_server_knows_who_is_connected_and_what_is_bounded(
    client: ClientSession, application: web.Application
) -> None:
    for name, value in {
        "application_name": "notes",
        "lock_timeout": "1500ms",
        "statement_timeout": "2s",
        "idle_in_transaction_session_timeout": "10s",
    }.items():
        query: LiteralString = "SELECT current_setting(%s) AS value"
        assert await database.fetch(application, query, name) == [
            {"value": value}
        ]


async def test_the_connections_are_closed_at_the_end(
    serve: Serve, application: web.Application, postgres_url: str
) -> None:
    query: LiteralString = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'notes' AND datname = current_database()"
    )
    server = await serve(application)
    async with ClientSession(server.url) as client:
        await asyncio.gather(*(add(client) for _ in range(8)))
        [(opened,)] = ask(postgres_url, query)
    assert 1 <= opened <= database.MAX_CONNECTIONS
    await server.stop()
    async with asyncio.timeout(TIMEOUT):
        while ask(postgres_url, query) != [(0,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_write_that_shutdown_cancels_is_rolled_back(
    slow: Slow, serve: Serve, application: web.Application, postgres_url: str
) -> None:
    server = await serve(application, shutdown_timeout=0.1)
    async with asyncio.timeout(TIMEOUT), ClientSession(server.url) as client:
        waiting = asyncio.create_task(client.post("slow"))
        await slow.entered.wait()
        await server.stop()
        with pytest.raises(ClientConnectionError):
            await waiting
    assert stored(postgres_url) == []


@pytest.mark.slow("it starts a server")
async def test_an_end_while_the_server_is_frozen_takes_no_longer(
    shaky: ClientSession, serve: Serve, killable_postgres: KillablePostgres
) -> None:
    killable_postgres.freeze()
    app = database.create_app(postgres_url=killable_postgres.url)
    async with asyncio.timeout(TIMEOUT):
        server = await serve(app)
        await server.stop()
