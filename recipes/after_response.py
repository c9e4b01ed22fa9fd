# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How do I perform operations in a request handler after sending the response?

Send it with `prepare()` and `write_eof()`, then hand the work to a task that
somebody owns: here an aiojobs scheduler in a cleanup context. Done in the
handler itself, as in the FAQ, the work delays the client's next request on the
same connection, never starts if the client has left before the answer, and
ends the connection if it raises. (As printed, the FAQ's `def ping_handler` is
a SyntaxError: it has to be `async def`.)

Try it::

    $ curl 'localhost:8080/ping?work=1.5' localhost:8080/count
    {"message": "PONG"}{"count": ..., "pending": 1}
    $ sleep 2
    $ curl localhost:8080/count
    {"count": ..., "pending": 0}

Good to know:

- With an owned task, all that `write_eof()` adds is order: the follow-up starts
  after the answer is sent. The price: no middleware can change that answer
  (see `response.prepared`), and aiohttp-session's raises RuntimeError.
- A bare `create_task()` is lost at SIGTERM. Here what is pending then has
  `GRACE` seconds and is logged if that is too short; the database closes last.
  SIGKILL loses it: what must not be lost is written before the answer.
- aiojobs runs 100 jobs at a time unless told otherwise; the others queue.
- HEAD counts like GET.
"""

import asyncio
import json
import logging
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial

import aiojobs.aiohttp as jobs
import aiosqlite
from aiohttp import web

DATABASE = web.AppKey("DATABASE", aiosqlite.Connection)

GRACE = 5.0
MAX_PENDING = 10_000
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS pongs (id INTEGER PRIMARY KEY, count INTEGER);
INSERT OR IGNORE INTO pongs VALUES (1, 0);
"""

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


@asynccontextmanager
async def open_database(app: web.Application, path: str) -> AsyncIterator[None]:
    # Not by aiosqlite: if its connect() fails, its thread outlives the loop.
    with closing(sqlite3.connect(path)) as file:
        file.executescript(SCHEMA)
    # The one thread does nothing else while it waits for another process's
    # lock, not even close: not for SQLite's usual 5 seconds.
    async with aiosqlite.connect(path, timeout=0.1, isolation_level=None) as db:
        await db.execute("PRAGMA synchronous = NORMAL")
        app[DATABASE] = db
        yield


@routes.get("/ping")
@routes.post("/ping")
async def ping(request: web.Request) -> web.Response:
    """Send PONG, then increase the count after `work` seconds."""
    work, fail = read_query(request)
    if len(jobs.get_scheduler(request)) >= MAX_PENDING:
        raise refuse(web.HTTPServiceUnavailable, "too much is pending")
    response = web.json_response({"message": "PONG"})
    try:
        with suppress(ConnectionError):
            await response.prepare(request)
            await response.write_eof()
    finally:
        # Also for a client that has left, which may cancel this handler.
        await jobs.spawn(request, follow_up(request.app, work, fail))
    return response


def read_query(request: web.Request) -> tuple[float, bool]:
    with suppress(ValueError):
        [work] = map(float, request.query.getall("work", ["0.05"]))
        [fail] = request.query.getall("fail", ["0"])
        if 0 <= work <= 1.5 and fail in {"0", "1"}:
            return work, fail == "1"
    reason = "work is a number from 0 to 1.5, and fail is 0 or 1"
    raise refuse(web.HTTPBadRequest, reason)


def refuse(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    text = json.dumps({"error": reason})
    return kind(text=text, content_type="application/json")


async def follow_up(app: web.Application, work: float, fail: bool) -> None:
    try:
        await asyncio.sleep(work)
        if fail:
            raise RuntimeError("this follow-up was told to fail")
        await app[DATABASE].execute("UPDATE pongs SET count = count + 1")
    except asyncio.CancelledError:
        logger.error("a follow-up was cancelled: the server ends")
        raise
    except Exception:
        logger.exception("a follow-up failed")


@routes.get("/count")
async def read_count(request: web.Request) -> web.Response:
    """Return the count, and how many follow-ups are pending."""
    query = "SELECT count FROM pongs"
    try:
        [(count,)] = await request.app[DATABASE].execute_fetchall(query)
    except sqlite3.Error:
        reason = "the database cannot be read"
        raise refuse(web.HTTPServiceUnavailable, reason) from None
    pending = len(jobs.get_scheduler(request))
    return web.json_response({"count": count, "pending": pending})


def create_app(
    *, database: str | os.PathLike[str] = "pings.db"
) -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(partial(open_database, path=os.fspath(database)))
    # After the database, so that it ends before it.
    jobs.setup(app, limit=None, wait_timeout=GRACE)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(database=os.environ.get("DATABASE", "pings.db"))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except (sqlite3.Error, OSError) as error:
        sys.exit(f"cannot start: {error}")
