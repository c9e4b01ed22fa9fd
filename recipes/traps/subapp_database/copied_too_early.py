# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10,<4", "aiosqlite>=0.20"]
# ///
"""A connection that is copied where applications are built is a KeyError.

A plain `create_app()` runs before there is an event loop. The database is
opened when the application starts, so there is nothing to copy yet
(aiohttp#2412). Take it from `request.config_dict` in the handler, or copy it in
a cleanup context, once it is open.

Try it::

    $ curl localhost:8080/sub/ 2>/dev/null || echo no answer
    no answer
    Log: KeyError: <AppKey(__main__.DATABASE, ...
"""

import asyncio
import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from aiohttp import web
from aiosqlite import Connection, connect

DATABASE = web.AppKey("DATABASE", Connection)
TURN = web.AppKey("TURN", asyncio.Lock)
NAME = web.AppKey("NAME", str)

# A commit does not wait for the disk. When the power fails, the last visits may
# be lost.
SCHEMA = """
    PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, visits INTEGER);
    CREATE TABLE IF NOT EXISTS journal (app TEXT, event TEXT);
"""
COUNT = """
    INSERT INTO counter VALUES (1, 1)
    ON CONFLICT (id) DO UPDATE SET visits = visits + 1 RETURNING visits
"""
# Seconds that a visit waits for other visits.
TURN_WAIT = 0.9
# Seconds that its statement then waits for other processes.
LOCK_WAIT = 0.1

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


# answer
@routes.get("/")
async def count_visit(request: web.Request) -> web.Response:
    """Count a visit to any of the applications."""
    connection = request.config_dict[DATABASE]
    visits = await count(connection, request.config_dict[TURN])
    return web.json_response({"app": request.app[NAME], "visits": visits})


async def open_database(
    app: web.Application, path: Path
) -> AsyncIterator[None]:
    # A file that cannot be opened raises here. In aiosqlite 0.22 its thread
    # would print a second error, "Event loop is closed".
    sqlite3.connect(path).close()
    opening = connect(path, timeout=LOCK_WAIT, isolation_level=None)
    async with opening as connection:
        await connection.executescript(SCHEMA)
        app[DATABASE] = connection
        app[TURN] = asyncio.Lock()
        # They start after the database, and end before it.
        async with journal(connection, "sub"), journal(connection, "deeper"):
            yield


@asynccontextmanager
async def journal(connection: Connection, name: str) -> AsyncIterator[None]:
    """Write down when a sub-application starts and ends."""
    insert = "INSERT INTO journal VALUES (?, ?)"
    await connection.execute(insert, [name, "opened"])
    try:
        yield
    finally:
        try:
            await connection.execute(insert, [name, "closed"])
        except sqlite3.Error as error:
            reason = "the end of %s is not in the journal: %r"
            logger.warning(reason, name, error)


# end of answer


async def count(connection: Connection, turn: asyncio.Lock) -> int:
    try:
        async with asyncio.timeout(TURN_WAIT) as limit, turn:
            # Only the wait for the turn has a limit. A statement that is cut
            # off may still be stored.
            limit.reschedule(None)
            rows = list(await connection.execute_fetchall(COUNT))
    except (TimeoutError, sqlite3.OperationalError) as error:
        if not is_busy(error):
            raise  # a mistake, such as a missing table, is a 500
        logger.warning("the database is busy: %r", error)
        reason = "the database is busy"
        raise json_error(web.HTTPServiceUnavailable, reason) from error
    return int(rows[0][0])


def is_busy(error: TimeoutError | sqlite3.OperationalError) -> bool:
    if isinstance(error, TimeoutError):
        return True
    return error.sqlite_errorname.startswith("SQLITE_BUSY")


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


def create_sub(name: str) -> web.Application:
    app = web.Application()
    app[NAME] = name
    app.add_routes(routes)
    return app


async def require_database(
    app: web.Application, parent: web.Application
) -> AsyncIterator[None]:
    # At the start, and not as a KeyError at the first request.
    if DATABASE not in parent:
        raise RuntimeError(f"{app[NAME]} is mounted without a DATABASE")
    yield


def create_app(*, database: Path = Path("visits.db")) -> web.Application:
    app = create_sub("main")
    sub = create_sub("sub")
    sub[DATABASE] = app[DATABASE]
    app.cleanup_ctx.append(partial(open_database, path=database))
    sub.cleanup_ctx.append(partial(require_database, parent=app))
    sub.add_subapp("/deeper", create_sub("deeper"))
    app.add_subapp("/sub", sub)
    return app


if __name__ == "__main__":
    app = create_app(database=Path(os.environ.get("DATABASE", "visits.db")))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except (sqlite3.Error, OSError) as error:
        raise SystemExit(f"cannot start: {error}") from None
