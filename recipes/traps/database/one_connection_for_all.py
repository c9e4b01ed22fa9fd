"""On a shared connection, one request commits the half of another.

A transaction belongs to the connection, not to the request. What a failed batch
has written stays in it, unconfirmed, until the next request says `commit()`:
then a row is stored that its sender was told is refused. The other way round, a
rollback takes back what somebody else was promised.

Try it::

    $ curl -d '{"notes": [{"text": "half"}, {}]}' localhost:8080/notes/batch
    {"error": "a note needs a text"}
    $ curl localhost:8080/notes
    {"notes": []}
    $ curl -d '{"text": "tea"}' localhost:8080/notes
    {"text": "tea"}
    $ curl localhost:8080/notes
    {"notes": [{"id": 1, "text": "half"}, {"id": 2, "text": "tea"}]}
"""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiosqlite import Connection, connect

DATABASE = web.AppKey("DATABASE", Connection)
INSERT = "INSERT INTO notes (text) VALUES (?)"

routes = web.RouteTableDef()


@asynccontextmanager
async def connection(app: web.Application) -> AsyncIterator[None]:
    async with connect(os.environ.get("DATABASE", "notes.db")) as db:
        await db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text)")
        app[DATABASE] = db
        yield


@routes.post("/notes/batch")
@routes.post("/notes")
async def add_notes(request: web.Request) -> web.Response:
    """Store one note, or all notes of a batch."""
    body, db = await request.json(), request.app[DATABASE]  # wrong
    for note in body.get("notes", [body]):
        if "text" not in note:
            return web.json_response({"error": "a note needs a text"})
        await db.execute(INSERT, [note["text"]])
    await db.commit()
    return web.json_response(body)


@routes.get("/notes")
async def list_notes(request: web.Request) -> web.Response:
    """Show what another process sees: the rows that are confirmed."""
    other = sqlite3.connect(os.environ.get("DATABASE", "notes.db"))
    rows = other.execute("SELECT id, text FROM notes").fetchall()
    other.close()
    return web.json_response({"notes": [{"id": i, "text": t} for i, t in rows]})


def create_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(connection)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
