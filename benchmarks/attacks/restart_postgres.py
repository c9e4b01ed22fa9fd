"""PostgreSQL is stopped and killed while 16 clients of two workers write.

A 503 means that nothing is stored, a 504 that nobody knows; nothing else is
said meanwhile. Writes go on within two seconds of its return.
"""

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._engines import killable_postgres, texts_in
from benchmarks.attacks._ledger import Ledger, recover, start_workers, writing
from tests.engines import KillablePostgres

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

    async with killable_postgres() as postgres:
        async with AsyncExitStack() as stack:
            clients = await start_workers(root, postgres.url, stack)
            async with writing(clients, ledger, chooser):
                for _ in range(size):
                    recoveries.append(await restart(postgres, ledger, chooser))
                    advance()
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
    return await recover(ledger, GIVEN_UP)


ATTACK = Attack(
    attack,
    promises=("R4-1", "R4-2", "X1"),
    files=("recipes/production/database.py",),
    unit="restarts",
    full=100,
    small=3,
    longest=10.0,
)
