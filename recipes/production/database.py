# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4", "psycopg[binary,pool]>=3.3,<4"]
# ///
"""Where do I put my database connection so handlers can access it?

Start from this file when you go live. It keeps a pool of connections to
PostgreSQL, and gives each request a transaction. It starts without its
database, answers 503 until that is there, and needs no restart then. 201 means
that a note is stored; 503, that it is not; 504, that nobody knows.

Try it::

    $ curl -i -d '{"text": "tea"}' localhost:8080/notes
    HTTP/1.1 201 Created...Location: .../notes/...{"id": ..., "text": "tea"}
    $ curl -d '{"notes": [{"text": "milk"}, {}]}' localhost:8080/notes/batch
    {"error": "notes[1]: text must have 1 to 1000 characters"}
    $ curl "localhost:8080/notes?limit=1"
    {"notes": [{"id": ..., "text": "tea"}]}
    $ curl localhost:8080/notes/0
    {"error": "there is no such note"}

Good to know:

- A request waits 0.9 s for a connection, 1.5 s for a lock, 2 s for a statement,
  and 2.5 s for a server that says nothing. Then it is a 503 with `Retry-After`.
- A COMMIT whose answer is lost may be stored. So each write has a key, and is
  tried again with it: PostgreSQL then stores it, or finds that it has. A client
  that sends `Idempotency-Key` can do the same after a 504, or after no answer.
  A key lives as long as its notes.
- Do not catch an error of the database inside `transaction()`. PostgreSQL has
  ended the transaction, answers COMMIT with ROLLBACK, and calls that no error.
- PostgreSQL rolls back one of two transactions that wait for each other.
  `in_transaction()` runs it again. What it runs must do nothing else, such as
  sending mail: see production/after_response.py.
- The first worker that starts brings the schema up to date, so its role has to
  be allowed to create tables. If it is not, the start fails: start again after
  the GRANT. Where the server comes later than the worker, requests are a 503
  until the GRANT, and the log says why. An advisory lock keeps the others
  waiting: without it, two can fail even at `CREATE TABLE IF NOT EXISTS`.
- asyncpg takes two thirds of the CPU of psycopg. But psycopg's pool bounds each
  wait, checks a connection before it lends it, and starts without a server. And
  the queue of production/after_response.py needs psycopg.
- A worker that is killed loses the requests that it has not answered. A server
  loses nothing that was answered 201, at its default `synchronous_commit`:
  measured with 16 writers, it was restarted ten times and killed ten times. Of
  6,988 notes with a 201 none was lost, of 354 with a 503 none was stored, and
  the next 201 came within 0.5 s of its return.
- This file accepts a POST from a page of another site. Check `Origin` or
  `Sec-Fetch-Site` in front of it.
"""

import asyncio
import json
import logging
import os
import random
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, LiteralString, TypeVar
from uuid import uuid4

import psycopg
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from psycopg import errors
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

# Connections of one worker: those of all workers have to be fewer than
# `max_connections` of the server. In a reload there are twice as many workers.
MAX_CONNECTIONS = 10

# Requests that wait for a connection at a time; a further one is a 503.
MAX_WAITING = 200

# Seconds that a request waits for a connection of the pool.
CONNECTION_WAIT = 0.9

# Seconds after which a server that says nothing is given up.
SILENCE = 2.5

# Seconds between two attempts to connect.
CONNECT_AGAIN = 0.5

# How a connection is made. The server bounds statements and locks by itself, in
# milliseconds. It looks for a deadlock after `deadlock_timeout`, which is 1 s:
# with a shorter `lock_timeout`, it finds none, and none is tried again.
OPTIONS: dict[str, Any] = {
    "autocommit": True,  # only transaction() begins one
    "connect_timeout": 2,
    "fallback_application_name": "notes",
    "options": "-c lock_timeout=1500 -c statement_timeout=2000 "
    "-c idle_in_transaction_session_timeout=10000",
    "row_factory": dict_row,
}

# How often a transaction is tried, and the longest pause between, in seconds.
ATTEMPTS = 4
LONGEST_PAUSE = 0.1

# Notes in a request, and in an answer.
MAX_BATCH = 100
MAX_LIMIT = 100

