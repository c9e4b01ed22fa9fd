"""Engines of an attack's own, in a folder that goes with them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from cookbook.postgres_server import find_postgres, make_cluster
from tests.engines import KillablePostgres

CLIENTS_GONE = """
    SELECT count(*) = 0 FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

QUIET = 10.0
"""Seconds in which a server has ended what its lost clients had begun."""


@asynccontextmanager
async def killable_postgres() -> AsyncIterator[KillablePostgres]:
    """Run a PostgreSQL that can be killed, and leave it running again."""
    programs = find_postgres()
    assert programs, "no PostgreSQL was found"
    # A path to a Unix socket is short.
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        await asyncio.to_thread(make_cluster, programs, folder)
        postgres = await asyncio.to_thread(KillablePostgres, folder)
        try:
            yield postgres
        finally:
            await asyncio.to_thread(postgres.stop)


async def texts_in(url: str) -> Iterable[str]:
    """Return the texts of all notes, when no client is there any more."""
    connecting = psycopg.AsyncConnection.connect(url, autocommit=True)
    async with await connecting as connection:
        async with asyncio.timeout(QUIET):
            while not await is_true(connection, CLIENTS_GONE):
                await asyncio.sleep(0.05)
        cursor = await connection.execute("SELECT text FROM notes")
        return [str(text) for (text,) in await cursor.fetchall()]


async def is_true(
    connection: psycopg.AsyncConnection[tuple[object, ...]], query: str
) -> bool:
    row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None
    return bool(row[0])
