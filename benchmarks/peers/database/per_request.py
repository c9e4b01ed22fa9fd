"""A connection to SQLite for each request, in the same mode as the answer's.

Run with the path of the database.
"""

import sys

from aiohttp import web
from aiosqlite import connect

from benchmarks.serve import serve

PATH = web.AppKey("PATH", str)

WAIT = 5.0
"""Seconds that a request waits for others, which is the default of sqlite3."""


async def add_notes(request: web.Request) -> web.Response:
    notes = (await request.json())["notes"]
    ids = []
    async with connect(request.app[PATH], timeout=WAIT) as connection:
        await connection.execute("BEGIN IMMEDIATE")
        for note in notes:
            cursor = await connection.execute(
                "INSERT INTO notes (text) VALUES (?)", [note["text"]]
            )
            ids.append(cursor.lastrowid)
        await connection.commit()
    return web.json_response({"ids": ids}, status=201)


async def make_schema(app: web.Application) -> None:
    async with connect(app[PATH]) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute(
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"
        )
        await connection.commit()


if __name__ == "__main__":
    app = web.Application()
    app[PATH] = sys.argv[1]
    app.on_startup.append(make_schema)
    app.router.add_post("/notes/batch", add_notes)
    serve(app)
