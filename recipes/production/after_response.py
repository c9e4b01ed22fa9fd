# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4", "aiojobs>=1.3", "aiosqlite>=0.20"]
# ///
"""How do I perform operations in a request handler after sending the response?

Start from this file when you go live. Here the follow-up is a write to a
database. Finished follow-ups are collected and stored in one statement, and
stored again later while the database is busy: no answered ping is lost to a
lock. A database that is missing at the start is opened later. What is pending
is limited, and the log says what the end of the server has cost.

Try it::

    $ curl -X POST 'localhost:8080/ping?work=1.5'; curl localhost:8080/count
    {"message": "PONG"}{"count": ..., "pending": 1}
    $ sleep 2; curl localhost:8080/count
    {"count": ..., "pending": 0}
    $ curl localhost:8080/ping
    {"error": "Method Not Allowed"}

Good to know:

- At SIGTERM the follow-ups have 5 seconds, or `grace`. The database then has 2
  seconds to take the last of them. Each that is cancelled, and how many could
  not be stored, is logged.
- SIGKILL loses what is pending. Write what must never be lost before you
  answer, in the transaction that it belongs to.
- `/ping` starts its work before the answer is sent, so the work is done even if
  the answer cannot be sent. `/ping-in-order` does no work where the server
  failed to answer, and does it where the client has left.
- No middleware can change an answer that `write_eof()` has sent. That of
  aiohttp-session raises RuntimeError; the others look at `response.prepared`.
- A POST from a page of another site is accepted. Put a check of `Origin` or
  `Sec-Fetch-Site` in front of it.
"""

import asyncio
import json
import logging
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiojobs import Scheduler
from aiosqlite import Connection, connect

GRACE = 5.0
"""Seconds that the follow-ups have when the server ends."""

LAST_STORE = 2.0
"""Seconds that the database then has to take what they counted."""

LOCK_WAIT = 0.25
"""Seconds that a statement waits for other processes."""

STORE_AGAIN = 0.25
"""Seconds between two attempts to store what is counted."""

OPEN_AGAIN = 0.5
"""Seconds between two attempts to open the database."""

MAX_WORK = 1.5
"""Seconds that a client may ask for."""

MAX_PENDING = 10_000
"""Follow-ups that are not done or not stored; the next ping is refused."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS pongs (id INTEGER PRIMARY KEY, count INTEGER)
"""
ADD = """
INSERT INTO pongs VALUES (1, ?)
ON CONFLICT (id) DO UPDATE SET count = count + excluded.count
"""

CLOSED = "the database is not open yet"
FULL = "too much is pending"
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
    """One connection writes. The other reads, and waits for no writer."""

    writer: Connection
    reader: Connection


@dataclass
class Counter:
    """Pings that are counted, and not yet stored.

    A number is enough, however many they are: a batch is one statement.
    """

    unstored: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    connections: Connections | None = None
    deadline: float | None = None
    """When to give up, once the server ends."""

    @property
    def opened(self) -> Connections:
        """The connections; raises a 503 where there are none yet."""
        if self.connections is None:
            raise unavailable(CLOSED)
        return self.connections

    def add(self) -> None:
        self.unstored += 1
        self.changed.set()

    def is_over(self) -> bool:
        if self.deadline is None:
            return False
        return not self.unstored or time.monotonic() > self.deadline


COUNTER = web.AppKey("COUNTER", Counter)
SCHEDULER = web.AppKey("SCHEDULER", Scheduler)


async def open_database(
    app: web.Application, path: Path
) -> AsyncIterator[None]:
    """Open the database now, or as soon as that is possible."""
    app[COUNTER] = Counter()
    async with AsyncExitStack() as stack:
        opening = asyncio.create_task(keep_opening(app[COUNTER], path, stack))
        stack.push_async_callback(cancel, opening)
        await asyncio.wait([opening], timeout=LOCK_WAIT + OPEN_AGAIN)
        if opening.done():
            opening.result()  # raises what is a mistake of this program
        yield


async def keep_opening(
    counter: Counter, path: Path, stack: AsyncExitStack
) -> None:
    """Try until it works, and let the stack close what was opened."""
    reported = ""
    while counter.connections is None:
        opening = open_connections(path)
        try:
            connections = await stack.enter_async_context(opening)
        except sqlite3.Error as error:
            if outage_of(error) is None:
                logger.exception("a mistake keeps %s closed", path)
                raise
            if repr(error) != reported:
                reported = repr(error)
                logger.warning("cannot open %s: %s", path, reported)
            await asyncio.sleep(OPEN_AGAIN)
        else:
            counter.connections = connections
            storing = asyncio.create_task(
                keep_storing(counter, connections.writer)
            )
            # The stack ends in reverse: this comes before the database closes.
            stack.push_async_callback(finish, counter, storing)
    if reported:
        logger.warning("opened %s after all", path)


@asynccontextmanager
async def open_connections(path: Path) -> AsyncIterator[Connections]:
    # A file that cannot be opened raises here. aiosqlite would try it in a
    # thread, which prints a traceback if the server ends meanwhile.
    sqlite3.connect(path).close()
    async with (
        connect(path, timeout=LOCK_WAIT, isolation_level=None) as writer,
        connect(path, timeout=LOCK_WAIT) as reader,
    ):
        await writer.execute("PRAGMA journal_mode = WAL")
        await writer.execute("PRAGMA synchronous = NORMAL")
        await writer.executescript(SCHEMA)
        await reader.execute("PRAGMA query_only = ON")
        yield Connections(writer, reader)


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