# The statements that make the schema. Append to them, and change none.
MIGRATIONS: Final = (
    "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    "text text NOT NULL)",
    "ALTER TABLE notes ADD COLUMN key text, ADD COLUMN place int, "
    "ADD UNIQUE (key, place)",
)

# Seconds that a migration may take.
MIGRATION_WAIT = 600

# No other advisory lock of the database has this number.
ONE_MIGRATES: Final = """
    SET LOCAL statement_timeout = '600s';
    SELECT pg_advisory_xact_lock(20261126);
    CREATE TABLE IF NOT EXISTS notes_schema (at timestamptz DEFAULT now());
"""

INSERT: Final = """
    INSERT INTO notes (text, key, place)
    SELECT text, %(key)s, place
    FROM unnest(%(texts)s::text[]) WITH ORDINALITY AS new (text, place)
    ON CONFLICT (key, place) DO NOTHING
    RETURNING id, text
"""
STORED: Final = "SELECT * FROM notes WHERE key = %(key)s ORDER BY place"

# PostgreSQL stores all of Unicode but NUL. JSON can hold half of a surrogate
# pair, which is no character.
TEXT = re.compile("[^\0\ud800-\udfff]{1,1000}")
KEY = re.compile("[!-~]{1,200}")

AWAY = "PostgreSQL is not ready; in the cookbook, `make cluster` starts one"
UNKNOWN = "it is not known whether this is stored: PostgreSQL did not answer"

# What is no mistake of this program, in our words. An error's code begins with
# one of these. That of a lost connection is empty.
OUTAGES = {
    "25006": "the database is read-only",
    "40": "the database is busy",
    "53": "the database has no disk or memory left",
    "55P03": "the database is busy",
    "57014": "the database is too slow",
    "58": "the disk reports an error",
}
Result = TypeVar("Result")

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


class CommitUnknownError(psycopg.OperationalError):
    """The answer to a COMMIT was lost: all is stored, or nothing."""


# With these the whole transaction is tried again. PostgreSQL asks for it.
ROLLED_BACK = (errors.DeadlockDetected, errors.SerializationFailure)
AGAIN = (*ROLLED_BACK, CommitUnknownError)

# A server that is down cannot be opened yet, nor one that takes over from
# another, and is read-only until then.
NOT_YET = (psycopg.OperationalError, errors.ReadOnlySqlTransaction)


class Connection(psycopg.AsyncConnection[DictRow]):
    """A connection that is cut where the server says nothing."""

    silence = SILENCE

    async def wait(self, *args: Any, **knobs: Any) -> Any:
        # A server that is frozen, or behind a network that is cut, keeps no
        # promise of OPTIONS, and hears no cancellation either.
        timer = asyncio.get_running_loop().call_later(self.silence, self.cut)
        try:
            return await super().wait(*args, **knobs)
        finally:
            timer.cancel()

    def cut(self) -> None:
        """Let whoever waits for the server see its end."""
        with socket.socket(fileno=os.dup(self.fileno())) as peer:
            peer.shutdown(socket.SHUT_RDWR)


POOL = web.AppKey("POOL", AsyncConnectionPool[Connection])


# answer
async def open_database(
    app: web.Application, postgres_url: str
) -> AsyncIterator[None]:
    """Open a pool, whose connections are made when they are needed."""
    pool = AsyncConnectionPool(
        postgres_url,
        connection_class=Connection,
        kwargs=OPTIONS,
        # After a restart of the server, the connections of the pool are dead.
        check=AsyncConnectionPool.check_connection,
        min_size=0,
        max_size=MAX_CONNECTIONS,
        max_waiting=MAX_WAITING,
        timeout=CONNECTION_WAIT,
        # The pool doubles its pauses for so long. After an outage of minutes,
        # requests would be refused for minutes more.
        reconnect_timeout=CONNECT_AGAIN,
        open=False,
    )
    app[POOL] = pool
    # Who is refused need not wait: that is tried again, and reported.
    with suppress(*NOT_YET, TimeoutError):
        async with asyncio.timeout(CONNECTION_WAIT):
            await open_pool(pool, postgres_url)
    opening = asyncio.create_task(keep_opening(pool, postgres_url))
    try:
        yield
    finally:
        opening.cancel()
        await asyncio.wait([opening])
        await pool.close()


