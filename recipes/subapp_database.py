# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How do I access database connections from a subapplication?

Share it in a cleanup context of the parent, once it is open. The FAQ's line,
`subapp[db_key] = mainapp[db_key]`, is a KeyError where applications are built,
unless the connection was opened before there is an event loop. And aiohttp 3.14
closes the parent's contexts first: what a sub-application still writes at its
end meets a closed database. Here it starts and ends inside the parent's.

Try it::

    $ curl localhost:8080/
    {"app": "main", "visits": ...}
    $ curl localhost:8080/sub/
    {"app": "sub", "visits": ...}
    $ curl localhost:8080/sub/deeper/
    {"app": "deeper", "visits": ...}

Good to know:

- Handlers alone need no copy: `request.config_dict[DATABASE]` looks into the
  request's application and then outwards. Contexts have no request.
- Nothing else is shared: `request.app` knows its own keys only, and in
  `config_dict` they hide those of the same key further out.
- A key is found by identity: `web.AppKey("DATABASE", ...)` made twice is two.
- One connection is enough as long as one statement is a transaction. More
  statements need a connection, or a turn, of their own.
"""

import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
from aiohttp import web

DATABASE = web.AppKey("DATABASE", aiosqlite.Connection)
NAME = web.AppKey("NAME", str)

SCHEMA = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, visits INTEGER);
    CREATE TABLE IF NOT EXISTS journal (app TEXT, event TEXT);
"""
COUNT = """
    INSERT INTO counter VALUES (1, 1)
    ON CONFLICT (id) DO UPDATE SET visits = visits + 1 RETURNING visits
"""

routes = web.RouteTableDef()


@asynccontextmanager
async def connection(app: web.Application, path: str) -> AsyncIterator[None]:
    sqlite3.connect(path).close()  # fails here, not in aiosqlite's thread
    async with aiosqlite.connect(path, isolation_level=None, timeout=0.1) as db:
        await db.executescript(SCHEMA)
        app[DATABASE] = db
        yield


@asynccontextmanager
async def journal(app: web.Application) -> AsyncIterator[None]:
    if DATABASE not in app:
        raise RuntimeError(f"nobody shares a DATABASE with {app[NAME]!r}")
    insert = "INSERT INTO journal VALUES (?, ?)"
    await app[DATABASE].execute(insert, [app[NAME], "opened"])
    try:
        yield
    finally:
        await app[DATABASE].execute(insert, [app[NAME], "closed"])


@routes.get("/")
async def count_visit(request: web.Request) -> web.Response:
    """Count a visit to any of the applications."""
    try:
        [[visits]] = await request.app[DATABASE].execute_fetchall(COUNT)
    except sqlite3.DatabaseError as error:
        request.app.logger.warning("the database failed: %r", error)
        body = {"error": "the database is busy, full or broken"}
        return web.json_response(body, status=503, headers={"Retry-After": "1"})
    return web.json_response({"app": request.app[NAME], "visits": visits})


def create_sub(name: str) -> web.Application:
    app = web.Application()
    app[NAME] = name
    app.cleanup_ctx.append(journal)
    app.add_routes(routes)
    return app


def mount(app: web.Application, prefix: str, subapp: web.Application) -> None:
    @asynccontextmanager
    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        subapp[DATABASE] = app[DATABASE]
        try:
            await subapp.startup()
            yield
        finally:
            await subapp.cleanup()

    app.add_subapp(prefix, subapp)
    # What add_subapp has just appended would clean up after the parent.
    app.on_startup.pop()
    app.on_cleanup.pop()
    app.cleanup_ctx.append(lifetime)


def create_app(*, database: Path | str = "visits.db") -> web.Application:
    app, sub = web.Application(), create_sub("sub")
    app[NAME] = "main"
    app.cleanup_ctx.append(lambda app: connection(app, str(database)))
    app.add_routes(routes)
    mount(sub, "/deeper", create_sub("deeper"))
    mount(app, "/sub", sub)
    return app


if __name__ == "__main__":
    app = create_app(database=os.environ.get("DATABASE", "visits.db"))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except (sqlite3.Error, OSError) as error:
        sys.exit(f"cannot start: {error}")
