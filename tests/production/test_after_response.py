"""Proofs for recipes/production/after_response.py, beside the answer's."""

import asyncio
import gc
import logging
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import ClientError, ClientSession, web
from procrastinate import App
from yarl import URL

from recipes.production import after_response
from tests.conftest import NO_POSTGRES, KillablePostgres, Serve, at_length
from tests.faults import faulty_network
from tests.forks import Fork, fork
from tests.production import test_database
from tests.production.test_database import Wire, set_read_only
from tests.servers import PATIENCE, ROOT, START_TIMEOUT, TIMEOUT, forked
from tests.test_after_response import (
    PINGS,
    Held,
    Stranger,
    be_patient,
    every_ping,
    ping,
    read_count,
    settled,
    until_left,
)

wire = test_database.wire
SCRIPT = ROOT / "recipes" / "production" / "after_response.py"
ABSENT = {"error": "PostgreSQL is not ready; `make cluster` starts one"}
JOBS = "SELECT status::text, attempts FROM procrastinate_jobs ORDER BY id"
END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
LOST = """
WITH ping AS (INSERT INTO pings (work, fail) VALUES (0, false) RETURNING id)
INSERT INTO procrastinate_jobs (queue_name, task_name, status, args)
SELECT 'after_response', 'ping', 'doing',
    jsonb_build_object('ping', id, 'work', 0, 'fail', false) FROM ping
"""
SQL_IN_PROSE = re.compile("`(SELECT [^`]+)`")
SHORTEN = "UPDATE procrastinate_jobs SET args = args || '{\"work\": 0}'"
WAIT = """
SELECT extract(epoch FROM scheduled_at - now())::float
FROM procrastinate_jobs WHERE status = 'todo'
"""


