"""Workers of the production file are killed by SIGKILL while 16 clients write.

Two workers share a PostgreSQL, and take turns in being killed. What was
acknowledged has to be stored, what was refused must not be, and a batch that
was not answered is there as a whole or not at all.
"""

import asyncio
import random
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import ClientSession

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._engines import killable_postgres, texts_in
from benchmarks.attacks._ledger import (
    Ledger,
    Writer,
    write_until_it_is_gone,
)
from tests.servers import forked

WORKERS = 2
WRITERS = 8
"""Of each worker."""

LONGEST_LIFE = 1.0
"""Seconds from the first request to SIGKILL, at most."""


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    ledger = Ledger()
    lives = iter(range(size))
    async with killable_postgres() as postgres:
        async with asyncio.TaskGroup() as workers:
            for number in range(WORKERS):
                choices = random.Random(f"{seed} {number}")  # noqa: S311

                async def work(chooser: random.Random) -> None:
                    for life in lives:
                        await live(root, postgres.url, ledger, life, chooser)
                        advance()

                workers.create_task(work(choices))
        faults = ledger.faults(await texts_in(postgres.url))
    return Found({"kills": size, **ledger.counts()}, faults)


async def live(
    root: Path, url: str, ledger: Ledger, life: int, chooser: random.Random
) -> None:
    """Start a worker, write, and kill it at a random moment."""
    script = root / "recipes" / "production" / "database.py"
    with TemporaryDirectory() as folder:
        async with (
            forked(script, cwd=Path(folder), POSTGRES_URL=url) as server,
            ClientSession(f"http://127.0.0.1:{server.port}/") as client,
            asyncio.TaskGroup() as writers,
        ):
            for number in range(WRITERS):
                name = f"{life}.{number}"
                writer = Writer(client, ledger, name, chooser, late=True)
                writers.create_task(write_until_it_is_gone(writer))
            await asyncio.sleep(chooser.uniform(0, LONGEST_LIFE))
            server.process.kill()


ATTACK = Attack(
    attack,
    promises=("R4-1", "R4-2"),
    files=("recipes/production/database.py",),
    unit="kills",
    full=2000,
    small=6,
    longest=3.0,
)