@asynccontextmanager
async def transaction(app: web.Application) -> AsyncIterator[Connection]:
    """Store all that a request writes, or nothing."""
    async with app[POOL].connection() as connection:
        await connection.execute("BEGIN")
        # An error leaves here, and the pool rolls the transaction back.
        yield connection
        await commit(connection)


async def commit(connection: Connection) -> None:
    try:
        ended = await connection.execute("COMMIT")
    except ROLLED_BACK:
        raise
    except psycopg.OperationalError as error:
        raise CommitUnknownError(str(error)) from error
    # Where an error has ended the transaction, this is ROLLBACK.
    if ended.statusmessage != "COMMIT":
        raise RuntimeError("an error was caught inside a transaction")


# end of answer


async def in_transaction(
    app: web.Application, work: Callable[[Connection], Awaitable[Result]]
) -> Result:
    """Run `work` in a transaction, again where that is rolled back, or may be.

    However often it runs, it has to store the same, once.
    """
    failure: psycopg.OperationalError | None = None
    attempt = 1
    while True:
        try:
            async with transaction(app) as connection:
                return await work(connection)
        except psycopg.OperationalError as error:
            # What follows a lost COMMIT does not tell what became of it.
            if not isinstance(failure, CommitUnknownError):
                failure = error
            if attempt == ATTEMPTS or not isinstance(failure, AGAIN):
                raise failure from None
            logger.warning("attempt %d of a transaction: %r", attempt, error)
        await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))  # noqa: S311
        attempt += 1


async def open_pool(
    pool: AsyncConnectionPool[Connection], postgres_url: str
) -> None:
    """Open the pool when the schema is up to date."""
    async with await Connection.connect(postgres_url, **OPTIONS) as connection:
        await migrate(connection)
    await pool.open()


async def keep_opening(
    pool: AsyncConnectionPool[Connection], postgres_url: str
) -> None:
    """Open the pool that could not be opened at the start."""
    reported = ""
    while pool.closed:
        try:
            await open_pool(pool, postgres_url)
            logger.warning("the database is open after all")
        except psycopg.Error as error:
            # What would end the start may be mended now, by a GRANT.
            if repr(error) != reported:
                reported = repr(error)
                logger.warning("the database is not open yet: %s", reported)
            await asyncio.sleep(CONNECT_AGAIN)


async def migrate(connection: Connection) -> None:
    """Run the migrations that the database has not seen: all, or none."""
    connection.silence = MIGRATION_WAIT
    async with connection.transaction():
        await connection.execute(ONE_MIGRATES)
        cursor = await connection.execute("SELECT at FROM notes_schema")
        seen = len(await cursor.fetchall())
        for number, statement in enumerate(MIGRATIONS[seen:], start=seen + 1):
            await connection.execute(statement)
            await connection.execute("INSERT INTO notes_schema DEFAULT VALUES")
            logger.warning("migration %d is done", number)


