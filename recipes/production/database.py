# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4", "aiosqlite>=0.20"]
# ///
"""Where do I put my database connection so handlers can access it?

Start from this file when you go live. It starts without its database, answers
503 until the file can be opened, and needs no restart then. It answers 503 when
the database is busy, full or broken, and 500 for a mistake in the program. Both
are logged with their cause.

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

- A write waits 0.9 s for its turn, and 0.9 s for other processes. A statement
  that runs has no limit: cut off, it might still be stored.
- 201 means that the note is on the disk: with `synchronous = FULL`, a commit
  waits for it. But stop the program before you replace or restore the file.
  What is written to a file that was deleted is lost.
- Do not catch an error of the database inside `transaction()`. SQLite may have
  ended the transaction, and the statements after it are stored one by one.
- Reads go on while another process holds the lock for writing.
- A request that runs at SIGTERM has twice `shutdown_timeout` to finish, 10 s.
  Then it is cancelled, and its transaction is rolled back.
- This file accepts a POST from a page of another site. Check `Origin` or
  `Sec-Fetch-Site` in front of it.
"""

import asyncio
import json
import logging
import os
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiosqlite import Connection, connect

TURN_WAIT = 0.9
"""Seconds that a write waits for other requests."""

LOCK_WAIT = 0.9
"""Seconds that it then waits for other processes."""

OPEN_AGAIN = 0.5
"""Seconds between two attempts to open the database."""

MAX_BATCH = 100
MAX_LIMIT = 100

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)"
INSERT = "INSERT INTO notes (text) VALUES (?)"
TEXT = re.compile("[^\ud800-\udfff]{1,1000}")

CLOSED = "the database is not open yet"
OUTAGES = {
    "SQLITE_BUSY": "the database is busy",
    "SQLITE_CANTOPEN": "the database cannot be opened",
    "SQLITE_CORRUPT": "the database is broken",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk reports an error",
    "SQLITE_NOTADB": "the database is broken",
    "SQLITE_READONLY": "the database is read-only",
}
"""What is no mistake of this program, in our words.

SQLite has extended names that begin with these, such as SQLITE_IOERR_WRITE.
"""

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


class Connections(NamedTuple):
    """One connection writes, for one request at a time. The other reads."""

    writer: Connection
    reader: Connection


@dataclass
class Database:
    """A database that is opened as soon as that is possible."""

    path: Path
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    connections: Connections | None = None

    @property
    def opened(self) -> Connections:
        """The connections; raises a 503 where there are none yet."""
        if self.connections is None:
            raise unavailable(CLOSED)
        return self.connections


DATABASE = web.AppKey("DATABASE", Database)


# answer
async def open_database(
    app: web.Application, path: Path
) -> AsyncIterator[None]:
    """Open the database now, or as soon as that is possible."""
    app[DATABASE] = Database(path)
    async with AsyncExitStack() as stack:
        opening = asyncio.create_task(keep_opening(app[DATABASE], stack))
        stack.push_async_callback(cancel, opening)
        await asyncio.wait([opening], timeout=LOCK_WAIT + OPEN_AGAIN)
        if opening.done():
            opening.result()  # raises what is a mistake of this program
        yield


async def keep_opening(database: Database, stack: AsyncExitStack) -> None:
    """Try until it works, and let the stack close what was opened."""
    reported = ""
    while database.connections is None:
        opening = open_connections(database.path)
        try:
            database.connections = await stack.enter_async_context(opening)
        except sqlite3.Error as error:
            if outage_of(error) is None:
                logger.exception("a mistake keeps %s closed", database.path)
                raise
            if repr(error) != reported:
                reported = repr(error)
                logger.warning("cannot open %s: %s", database.path, reported)
            await asyncio.sleep(OPEN_AGAIN)
    if reported:
        logger.warning("opened %s after all", database.path)


@asynccontextmanager
async def open_connections(path: Path) -> AsyncIterator[Connections]:
    # A file that cannot be opened raises here. aiosqlite would try it in a
    # thread, which prints a traceback if the server ends meanwhile.
    sqlite3.connect(path).close()
    async with (
        # Without an isolation level sqlite3 begins no transaction by itself:
        # only transaction() does.
        connect(path, timeout=LOCK_WAIT, isolation_level=None) as writer,
        connect(path, timeout=LOCK_WAIT) as reader,
    ):
        await writer.execute("PRAGMA journal_mode = WAL")
        await writer.execute("PRAGMA synchronous = FULL")
        await writer.execute(SCHEMA)
        await reader.execute("PRAGMA query_only = ON")
        yield Connections(writer, reader)


# end of answer


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


