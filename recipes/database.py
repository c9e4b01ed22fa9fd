"""Where do I put my database connection so handlers can access it?

Under a typed `web.AppKey`, by a cleanup context: an open connection keeps the
process from ending (aiosqlite#299). Leave out the FAQ's `loop`, which aiohttp
3.14 warns of, and its one connection for all: a request's commit stores the
half of another, its rollback takes back confirmed rows. Here one connection
reads, never waiting for a write (WAL); one writes, for one request at a time.

Try it::

    $ curl -d '{"notes": [{"text": "tea"}, {}]}' localhost:8080/notes/batch
    {"error": "notes[1]: text must have 1 to 1000 characters"}

Good to know: a write waits 0.9 s for its turn, and 0.9 s for other processes;
then it is a 503. One that runs is not timed out, as it might still commit.
"""

import asyncio
import json
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler
from aiosqlite import Connection, connect

READER = web.AppKey("READER", Connection)
WRITER = web.AppKey("WRITER", Connection)
TURN = web.AppKey("TURN", asyncio.Lock)
TABLE = "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)"
INSERT = "INSERT INTO notes (text) VALUES (?)"
routes = web.RouteTableDef()


@asynccontextmanager
async def connections(app: web.Application, path: str) -> AsyncIterator[None]:
    sqlite3.connect(path).close()  # fails here, not in aiosqlite's thread
    async with connect(path, timeout=0.9) as writer, connect(path) as reader:
        await writer.execute("PRAGMA journal_mode = WAL")
        await writer.execute("PRAGMA synchronous = FULL")
        await writer.execute(TABLE)
        await reader.execute("PRAGMA query_only = ON")
        app[WRITER], app[READER], app[TURN] = writer, reader, asyncio.Lock()
        yield


@asynccontextmanager
async def transaction(app: web.Application) -> AsyncIterator[Connection]:
    async with asyncio.timeout(0.9) as limit, app[TURN]:
        limit.reschedule(None)
        try:
            # A cancelled call still runs in aiosqlite's thread, in order:
            # the rollback comes after it, and before anybody's next BEGIN.
            await app[WRITER].execute("BEGIN IMMEDIATE")
            yield app[WRITER]
            await app[WRITER].execute("COMMIT")  # raises where commit() may not
        except BaseException:
            await app[WRITER].rollback()
            raise


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPError as error:
        error.text = json.dumps({"error": error.text})
        error.content_type = "application/json"
        raise
    except (sqlite3.DatabaseError, TimeoutError) as error:
        request.app.logger.warning("the database failed: %r", error)
        body = {"error": "the database is busy, full or broken"}
        return web.json_response(body, status=503, headers={"Retry-After": "1"})


@routes.get("/answer")
async def read_answer(request: web.Request) -> web.Response:
    """Let the database say 42."""
    [[answer]] = await request.app[READER].execute_fetchall("SELECT 42")
    return web.json_response({"answer": answer})


@routes.post("/notes")
async def add_note(request: web.Request) -> web.Response:
    """Store a note; 201 means that it is on the disk."""
    text = read_text(await read_json(request))
    async with transaction(request.app) as db:
        note_id = (await db.execute(INSERT, [text])).lastrowid
    url = request.app.router["note"].url_for(id=str(note_id))
    note = {"id": note_id, "text": text}
    return web.json_response(note, status=201, headers={"Location": str(url)})


async def read_json(request: web.Request) -> object:
    with suppress(RecursionError, ValueError, web.RequestPayloadError):
        if request.charset in {None, "utf-8", "UTF-8"}:  # others can be slow
            return await request.json()
    raise web.HTTPBadRequest(text="the body must be JSON in UTF-8")


def read_text(note: object, name: str = "") -> str:
    match note:
        # JSON may hold half a surrogate pair, which SQLite cannot store.
        case {"text": str(t)} if re.fullmatch("[^\ud800-\udfff]{1,1000}", t):
            return t
    raise web.HTTPBadRequest(text=f"{name}text must have 1 to 1000 characters")


@routes.post("/notes/batch")
async def add_notes(request: web.Request) -> web.Response:
    """Store up to 100 notes, or none of them."""
    match await read_json(request):
        case {"notes": [*notes]} if len(notes) <= 100:
            texts = [read_text(n, f"notes[{i}]: ") for i, n in enumerate(notes)]
            async with transaction(request.app) as db:
                ids = [(await db.execute(INSERT, [t])).lastrowid for t in texts]
            return web.json_response({"ids": ids}, status=201)
    raise web.HTTPBadRequest(text="notes must be a list of up to 100")


@routes.get("/notes")
async def list_notes(request: web.Request) -> web.Response:
    """Show the newest notes first."""
    limit = request.query.getall("limit", ["20"])
    if not re.fullmatch("[1-9][0-9]?|100", ",".join(limit)):
        raise web.HTTPBadRequest(text="limit must be one number, 1 to 100")
    query = "SELECT id, text FROM notes ORDER BY id DESC LIMIT ?"
    rows = await request.app[READER].execute_fetchall(query, limit)
    return web.json_response({"notes": [{"id": i, "text": t} for i, t in rows]})


@routes.get("/notes/{id:[0-9]{1,18}}", name="note")
async def read_note(request: web.Request) -> web.Response:
    """Show one note."""
    query = "SELECT id, text FROM notes WHERE id = ?"
    note_id = [request.match_info["id"]]
    for i, t in await request.app[READER].execute_fetchall(query, note_id):
        return web.json_response({"id": i, "text": t})
    raise web.HTTPNotFound(text="there is no such note")


def create_app(*, database: Path | str = "notes.db") -> web.Application:
    app = web.Application(middlewares=[explain])
    app.cleanup_ctx.append(lambda app: connections(app, str(database)))
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(database=os.environ.get("DATABASE", "notes.db"))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except (sqlite3.Error, OSError) as error:
        sys.exit(f"cannot start: {error}")
