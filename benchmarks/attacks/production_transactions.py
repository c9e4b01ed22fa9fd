"""Clients of the production file leave, are refused, and connections break.

Of the transactions of two workers, 30 % are rolled back, most of them when
their notes are written already, and from 20 % the clients leave. Every 0.2 s
PostgreSQL ends a connection, whatever it does. What was acknowledged has to be
stored, and nothing else, but for what nobody was told of.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psycopg

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._engines import killable_postgres, texts_in
from benchmarks.attacks._ledger import Ledger, Writer, start_workers

WRITERS = 16
LEAVING = 0.2

PEACE = 0.2
"""Seconds between two connections that are ended."""

END_ONE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
    ORDER BY state <> 'active', random() LIMIT 1
"""


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    ledger = Ledger()
    numbers = iter(range(size))

    async def keep_writing(writer: Writer) -> None:
        for number in numbers:
            await writer.write(number)
            advance()

    async with killable_postgres() as postgres:
        async with AsyncExitStack() as stack:
            clients = await start_workers(root, postgres.url, stack)
            async with (
                connections_that_break(postgres.url) as broken,
                asyncio.TaskGroup() as writers,
            ):
                for number in range(WRITERS):
                    writer = Writer(
                        clients[number % len(clients)],
                        ledger,
                        f"{number}",
                        chooser,
                        leaving=LEAVING,
                        late=True,
                    )
                    writers.create_task(keep_writing(writer))
        faults = ledger.faults(await texts_in(postgres.url))
    counts = {"transactions": size, **ledger.counts()}
    return Found({**counts, "connections ended": len(broken)}, faults)


@asynccontextmanager
async def connections_that_break(url: str) -> AsyncIterator[list[int]]:
    """End connections, busy ones first; yield a list with one for each."""
    ended = list[int]()
    connecting = psycopg.AsyncConnection.connect(url, autocommit=True)
    async with await connecting as connection:

        async def end() -> None:
            while True:
                await asyncio.sleep(PEACE)
                done = await connection.execute(END_ONE)
                ended.extend([1] * done.rowcount)

        ending = asyncio.create_task(end())
        try:
            yield ended
        finally:
            ending.cancel()
            await asyncio.wait([ending])


ATTACK = Attack(
    attack,
    promises=("R4-2", "X1"),
    files=("recipes/production/database.py",),
    unit="transactions",
    full=100_000,
    small=400,
    longest=0.05,
)