# answer
@asynccontextmanager
async def transaction(app: web.Application) -> AsyncIterator[Connection]:
    """Let one request at a time write: all of its statements, or none."""
    writer = app[DATABASE].opened.writer
    turn = app[DATABASE].turn
    try:
        # Only this wait has a limit. A statement that is cut off may still be
        # stored.
        async with asyncio.timeout(TURN_WAIT):
            await turn.acquire()
    except TimeoutError as error:
        logger.warning("the database is busy: %r", error)
        raise unavailable(OUTAGES["SQLITE_BUSY"]) from None
    try:
        # Inside the `try`: aiosqlite runs a BEGIN even when its request is
        # cancelled.
        await writer.execute("BEGIN IMMEDIATE")
        yield writer
        await writer.execute("COMMIT")
    except BaseException:
        await writer.rollback()
        raise
    finally:
        turn.release()


# end of answer


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
        headers = error.headers.copy()
        headers["Content-Type"] = "application/json"
        text = json.dumps({"error": error.reason})
        return web.Response(text=text, status=error.status, headers=headers)
    except sqlite3.Error as error:
        outage = outage_of(error)
        if outage is None:
            raise
        logger.warning("%s: %r", outage, error)
        raise unavailable(outage) from error


def outage_of(error: sqlite3.Error) -> str | None:
    """Say in our words what is out of order, or None for a mistake of ours."""
    # What Python's module raises by itself has no name. It is a mistake.
    name = getattr(error, "sqlite_errorname", "")
    for outage, reason in OUTAGES.items():
        if name.startswith(outage):
            return reason
    return None


def unavailable(reason: str) -> web.HTTPError:
    error = json_error(web.HTTPServiceUnavailable, reason)
    error.headers[hdrs.RETRY_AFTER] = "1"
    return error


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.get("/answer")
async def read_answer(request: web.Request) -> web.Response:
    """Let the database say 42."""
    reader = request.app[DATABASE].opened.reader
    rows = list(await reader.execute_fetchall("SELECT 42"))
    return web.json_response({"answer": rows[0][0]})


@routes.post("/notes")
async def add_note(request: web.Request) -> web.Response:
    """Store a note; 201 means that it is on the disk."""
    text = read_text(await read_json(request), "")
    async with transaction(request.app) as writer:
        cursor = await writer.execute(INSERT, [text])
    url = request.app.router["note"].url_for(id=str(cursor.lastrowid))
    return web.json_response(
        {"id": cursor.lastrowid, "text": text},
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
    ids = []
    async with transaction(request.app) as writer:
        for text in texts:
            cursor = await writer.execute(INSERT, [text])
            ids.append(cursor.lastrowid)
    return web.json_response({"ids": ids}, status=201)


async def read_json(request: web.Request) -> object:
    # Bytes, not text(): the client would choose the codec, and some are slow.
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        raise json_error(web.HTTPBadRequest, "the body must be JSON") from None


def read_text(note: object, where: str) -> str:
    text = note.get("text") if isinstance(note, dict) else None
    # JSON can hold half of a surrogate pair. SQLite cannot store it.
    if isinstance(text, str) and TEXT.fullmatch(text):
        return text
    reason = f"{where}text must have 1 to 1000 characters"
    raise json_error(web.HTTPBadRequest, reason)


@routes.get("/notes")
async def list_notes(request: web.Request) -> web.Response:
    """Show the newest notes first."""
    limit = read_limit(request)
    query = "SELECT id, text FROM notes ORDER BY id DESC LIMIT ?"
    reader = request.app[DATABASE].opened.reader
    rows = await reader.execute_fetchall(query, [limit])
    notes = [{"id": note_id, "text": text} for note_id, text in rows]
    return web.json_response({"notes": notes})


def read_limit(request: web.Request) -> int:
    limits = request.query.getall("limit", ["20"])
    if len(limits) == 1 and re.fullmatch("[0-9]{1,3}", limits[0]):
        limit = int(limits[0])
        if 1 <= limit <= MAX_LIMIT:
            return limit
    reason = f"limit must be one number, 1 to {MAX_LIMIT}"
    raise json_error(web.HTTPBadRequest, reason)


# A number of 19 digits may not fit into the 64 bits of SQLite: a 500.
@routes.get("/notes/{id:[0-9]{1,18}}", name="note")
async def read_note(request: web.Request) -> web.Response:
    """Show one note."""
    query = "SELECT id, text FROM notes WHERE id = ?"
    note_id = int(request.match_info["id"])
    reader = request.app[DATABASE].opened.reader
    rows = list(await reader.execute_fetchall(query, [note_id]))
    if not rows:
        raise json_error(web.HTTPNotFound, "there is no such note")
    return web.json_response({"id": rows[0][0], "text": rows[0][1]})


def create_app(*, database: Path = Path("notes.db")) -> web.Application:
    app = web.Application(middlewares=[explain_errors])
    # `:memory:` becomes a file, too: two connections need one to share.
    path = database.absolute()
    app.cleanup_ctx.append(partial(open_database, path=path))
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(database=Path(os.environ.get("DATABASE", "notes.db")))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