# They are there before what is served, and after it.
@pytest.fixture(autouse=True)
def database(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def application(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> web.Application:
    be_patient(after_response, monkeypatch)
    return after_response.create_app(postgres_url=database, work_here=True)


@pytest.fixture
def idle(database: str, monkeypatch: pytest.MonkeyPatch) -> web.Application:
    """An application that runs no jobs."""
    be_patient(after_response, monkeypatch)
    return after_response.create_app(postgres_url=database)


async def query(database: str, statement: str, *values: Any) -> list[Any]:
    """Run a statement of another client, and return its rows."""
    connecting = psycopg.AsyncConnection.connect(database, autocommit=True)
    async with await connecting as connection:
        cursor = await connection.execute(statement.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def until(database: str, statement: str, *rows: Any) -> None:
    """Wait until a statement answers with these rows; a worker may start."""
    async with asyncio.timeout(START_TIMEOUT):
        while await query(database, statement) != list(rows):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def post(
    client: ClientSession, target: str, key: str
) -> tuple[int, dict[str, str]]:
    headers = {"Idempotency-Key": key}
    async with client.post(target, headers=headers) as response:
        return response.status, await response.json()


@pytest.fixture
def long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let work take as long as a busy machine may need to begin all jobs."""
    monkeypatch.setattr(after_response, "MAX_WORK", 5)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are missed soon."""
    for name, value in QUICK.items():
        monkeypatch.setattr(after_response, name, value)


QUICK = {
    "LOOK_FOR_LOST": 0.1,
    "LOST_AFTER": 3.0,
    "POLL": 0.1,
    "TRY_AGAIN": 0.1,
}


# One transaction


@every_ping
async def test_a_follow_up_is_stored_before_the_answer_and_waits_for_a_worker(
    serve: Serve, idle: web.Application, database: str, target: str
) -> None:
    server = await serve(idle)
    async with ClientSession(server.url) as client:
        await ping(client, f"{target}?work=0")
        assert await read_count(client) == {"count": 0, "pending": 1}
        worker = after_response.create_app(
            postgres_url=database, work_here=True
        )
        await serve(worker)
        assert await settled(client) == 1


@every_ping
async def test_a_ping_whose_job_cannot_be_stored_is_not_stored_either(
    serve: Serve, idle: web.Application, database: str, target: str
) -> None:
    server = await serve(idle)
    async with ClientSession(server.url) as client:
        await read_count(client)
        refuse = "ALTER TABLE procrastinate_jobs ADD CHECK (false)"
        await query(database, refuse)
        async with client.post(target) as response:
            assert response.status == 503
    assert await query(database, "SELECT key FROM pings") == []


@every_ping
async def test_the_job_of_a_ping_that_cannot_be_committed_is_not_stored_either(
    serve: Serve, idle: web.Application, database: str, target: str
) -> None:
    server = await serve(idle)
    async with ClientSession(server.url) as client:
        await read_count(client)
        refuse = """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'refused at COMMIT'; END $$;
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON pings
            DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION refuse();
        """
        await query(database, refuse)
        async with client.post(target) as response:
            assert response.status == 500
    assert await query(database, JOBS) == []


async def test_several_workers_share_the_queue_and_the_count(
    serve: Serve, database: str
) -> None:
    servers = [
        await serve(
            after_response.create_app(postgres_url=database, work_here=True)
        )
        for _ in range(3)
    ]
    async with (
        ClientSession(servers[0].url) as one,
        ClientSession(servers[1].url) as other,
    ):
        for _ in range(20):
            await ping(one, "ping?work=0")
            await ping(other, "ping-in-order?work=0")
        assert await settled(one) == await settled(other) == 40


async def test_a_job_that_runs_twice_at_a_time_takes_effect_once(
    serve: Serve,
    idle: web.Application,
    application: web.Application,
    database: str,
) -> None:
    server = await serve(idle)
    async with ClientSession(server.url) as client:
        await ping(client, "ping?work=0.1")
        copy = """
            INSERT INTO procrastinate_jobs (queue_name, task_name, args)
            SELECT queue_name, task_name, args
            FROM procrastinate_jobs, generate_series(1, 5)
        """
        await query(database, copy)
        assert (await read_count(client))["pending"] == 6
        await serve(application)
        assert await settled(client) == 1


# Idempotency-Key


async def test_a_repeated_idempotency_key_has_one_effect_on_all_workers(
    serve: Serve, idle: web.Application, application: web.Application
) -> None:
    servers = [await serve(idle), await serve(application)]
    async with (
        ClientSession(servers[0].url) as one,
        ClientSession(servers[1].url) as other,
    ):
        async with asyncio.TaskGroup() as tasks:
            posting = [
                tasks.create_task(post(client, f"{target}?work=0", "a"))
                for client in (one, other)
                for target in PINGS * 5
            ]
        pong = (200, {"message": "PONG"})
        assert {str(task.result()) for task in posting} == {str(pong)}
        assert await settled(one, least=1) == 1
        assert await post(one, "ping?work=0", "a") == pong
        assert await post(one, "ping?work=0", "b") == pong
        assert await settled(one, least=2) == 2


@every_ping
async def test_an_idempotency_key_of_another_ping_is_refused(
    client: ClientSession, target: str
) -> None:
    assert (await post(client, f"{target}?work=0", "a"))[0] == 200
    for query in ("work=0.1", "work=0&fail=1"):
        status, answer = await post(client, f"{target}?{query}", "a")
        assert status == 422
        assert list(answer) == ["error"]
    assert await settled(client, least=1) == 1


@pytest.mark.parametrize("key", ["a b", "é", "a" * 256, "a\tb"])
async def test_a_bad_idempotency_key_is_refused(
    client: ClientSession, key: str
) -> None:
    status, answer = await post(client, "ping", key)
    assert status == 400
    assert list(answer) == ["error"]
    assert await settled(client) == 0


@pytest.mark.usefixtures("quick")
async def test_an_idempotency_key_is_forgotten_after_a_day(
    client: ClientSession, database: str
) -> None:
    assert (await post(client, "ping?work=0", "a"))[0] == 200
    assert await settled(client, least=1) == 1
    age = "UPDATE pings SET done = done - interval '23 h 59 min'"
    await query(database, age)
    assert (await post(client, "ping?work=0", "a"))[0] == 200
    assert await settled(client) == 1
    await query(database, "UPDATE pings SET done = done - interval '1 min'")
    await until(database, "SELECT key FROM pings")
    assert (await post(client, "ping?work=0", "a"))[0] == 200
    assert await settled(client, least=2) == 2


# In order


async def test_work_in_order_is_held_until_the_answer_is_sent(
    serve: Serve, application: web.Application, database: str
) -> None:
    held = Held(application)
    server = await serve(application)
    async with (
        ClientSession(server.url) as client,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(ping(client, "ping-in-order?work=0"))
        await held.reached.wait()
        [(wait,)] = await query(database, WAIT)
        assert 5 < wait <= 10
        held.go_on.set()
        assert await settled(client, least=1) == 1


async def test_work_in_order_begins_by_itself_when_nobody_lets_it(
    serve: Serve,
    application: web.Application,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(after_response, "HOLD", {"milliseconds": 300})
    held = Held(application)
    server = await serve(application)
    async with (
        ClientSession(server.url) as client,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(ping(client, "ping-in-order?work=0"))
        await held.reached.wait()
        assert await settled(client, least=1) == 1
        held.go_on.set()


async def test_a_failed_answer_to_a_request_with_a_key_counts_all_the_same(
    serve: Serve, application: web.Application
) -> None:
    held = Held(application)
    held.error = RuntimeError("on purpose")
    held.go_on.set()
    server = await serve(application)
    async with ClientSession(server.url) as client:
        with pytest.raises(ClientError):
            await post(client, "ping-in-order?work=0", "a")
        assert await settled(client, least=1) == 1


async def test_who_leaves_while_the_work_is_let_go_keeps_it_not_held(
    serve: Serve, idle: web.Application, database: str
) -> None:
    held = Held(idle)
    server = await serve(idle, handler_cancellation=True)
    stranger = Stranger(server, "ping-in-order?work=0")
    connecting = psycopg.AsyncConnection.connect(database)
    async with asyncio.timeout(TIMEOUT), await connecting as connection:
        await held.reached.wait()
        # So the job cannot be let go before the client has left.
        await connection.execute("SELECT FROM procrastinate_jobs FOR UPDATE")
        held.go_on.set()
        assert b"PONG" in await stranger.receive()
        stranger.leave()
        await until_left(held.request)
    released = "SELECT scheduled_at IS NULL FROM procrastinate_jobs"
    async with asyncio.timeout(TIMEOUT):
        await until(database, released, (True,))


# What fails


@pytest.mark.slow("it waits for pauses")
async def test_a_failed_job_is_tried_again_after_growing_pauses(
    client: ClientSession, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "procrastinate.worker")
    await ping(client, "ping?work=0&fail=1")
    attempts = after_response.RETRY.max_attempts
    assert attempts == 4
    for attempt in range(1, attempts + 1):
        await until(database, JOBS, ("todo", attempt))
        [(wait,)] = await query(database, WAIT)
        assert 5**attempt - 4 < wait <= 5**attempt
        await query(
            database, "UPDATE procrastinate_jobs SET scheduled_at = now()"
        )
    await until(database, JOBS, ("failed", attempts + 1))
    assert await read_count(client) == {"count": 0, "pending": 0}
    assert caplog.text.count("status: Error, to retry") == attempts
    assert caplog.text.count("RuntimeError: this follow") == attempts + 1


async def test_a_dead_job_is_listed_and_can_be_tried_again(
    client: ClientSession, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_response.RETRY, "retry_exceptions", [LookupError])
    await ping(client, "ping?work=0&fail=1")
    await until(database, JOBS, ("failed", 1))
    docstring = after_response.__doc__ or ""
    listing, retrying = SQL_IN_PROSE.findall(" ".join(docstring.split()))
    [(job, arguments)] = await query(database, listing)
    assert arguments["fail"]
    # What was wrong is right now.
    await query(
        database,
        "UPDATE procrastinate_jobs SET args = args || '{\"fail\": false}'",
    )
    await query(database, retrying.replace("JOB", str(job)))
    assert await settled(client, least=1) == 1


# Workers that end


@asynccontextmanager
async def worker(
    database: str, folder: Path, **limits: float
) -> AsyncIterator[Fork]:
    """Run a worker in a process of its own, and kill it in the end."""
    script = folder / "worker.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from aiohttp import web\n"
        "from recipes.production import after_response\n"
        f"vars(after_response).update({ {**QUICK, **limits}!r})\n"
        "app = after_response.create_app(\n"
        f"    postgres_url={database!r}, work_here=True)\n"
        "web.run_app(app, path=[], print=None)\n"
    )
    with (folder / "worker.log").open("ab") as log:
        forking = fork(script, cwd=folder, env=os.environ, errors=log)
        async with forking as process:
            yield process


@pytest.mark.slow("it starts processes")
@pytest.mark.usefixtures("long_work")
async def test_the_jobs_of_a_killed_worker_are_taken_over(
    serve: Serve, idle: web.Application, database: str, tmp_path: Path
) -> None:
    server = await serve(idle)
    async with ClientSession(server.url) as client:
        for _ in range(10):
            await ping(client, "ping?work=5")
        async with worker(database, tmp_path):
            await until(database, JOBS, *[("doing", 0)] * 10)
        assert await read_count(client) == {"count": 0, "pending": 10}
        await query(database, SHORTEN)
        async with worker(database, tmp_path):
            assert await settled(client) == 10


@pytest.mark.usefixtures("quick")
async def test_a_job_that_ends_its_workers_ends_among_the_dead(
    serve: Serve,
    idle: web.Application,
    application: web.Application,
    database: str,
) -> None:
    server = await serve(idle)
    async with ClientSession(server.url) as client:
        await ping(client, "ping?work=0")
    last = after_response.RETRY.max_attempts
    assert last is not None
    ended = "UPDATE procrastinate_jobs SET status = 'doing', attempts = %s"
    await query(database, ended, last)
    await serve(application)
    await until(database, JOBS, ("failed", last + 1))


@pytest.mark.slow("it waits for a worker")
@pytest.mark.usefixtures("quick")
async def test_a_job_whose_end_a_living_worker_could_not_store_is_taken_over(
    serve: Serve,
    client: ClientSession,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await ping(client, "ping?work=0")
    assert await settled(client, least=1) == 1
    forgotten = """
        WITH job AS (
            INSERT INTO procrastinate_jobs (queue_name, task_name, status, args,
                worker_id)
            SELECT 'after_response', 'ping', 'doing',
                '{"ping": 0, "work": 0, "fail": false}', id
            FROM procrastinate_workers RETURNING id
        ) INSERT INTO procrastinate_events (job_id, type, at)
        SELECT id, 'started', now() - make_interval(secs => %s) FROM job
    """
    await query(database, forgotten, after_response.LOST_AFTER - 2)
    await query(database, "SELECT pg_sleep(0.5)")
    assert await query(database, JOBS) == [("doing", 0)]
    await until(database, JOBS)


@pytest.mark.usefixtures("quick")
async def test_a_worker_that_others_took_for_dead_begins_anew(
    client: ClientSession, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    await ping(client, "ping?work=0")
    assert await settled(client, least=1) == 1
    await query(database, "DELETE FROM procrastinate_workers")
    await ping(client, "ping?work=0")
    assert await settled(client, least=2) == 2
    assert "begins anew" in caplog.text
    assert "None" not in caplog.text


@pytest.mark.parametrize(
    ("error", "traces"),
    [
        (psycopg.OperationalError("the disk is full"), 0),
        # Of a mistake too: no job would run any more, and nobody would know.
        (KeyError("a mistake"), 1),
    ],
    ids=["outage", "mistake"],
)
async def test_what_ends_a_worker_is_logged_with_its_reason(
    application: web.Application,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    traces: int,
) -> None:
    run = App.run_worker_async
    errors = [error]

    async def fail_once(jobs: App, **knobs: Any) -> None:
        if errors:
            raise errors.pop()
        await run(jobs, **knobs)

    monkeypatch.setattr(App, "run_worker_async", fail_once)
    server = await serve(application)
    async with ClientSession(server.url) as client:
        await ping(client, "ping?work=0")
        assert await settled(client, least=1) == 1
    assert f"begins anew: {error!r}" in caplog.text
    assert caplog.text.count("Traceback") == traces


async def test_a_worker_that_ends_at_once_begins_anew_after_a_pause(
    application: web.Application, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    begun = list[float]()
    is_enough = asyncio.Event()

    async def fail(jobs: App, **knobs: Any) -> None:
        if jobs is application[after_response.JOBS]:
            begun.append(loop.time())
        if len(begun) == 3:
            is_enough.set()
        await asyncio.sleep(0)
        raise psycopg.OperationalError("the disk is full")

    monkeypatch.setattr(App, "run_worker_async", fail)
    monkeypatch.setattr(after_response, "TRY_AGAIN", 0.1)
    await serve(application)
    async with asyncio.timeout(TIMEOUT):
        await is_enough.wait()
    # A loop may wake a task a little too early.
    assert all(after - before > 0.09 for before, after in pairwise(begun))


async def test_a_worker_whose_end_fails_does_not_begin_anew(
    application: web.Application, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun = asyncio.Event()
    begun = 0

    async def fail_at_the_end(jobs: App, **knobs: Any) -> None:
        nonlocal begun
        if jobs is application[after_response.JOBS]:
            begun += 1
            has_begun.set()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            if begun > 1:
                raise
            raise psycopg.OperationalError("the server is gone") from None

    monkeypatch.setattr(App, "run_worker_async", fail_at_the_end)
    monkeypatch.setattr(after_response, "TRY_AGAIN", 0)
    monkeypatch.setattr(after_response, "GRACE", 0.1)
    server = await serve(application)
    async with asyncio.timeout(TIMEOUT):
        await has_begun.wait()
        await server.stop()
    assert begun == 1


async def test_a_server_without_a_worker_runs_no_job(
    serve: Serve, idle: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = list[App]()

    async def begin(jobs: App, **knobs: Any) -> None:
        begun.append(jobs)
        await asyncio.sleep(PATIENCE)

    monkeypatch.setattr(App, "run_worker_async", begin)
    server = await serve(idle)
    async with ClientSession(server.url) as client:
        await ping(client, "ping?work=0")
        assert await read_count(client) == {"count": 0, "pending": 1}
    assert idle[after_response.JOBS] not in begun


async def test_jobs_that_lost_their_worker_are_looked_for_now_and_then(
    application: web.Application, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    execute = after_response.Connection.execute
    looked = [loop.time()]
    is_enough = asyncio.Event()

    async def count_looks(
        self: after_response.Connection, query: Any, *values: Any, **knobs: Any
    ) -> Any:
        if query == after_response.TAKE_OVER:
            looked.append(loop.time())
            if len(looked) == 4:
                is_enough.set()
        return await execute(self, query, *values, **knobs)

    monkeypatch.setattr(after_response.Connection, "execute", count_looks)
    monkeypatch.setattr(after_response, "LOOK_FOR_LOST", 0.1)
    await serve(application)
    async with asyncio.timeout(TIMEOUT):
        await is_enough.wait()
    # A loop may wake a task a little too early.
    assert all(after - before > 0.09 for before, after in pairwise(looked))


async def test_running_jobs_have_time_when_their_worker_ends(
    serve: Serve,
    idle: web.Application,
    application: web.Application,
    database: str,
) -> None:
    server = await serve(idle)
    working = await serve(application)
    async with ClientSession(server.url) as client:
        for _ in range(3):
            await ping(client, "ping?work=1.5")
        await until(database, JOBS, *[("doing", 0)] * 3)
        await working.stop()
        assert await read_count(client) == {"count": 3, "pending": 0}


@pytest.mark.slow("it waits for the end of a worker")
@pytest.mark.usefixtures("long_work")
async def test_a_job_that_is_too_slow_for_the_end_goes_back_to_the_queue(
    serve: Serve,
    idle: web.Application,
    application: web.Application,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(after_response, "GRACE", 0.1)
    server = await serve(idle)
    working = await serve(application)
    async with ClientSession(server.url) as client:
        await ping(client, "ping?work=5")
        await until(database, JOBS, ("doing", 0))
        await working.stop()
        assert await query(database, JOBS) == [("todo", 1)]
        await query(database, SHORTEN)
        await serve(
            after_response.create_app(postgres_url=database, work_here=True)
        )
        assert await settled(client) == 1


@pytest.mark.slow("it starts processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_process_ends_in_order_by_a_signal(
    serve: Serve,
    idle: web.Application,
    database: str,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    server = await serve(idle)
    log = tmp_path / "worker.log"
    environment = {**os.environ, "POSTGRES_URL": database}
    with log.open("wb") as errors:
        async with (
            fork(
                *(SCRIPT, "worker"),
                cwd=tmp_path,
                env=environment,
                errors=errors,
            ) as process,
            ClientSession(server.url) as client,
        ):
            await ping(client, "ping?work=1")
            await until(database, JOBS, ("doing", 0))
            process.send_signal(number)
            async with asyncio.timeout(TIMEOUT):
                assert await process.wait() == 0
            assert await read_count(client) == {"count": 1, "pending": 0}
    assert "Traceback" not in log.read_text()


class Pinging:
    """A client that pings, and notes the keys of the answered pings."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answered: set[str] = set()
        self.number = 0

    async def ping(self, url: str) -> None:
        """Ping until the server is gone."""
        async with ClientSession(url) as client:
            while True:
                self.number += 1
                key = f"{self.name}-{self.number}"
                target = PINGS[self.number % 2]
                try:
                    status, _ = await post(client, f"{target}?work=0.01", key)
                except ClientError:
                    return
                if status == 200:
                    self.answered.add(key)


def answered_of(clients: list[Pinging]) -> int:
    return sum(len(client.answered) for client in clients)


@pytest.mark.slow("it kills processes under load")
@pytest.mark.parametrize("rounds", [1, at_length(3)])
async def test_kill_9_of_web_and_worker_loses_and_repeats_no_answered_ping(
    serve: Serve,
    idle: web.Application,
    database: str,
    tmp_path: Path,
    rounds: int,
) -> None:
    clients = [Pinging(name) for name in "abcd"]
    url = {"POSTGRES_URL": database}
    async with worker(database, tmp_path):
        for number in range(rounds):
            async with (
                forked(SCRIPT, cwd=tmp_path, **url) as process,
                asyncio.TaskGroup() as tasks,
            ):
                address = f"http://127.0.0.1:{process.port}/"
                for client in clients:
                    tasks.create_task(client.ping(address))
                async with (
                    worker(database, tmp_path),
                    asyncio.timeout(START_TIMEOUT),
                ):
                    while answered_of(clients) < 50 * (number + 1):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                await process.end(signal.SIGKILL)
        await check(serve, idle, database, clients)


async def check(
    serve: Serve,
    idle: web.Application,
    database: str,
    clients: list[Pinging],
) -> None:
    """See that each answered ping took effect once."""
    server = await serve(idle)
    answered = set[str]().union(*(client.answered for client in clients))
    assert len(answered) > 3
    async with ClientSession(server.url) as session:
        counted = await settled(session)
    rows = await query(database, "SELECT key FROM pings WHERE done IS NOT NULL")
    assert answered <= {key for (key,) in rows}
    assert counted == len(rows)


# Several processes begin


async def test_processes_that_begin_together_make_the_tables_in_turn(
    serve: Serve, idle: web.Application, database: str
) -> None:
    connecting = psycopg.AsyncConnection.connect(database, autocommit=True)
    async with await connecting as first:
        await first.execute("SELECT pg_advisory_lock(13)")
        starting = asyncio.create_task(serve(idle))
        await until(database, WAITS_FOR_ITS_TURN, (1,))
        assert await query(database, "SELECT to_regclass('pongs')") == [(None,)]
        await first.execute("SELECT pg_advisory_unlock(13)")
        server = await starting
    async with ClientSession(server.url) as client:
        await until_answered(client)


WAITS_FOR_ITS_TURN = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted
"""


# A database that is away


@pytest.mark.slow("it waits for a lock")
async def test_it_starts_without_its_database_and_answers_503(
    serve: Serve,
) -> None:
    app = after_response.create_app(postgres_url=NO_POSTGRES, work_here=True)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for method, path in [
            ("POST", "ping"),
            ("POST", "ping-in-order"),
            ("GET", "count"),
        ]:
            async with (
                asyncio.timeout(TIMEOUT),
                client.request(method, path) as response,
            ):
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"
                assert await response.json() == ABSENT
    async with asyncio.timeout(TIMEOUT):
        await server.stop()


@pytest.mark.slow("it restarts a PostgreSQL")
@pytest.mark.usefixtures("quick")
async def test_it_goes_on_when_its_database_has_come_or_come_back(
    serve: Serve, killable_postgres: KillablePostgres
) -> None:
    killable_postgres.stop()
    url = killable_postgres.url
    app = after_response.create_app(postgres_url=url, work_here=True)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for expected in (1, 2, 3):
            async with client.post("ping?work=0") as response:
                assert response.status == 503
            killable_postgres.start()
            await until_answered(client)
            assert await settled(client, least=expected) == expected
            if expected % 2:
                killable_postgres.kill()
            else:
                killable_postgres.stop()


@pytest.mark.usefixtures("quick")
async def test_a_database_that_is_read_only_is_an_outage_that_ends(
    client: ClientSession, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    # As one is that takes over after a failover, for its first seconds.
    await ping(client, "ping?work=0")
    assert await settled(client) == 1
    name = URL(database).path.removeprefix("/")
    set_read_only(database, name, "on")
    try:
        await query(database, END_OTHERS)
        for target in PINGS:
            async with client.post(target) as response:
                assert response.status == 503
                assert await response.json() == ABSENT
    finally:
        set_read_only(database, name, "off")
    await query(database, END_OTHERS)
    await until_answered(client)
    assert await settled(client, least=2) == 2
    assert f"{ABSENT['error']}: ReadOnlySqlTransaction" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.usefixtures("quick")
async def test_jobs_are_taken_over_after_a_mistake_in_the_database(
    client: ClientSession, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    await ping(client, "ping?work=0")
    assert await settled(client) == 1
    await query(database, "ALTER TABLE pings RENAME done TO ended")
    async with asyncio.timeout(TIMEOUT):
        while "UndefinedColumn" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await query(database, "ALTER TABLE pings RENAME ended TO done")
    await query(database, LOST)
    assert await settled(client, least=2) == 2
    assert "1 jobs lost their worker" in caplog.messages


@pytest.mark.full("an outage has to last")
@pytest.mark.usefixtures("quick")
@pytest.mark.slow("it restarts a PostgreSQL under load")
async def test_restarts_of_the_database_lose_and_repeat_no_answered_ping(
    serve: Serve, killable_postgres: KillablePostgres
) -> None:
    url = killable_postgres.url
    app = after_response.create_app(postgres_url=url, work_here=True)
    server = await serve(app)
    clients = [Pinging(name) for name in "abcd"]
    pinging = [
        asyncio.create_task(client.ping(str(server.url))) for client in clients
    ]
    for end in (killable_postgres.stop, killable_postgres.kill):
        await asyncio.sleep(1)
        end()
        killable_postgres.start()
    await asyncio.sleep(1)
    for task in pinging:
        task.cancel()
    await asyncio.wait(pinging)
    idle = after_response.create_app(postgres_url=url)
    await check(serve, idle, url, clients)


@pytest.mark.slow("it restarts a PostgreSQL")
async def test_a_job_that_cannot_be_let_go_begins_by_itself(
    serve: Serve,
    killable_postgres: KillablePostgres,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(after_response, "HOLD", {"seconds": 5})
    url = killable_postgres.url
    app = after_response.create_app(postgres_url=url, work_here=True)
    held = Held(app)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ping(client, "ping-in-order?work=0"))
            await held.reached.wait()
            killable_postgres.kill()
            held.go_on.set()
        async with asyncio.timeout(TIMEOUT):
            while "begins late, by itself" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        killable_postgres.start()
        await until_answered(client)
        assert await settled(client, least=2) == 2


@pytest.mark.full("an outage has to last")
@pytest.mark.slow("it freezes a PostgreSQL")
async def test_a_frozen_database_keeps_no_request_waiting_and_loses_nothing(
    serve: Serve, killable_postgres: KillablePostgres
) -> None:
    url = killable_postgres.url
    app = after_response.create_app(postgres_url=url, work_here=True)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for _ in range(5):
            await ping(client, "ping?work=0.3")
        killable_postgres.freeze()
        async with asyncio.timeout(2 * TIMEOUT), asyncio.TaskGroup() as tasks:
            refused = [
                tasks.create_task(post(client, "ping?work=0", str(number)))
                for number in range(30)
            ]
        assert {task.result()[0] for task in refused} == {503}
        killable_postgres.thaw()
        await until_answered(client)
        assert await settled(client, least=6) >= 6


@pytest.mark.slow("it freezes a PostgreSQL")
async def test_the_server_ends_in_time_while_its_database_is_frozen(
    serve: Serve, killable_postgres: KillablePostgres
) -> None:
    url = killable_postgres.url
    app = after_response.create_app(postgres_url=url, work_here=True)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        await ping(client, "ping?work=0.3")
    killable_postgres.freeze()
    async with asyncio.timeout(3 * TIMEOUT):
        await server.stop()


async def until_answered(client: ClientSession) -> None:
    async with asyncio.timeout(TIMEOUT):
        status = 503
        while status == 503:
            async with client.post("ping?work=0") as response:
                status = response.status
            await asyncio.sleep(0.02)
    assert status == 200


async def test_a_start_does_not_wait_where_nobody_listens(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_response, "PATIENCE", 3600)
    url = f"postgresql:///pings?host={tmp_path}"
    async with asyncio.timeout(TIMEOUT):
        await serve(after_response.create_app(postgres_url=url))


async def test_a_network_that_is_cut_keeps_nobody_waiting(
    serve: Serve,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = URL(database).query["host"]
    async with faulty_network(Path(folder, ".s.PGSQL.5432")) as network:
        url = network.url_of(database)
        server = await serve(after_response.create_app(postgres_url=url))
        async with ClientSession(server.url) as client:
            await ping(client, "ping?work=0")
            # Not before: a busy machine is no network that is cut.
            monkeypatch.setattr(after_response, "SILENCE", 0.2)
            # No connection ends, and nothing arrives.
            network.freeze()
            async with asyncio.timeout(TIMEOUT), client.post("ping") as answer:
                assert answer.status == 503
            network.mend()
            await until_answered(client)
        await server.stop()


async def test_the_connections_are_closed_at_the_end(
    serve: Serve, idle: web.Application, database: str
) -> None:
    connected = """
        SELECT count(*) > 0 FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend'
    """
    server = await serve(idle)
    async with ClientSession(server.url) as client:
        await ping(client, "ping?work=0")
    assert await query(database, connected) == [(True,)]
    await server.stop()
    await until(database, connected, (False,))


async def test_a_connection_that_answers_is_not_cut(
    serve: Serve, idle: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_response, "SILENCE", 1.5)
    await serve(idle)
    async with idle[after_response.POOL].connection() as connection:
        # Together they take longer than each may.
        for _ in range(4):
            await connection.execute("SELECT pg_sleep(0.5)")


@pytest.mark.slow("it restarts a PostgreSQL")
@pytest.mark.usefixtures("quick")
async def test_a_database_that_is_away_at_the_start_is_told_in_a_line(
    serve: Serve,
    killable_postgres: KillablePostgres,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    killable_postgres.stop()
    url = killable_postgres.url
    app = after_response.create_app(postgres_url=url, work_here=True)
    server = await serve(app)
    async with asyncio.timeout(TIMEOUT):
        while not caplog.messages:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    # Neither the worker nor who takes over begins before there are tables.
    await asyncio.sleep(0.5)
    assert len(caplog.messages) == 1
    assert "the database is not open yet: " in caplog.text
    killable_postgres.start()
    async with ClientSession(server.url) as client:
        await until_answered(client)
        assert await settled(client, least=1) == 1


@pytest.mark.parametrize("arrives", [True, False], ids=["stored", "lost"])
@every_ping
async def test_a_commit_whose_answer_is_lost_is_a_504_and_may_be_repeated(
    serve: Serve,
    database: str,
    wire: Wire,
    caplog: pytest.LogCaptureFixture,
    target: str,
    arrives: bool,
) -> None:
    # What tasks of other tests have raised is told when they are collected.
    gc.collect()
    caplog.clear()
    app = after_response.create_app(postgres_url=wire.url_of(database))
    server = await serve(app)
    wire.arrives = arrives
    wire.cuts = 1
    async with ClientSession(server.url) as client:
        async with client.post(
            target, headers={"Idempotency-Key": "a"}
        ) as response:
            assert response.status == 504
            assert "Retry-After" not in response.headers
            assert "not known" in (await response.json())["error"]
        assert await query(database, "SELECT key FROM pings") == (
            [("a",)] * arrives
        )
        assert "it is not known whether this is stored: " in caplog.text
        assert (await post(client, target, "a"))[0] == 200
        assert await query(database, JOBS) == [("todo", 0)]
    # Nor is there a mistake behind the answer.
    await server.stop()
    assert "Traceback" not in caplog.text


# Refusals


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


async def test_a_mistake_in_the_program_is_a_500(
    client: ClientSession, database: str
) -> None:
    await read_count(client)
    await query(database, "DROP TABLE pongs")
    async with client.get("count") as response:
        assert response.status == 500


async def test_a_worker_whose_cancel_was_swallowed_is_cancelled_again(
    serve: Serve, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[str] = []

    async def keep_working(*_: object) -> None:
        for end in ("swallowed", "heard"):
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                ends.append(end)

    monkeypatch.setattr(after_response, "keep_working", keep_working)
    monkeypatch.setattr(after_response, "GRACE", 0.1)
    monkeypatch.setattr(after_response, "PATIENCE", 0.1)
    app = after_response.create_app(postgres_url=database, work_here=True)
    server = await serve(app)
    # Its pool is closed after that: the worker has to be gone before.
    await server.stop()
    assert ends == ["swallowed", "heard"]