# answer
async def keep_storing(counter: Counter, writer: Connection) -> None:
    """Store what is counted, a batch at a time, and again where that fails."""
    reported = ""
    while not counter.is_over():
        await counter.changed.wait()
        counter.changed.clear()
        batch = counter.unstored
        try:
            if batch:
                await writer.execute(ADD, [batch])
        except sqlite3.Error as error:
            # A lock may last: one line for it, not one for each attempt.
            if repr(error) != reported:
                reported = repr(error)
                logger.warning("%d pings have to wait: %s", batch, reported)
            await asyncio.sleep(STORE_AGAIN)
            counter.changed.set()
        else:
            # Not to 0: more may have been counted while this was stored.
            counter.unstored -= batch
            if reported:
                logger.warning("stored %d pings after all", batch)
                reported = ""


async def finish(counter: Counter, storing: asyncio.Task[None]) -> None:
    """Give the database some time to take the last pings."""
    counter.deadline = time.monotonic() + LAST_STORE
    counter.changed.set()
    # Not cancelled: a statement that is cut off might be stored all the same,
    # and the number below would be wrong. It ends within LOCK_WAIT.
    await asyncio.wait([storing])
    if counter.unstored:
        logger.error("%d pings are lost: not stored in time", counter.unstored)


# end of answer


async def open_scheduler(
    app: web.Application, grace: float
) -> AsyncIterator[None]:
    async with Scheduler(limit=None, wait_timeout=grace) as scheduler:
        app[SCHEDULER] = scheduler
        yield


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


# answer
@routes.post("/ping")
async def ping(request: web.Request) -> web.Response:
    """Start the work, and send PONG."""
    # Take from the request what the work needs. Its body cannot be read later.
    seconds = read_work(request)
    fail = read_fail(request)
    refuse_too_many(request.app)
    work = count_ping(request.app, seconds, fail)
    await request.app[SCHEDULER].spawn(work)
    return web.json_response({"message": "PONG"})


@routes.post("/ping-in-order")
async def ping_in_order(request: web.Request) -> web.Response:
    """Send PONG, and only then start the work."""
    seconds = read_work(request)
    fail = read_fail(request)
    refuse_too_many(request.app)
    response = web.json_response({"message": "PONG"})
    is_sent = False
    try:
        await response.prepare(request)
        await response.write_eof()
        is_sent = True
    except ConnectionError:
        if not has_left(request):
            raise
    finally:
        # The work of a client that has left is done all the same. Where the
        # server has failed to answer, the client will ask again.
        if is_sent or has_left(request):
            work = count_ping(request.app, seconds, fail)
            await request.app[SCHEDULER].spawn(work)
    # aiohttp needs the response, although it has been sent.
    return response


# end of answer


def has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def refuse_too_many(app: web.Application) -> None:
    """Raise a 503 where a ping could not be kept."""
    if app[COUNTER].connections is None:
        raise unavailable(CLOSED)
    if count_pending(app) >= MAX_PENDING:
        logger.warning("a ping is refused: %s", FULL)
        raise unavailable(FULL)


def count_pending(app: web.Application) -> int:
    """Return how many follow-ups are not done, or not stored."""
    return len(app[SCHEDULER]) + app[COUNTER].unstored


async def count_ping(app: web.Application, seconds: float, fail: bool) -> None:
    try:
        await asyncio.sleep(seconds)
        if fail:
            raise RuntimeError("this follow-up was told to fail")
        app[COUNTER].add()
    except asyncio.CancelledError:
        # aiojobs logs what fails, and not what it cancels.
        logger.error("a follow-up was cancelled: the server ends")
        raise


def read_work(request: web.Request) -> float:
    texts = request.query.getall("work", ["0.05"])
    if len(texts) == 1 and re.fullmatch(r"[0-9](\.[0-9]{1,9})?", texts[0]):
        seconds = float(texts[0])
        if seconds <= MAX_WORK:
            return seconds
    reason = f"work must be one number, 0 to {MAX_WORK}"
    raise json_error(web.HTTPBadRequest, reason)


def read_fail(request: web.Request) -> bool:
    fails = request.query.getall("fail", ["0"])
    if fails not in (["0"], ["1"]):
        raise json_error(web.HTTPBadRequest, "fail must be 0 or 1, once")
    return fails == ["1"]


@routes.get("/count")
async def read_count(request: web.Request) -> web.Response:
    """Show the count, and how many follow-ups are pending."""
    # Before the count: what is stored meanwhile must not be in neither.
    pending = count_pending(request.app)
    query = "SELECT coalesce(sum(count), 0) FROM pongs"
    reader = request.app[COUNTER].opened.reader
    rows = list(await reader.execute_fetchall(query))
    return web.json_response({"count": rows[0][0], "pending": pending})


def create_app(
    *, database: Path = Path("pings.db"), grace: float = GRACE
) -> web.Application:
    app = web.Application(middlewares=[explain_errors])
    # `:memory:` becomes a file, too: two connections need one to share.
    path = database.absolute()
    app.cleanup_ctx.append(partial(open_database, path=path))
    # After the database, which has to take what they count: the last context
    # that is entered is the first that is left.
    app.cleanup_ctx.append(partial(open_scheduler, grace=grace))
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(database=Path(os.environ.get("DATABASE", "pings.db")))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