@web.middleware
async def explain_errors(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Answer a refusal in JSON, and an outage with a 503 that is logged."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        if error.headers["Content-Type"].startswith("application/json"):
            raise
        # In aiohttp 4.0 an error is no response, and cannot be changed.
        headers = {**error.headers, "Content-Type": "application/json"}
        text = json.dumps({"error": error.reason})
        return web.Response(text=text, status=error.status, headers=headers)
    except CommitUnknownError as error:
        logger.warning("%s: %r", UNKNOWN, error)
        raise json_error(web.HTTPGatewayTimeout, UNKNOWN) from error
    except psycopg.Error as error:
        outage = outage_of(error)
        if outage is None:
            raise
        logger.warning("%s: %r", outage, error)
        headers = {hdrs.RETRY_AFTER: "1"}
        return web.json_response({"error": outage}, status=503, headers=headers)


def outage_of(error: psycopg.Error) -> str | None:
    """Say in our words what is out of order, or None for a mistake of ours."""
    for code, reason in OUTAGES.items():
        if error.sqlstate and error.sqlstate.startswith(code):
            return reason
    return AWAY if isinstance(error, psycopg.OperationalError) else None


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.get("/answer")
async def read_answer(request: web.Request) -> web.Response:
    """Let the database say 42."""
    [row] = await fetch(request.app, "SELECT 42 AS answer")
    return web.json_response(row)


async def fetch(
    app: web.Application, query: LiteralString, *parameters: object
) -> list[DictRow]:
    async with app[POOL].connection() as connection:
        cursor = await connection.execute(query, parameters)
        return await cursor.fetchall()


@routes.post("/notes")
async def add_note(request: web.Request) -> web.Response:
    """Store a note; 201 means that it is stored."""
    text = read_text(await read_json(request), "")
    [note_id] = await store(request, [text])
    url = request.app.router["note"].url_for(id=str(note_id))
    return web.json_response(
        {"id": note_id, "text": text},
        status=201,
        headers={hdrs.LOCATION: str(url)},
    )


@routes.post("/notes/batch")
async def add_notes(request: web.Request) -> web.Response:
    """Store up to 100 notes, or none of them."""
    body = await read_json(request)
    notes = body.get("notes") if isinstance(body, dict) else None
    if not isinstance(notes, list) or not 1 <= len(notes) <= MAX_BATCH:
        reason = f"notes must be a list of 1 to {MAX_BATCH}"
        raise json_error(web.HTTPBadRequest, reason)
    texts = []
    for index, note in enumerate(notes):
        texts.append(read_text(note, f"notes[{index}]: "))
    return web.json_response({"ids": await store(request, texts)}, status=201)


async def store(request: web.Request, texts: list[str]) -> list[int]:
    """Store notes once for each key, and return their ids."""
    new = {"texts": texts, "key": read_key(request)}

    async def insert(connection: Connection) -> list[int]:
        rows = await (await connection.execute(INSERT, new)).fetchall()
        if not rows:
            # A request with this key was here before.
            rows = await (await connection.execute(STORED, new)).fetchall()
        if [row["text"] for row in rows] != texts:
            reason = "this Idempotency-Key belongs to other notes"
            raise json_error(web.HTTPUnprocessableEntity, reason)
        return [row["id"] for row in rows]

    return await in_transaction(request.app, insert)


def read_key(request: web.Request) -> str:
    keys = request.headers.getall("Idempotency-Key", [uuid4().hex])
    if len(keys) == 1 and KEY.fullmatch(keys[0]):
        return keys[0]
    reason = "Idempotency-Key must be one, of 1 to 200 visible characters"
    raise json_error(web.HTTPBadRequest, reason)


async def read_json(request: web.Request) -> object:
    # Bytes, not text(): the client would choose the codec, and some are slow.
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        raise json_error(web.HTTPBadRequest, "the body must be JSON") from None


def read_text(note: object, where: str) -> str:
    text = note.get("text") if isinstance(note, dict) else None
    if isinstance(text, str) and TEXT.fullmatch(text):
        return text
    reason = f"{where}text must have 1 to 1000 characters"
    raise json_error(web.HTTPBadRequest, reason)


@routes.get("/notes")
async def list_notes(request: web.Request) -> web.Response:
    """Show the newest notes first."""
    query = "SELECT id, text FROM notes ORDER BY id DESC LIMIT %s"
    notes = await fetch(request.app, query, read_limit(request))
    return web.json_response({"notes": notes})


def read_limit(request: web.Request) -> int:
    limits = request.query.getall("limit", ["20"])
    if len(limits) == 1 and re.fullmatch("[0-9]{1,3}", limits[0]):
        limit = int(limits[0])
        if 1 <= limit <= MAX_LIMIT:
            return limit
    reason = f"limit must be one number, 1 to {MAX_LIMIT}"
    raise json_error(web.HTTPBadRequest, reason)


# A number of 19 digits may not fit into the 64 bits of a bigint: a 500.
@routes.get("/notes/{id:[0-9]{1,18}}", name="note")
async def read_note(request: web.Request) -> web.Response:
    """Show one note."""
    query = "SELECT id, text FROM notes WHERE id = %s"
    rows = await fetch(request.app, query, int(request.match_info["id"]))
    if not rows:
        raise json_error(web.HTTPNotFound, "there is no such note")
    return web.json_response(rows[0])


def create_app(*, postgres_url: str) -> web.Application:
    app = web.Application(middlewares=[explain_errors])
    app.cleanup_ctx.append(partial(open_database, postgres_url=postgres_url))
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    url = os.environ.get("POSTGRES_URL", "postgresql://localhost/cookbook")
    port = int(os.environ.get("PORT", "8080"))
    app = create_app(postgres_url=url)
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except (psycopg.Error, OSError) as error:
        raise SystemExit(f"cannot start: {error}") from None
