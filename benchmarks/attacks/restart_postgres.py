"""PostgreSQL is stopped and killed while 16 clients of two workers write.

A 503 means that nothing is stored, a 504 that nobody knows; nothing else is
said meanwhile. Writes go on within two seconds of its return.
"""

import asyncio
import random
import time
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._engines import killable_postgres, texts_in
from benchmarks.attacks._ledger import Ledger, Writer, start_workers
from tests.engines import KillablePostgres

WRITERS = 16

PEACE = (0.2, 1.0)
OUTAGE = (0.0, 1.0)
"""Seconds: the shortest and the longest."""

RECOVERY = 2.0
"""Seconds in which a batch has to be acknowledged after the return."""

GIVEN_UP = 20.0
"""Seconds after which it will not come."""


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    ledger = Ledger()
    recoveries = list[float]()
    is_over = asyncio.Event()

    async def keep_writing(writer: Writer) -> None:
        for number in count():
            if is_over.is_set():
                return
            await writer.write(number)

    async with killable_postgres() as postgres:
        async with AsyncExitStack() as stack:
            clients = await start_workers(root, postgres.url, stack)
            async with asyncio.TaskGroup() as writers:
                for number in range(WRITERS):
                    client = clients[number % len(clients)]
                    name = f"{number}"
                    writer = Writer(client, ledger, name, chooser, late=True)
                    writers.create_task(keep_writing(writer))
                for _ in range(size):
                    recoveries.append(await restart(postgres, ledger, chooser))
                    advance()
                is_over.set()
        faults = ledger.faults(await texts_in(postgres.url))
    faults += [
        f"{seconds:.1f} s after its return nothing was acknowledged"
        for seconds in recoveries
        if seconds > RECOVERY
    ]
    counts = {
        "restarts": size,
        **ledger.counts(),
        "longest recovery, seconds": round(max(recoveries), 2),
    }
    return Found(counts, faults)


async def restart(
    postgres: KillablePostgres, ledger: Ledger, chooser: random.Random
) -> float:
    """End the server and bring it back; return the seconds until a 201."""
    await asyncio.sleep(chooser.uniform(*PEACE))
    end = chooser.choice([postgres.stop, postgres.kill])
    await asyncio.to_thread(end)
    await asyncio.sleep(chooser.uniform(*OUTAGE))
    await asyncio.to_thread(postgres.start)
    returned = time.monotonic()
    before = len(ledger.acknowledged)
    async with asyncio.timeout(GIVEN_UP):
        while len(ledger.acknowledged) == before:
            await asyncio.sleep(0.01)
    return time.monotonic() - returned


ATTACK = Attack(
    attack,
    promises=("R4-1", "R4-2", "X1"),
    files=("recipes/production/database.py",),
    unit="restarts",
    full=100,
    small=3,
    longest=10.0,
)
