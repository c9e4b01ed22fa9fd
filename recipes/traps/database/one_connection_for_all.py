# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4", "aiosqlite>=0.20"]
# ///
"""On a shared connection, one request commits half of another's work.

A transaction belongs to the connection, not to the request. Here a request
writes and then commits, without a transaction of its own. What a refused batch
has written stays open until the next request commits. Then a note is stored
although its sender was told that it was refused. Begin a transaction for each
request, and roll it back when the request fails.

Try it::

    $ curl -d '{"notes": [{"text": "half"}, {}]}' localhost:8080/notes/batch
    {"error": "notes[1]: text must have 1 to 1000 characters"}
    $ curl -d '{"notes": [{"text": "tea"}]}' localhost:8080/notes/batch
    {"ids": [2]}
    $ curl localhost:8080/notes
    {"notes": [{"id": 2, "text": "tea"}, {"id": 1, "text": "half"}]}
"""

import asyncio
import json
import os
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from aiohttp import web
from aiosqlite import Connection, connect

WRITER = web.AppKey("WRITER", Connection)
READER = web.AppKey("READER", Connection)
TURN = web.AppKey("TURN", asyncio.Lock)

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)"
INSERT = "INSERT INTO notes (text) VALUES (?)"
TEXT = re.compile("[^\ud800-\udfff]{1,1000}")
# Seconds that a write waits for other requests, and then for other processes.
WAIT = 1.0

routes = web.RouteTableDef()


# answer
async def connections(app: web.Application, path: Path) -> AsyncIterator[None]:
    # A file that cannot be opened raises here. In aiosqlite 0.22 its thread
    # would print a second error, "Event loop is closed".
    sqlite3.connect(path).close()
    async with connect(path, timeout=WAIT) as writer, connect(path) as reader:
        await writer.execute("PRAGMA journal_mode = WAL")
        await writer.execute(SCHEMA)
        await reader.execute("PRAGMA query_only = ON")
        app[WRITER] = writer
        app[READER] = reader
        app[TURN] = asyncio.Lock()
        yield


@routes.get("/answer")
async def read_answer(request: web.Request) -> web.Response:
    """Let the database say 42."""
    rows = list(await request.app[READER].execute_fetchall("SELECT 42"))
    return web.json_response({"answer": rows[0][0]})


@asynccontextmanager
async def transaction(app: web.Application) -> AsyncIterator[Connection]:
    async with asyncio.timeout(WAIT) as limit, app[TURN]:
        # Only the wait for the turn has a limit. A statement that is cut off
        # may still be stored.
        limit.reschedule(None)
        yield app[WRITER]
        await app[WRITER].commit()


# end of answer


@routes.post("/notes/batch")
async def add_notes(request: web.Request) -> web.Response:
    """Store up to 100 notes, or none of them."""
    body = await read_json(request)
    notes = body.get("notes") if isinstance(body, dict) else None
    if not isinstance(notes, list) or not 1 <= len(notes) <= 100:
        raise json_error(web.HTTPBadRequest, "notes must be a list of 1 to 100")
    ids = []
    try:
        async with transaction(request.app) as writer:
            for index, note in enumerate(notes):
                # A bad note raises, and the notes before it are taken back.
                text = read_text(note, index)
                cursor = await writer.execute(INSERT, [text])
                ids.append(cursor.lastrowid)
    except (TimeoutError, sqlite3.OperationalError) as error:
        if not is_busy(error):
            raise  # a mistake, such as a missing table, is a 500
        request.app.logger.warning("the database is busy: %r", error)
        reason = "the database is busy"
        raise json_error(web.HTTPServiceUnavailable, reason) from error
    return web.json_response({"ids": ids}, status=201)


def is_busy(error: TimeoutError | sqlite3.OperationalError) -> bool:
    if isinstance(error, TimeoutError):
        return True
    return error.sqlite_errorname.startswith("SQLITE_BUSY")


async def read_json(request: web.Request) -> object:
    # Bytes, not text(): the client would choose the codec, and some are slow.
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        raise json_error(web.HTTPBadRequest, "the body must be JSON") from None


def read_text(note: object, index: int) -> str:
    text = note.get("text") if isinstance(note, dict) else None
    # JSON can hold half of a surrogate pair. SQLite cannot store it.
    if isinstance(text, str) and TEXT.fullmatch(text):
        return text
    reason = f"notes[{index}]: text must have 1 to 1000 characters"
    raise json_error(web.HTTPBadRequest, reason)


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.get("/notes")
async def list_notes(request: web.Request) -> web.Response:
    """Show the newest 20 notes first."""
    query = "SELECT id, text FROM notes ORDER BY id DESC LIMIT 20"
    rows = await request.app[READER].execute_fetchall(query)
    notes = [{"id": note_id, "text": text} for note_id, text in rows]
    return web.json_response({"notes": notes})


def create_app(*, database: Path = Path("notes.db")) -> web.Application:
    app = web.Application()
    # `:memory:` becomes a file, too: two connections need one to share.
    app.cleanup_ctx.append(partial(connections, path=database.absolute()))
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(database=Path(os.environ.get("DATABASE", "notes.db")))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except (sqlite3.Error, OSError) as error:
        raise SystemExit(f"cannot start: {error}") from None
