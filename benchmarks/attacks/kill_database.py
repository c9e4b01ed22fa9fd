"""The answer about databases is killed by SIGKILL while 16 clients write.

What was acknowledged has to be stored, what was refused must not be, and a
batch that was not answered is there as a whole or not at all.
"""

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import ClientSession

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._ledger import (
    Ledger,
    Writer,
    write_until_it_is_gone,
)
from tests.servers import forked

WRITERS = 16

LONGEST_LIFE = 0.4
"""Seconds from the first request to SIGKILL, at most."""


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    script = root / "recipes" / "database.py"
    ledger = Ledger()
    with TemporaryDirectory() as folder:
        for life in range(size):
            await live(script, Path(folder), ledger, f"{life}", chooser)
            advance()
        with closing(sqlite3.connect(Path(folder, "notes.db"))) as database:
            rows = database.execute("SELECT text FROM notes").fetchall()
            [[integrity]] = database.execute("PRAGMA integrity_check")
    faults = ledger.faults(text for (text,) in rows)
    if integrity != "ok":
        faults.append(f"integrity_check says {integrity}")
    return Found({"kills": size, **ledger.counts()}, faults)


async def live(
    script: Path,
    folder: Path,
    ledger: Ledger,
    name: str,
    chooser: random.Random,
) -> None:
    """Start the server, write, and kill it at a random moment."""
    async with (
        forked(script, cwd=folder) as server,
        ClientSession(f"http://127.0.0.1:{server.port}/") as client,
        asyncio.TaskGroup() as writers,
    ):
        for number in range(WRITERS):
            writer = Writer(client, ledger, f"{name}.{number}", chooser)
            writers.create_task(write_until_it_is_gone(writer))
        await asyncio.sleep(chooser.uniform(0, LONGEST_LIFE))
        server.process.kill()


ATTACK = Attack(
    attack,
    promises=("R4-1", "R4-2"),
    files=("recipes/database.py",),
    unit="kills",
    full=2000,
    small=5,
    longest=2.0,
)
