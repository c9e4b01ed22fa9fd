"""Clients of the answer about databases leave, are refused, and a disk fails.

Of the transactions, 30 % are rolled back, from 20 % their clients leave, and
for 5 % of the time no file grows: what is written then is an I/O error. What
was acknowledged has to be stored, and nothing else, but for what nobody was
told of. When the disk is well again, each write is stored.
"""

import asyncio
import random
import resource
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from aiohttp import ClientSession

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._ledger import Ledger, Writer
from tests.servers import forked

WRITERS = 16
LEAVING = 0.2

WELL, ILL = 0.19, 0.01
"""Seconds that the disk is well, and that it is not, in turn."""

LARGEST_FILE = 4096
"""Bytes that a file may have while the disk is ill."""

AFTERWARDS = 50
"""Batches that are written when it is well again."""


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    ledger = Ledger()
    numbers = iter(range(size))

    async def keep_writing(writer: Writer) -> None:
        for number in numbers:
            await writer.write(number)
            advance()

    with TemporaryDirectory() as folder:
        script = root / "recipes" / "database.py"
        async with (
            forked(script, cwd=Path(folder)) as server,
            ClientSession(f"http://127.0.0.1:{server.port}/") as client,
        ):
            async with (
                a_disk_that_fails(psutil.Process(server.process.pid)),
                asyncio.TaskGroup() as writers,
            ):
                for number in range(WRITERS):
                    # A mistake of the program is a 500, and so is a disk.
                    failing = (500, 503)
                    writer = Writer(
                        client,
                        ledger,
                        f"{number}",
                        chooser,
                        leaving=LEAVING,
                        failing=failing,
                    )
                    writers.create_task(keep_writing(writer))
            faults = await write_afterwards(client, ledger, chooser)
            assert await server.end() == 0
        with closing(sqlite3.connect(Path(folder, "notes.db"))) as database:
            rows = database.execute("SELECT text FROM notes").fetchall()
            [[integrity]] = database.execute("PRAGMA integrity_check")
    faults += ledger.faults(text for (text,) in rows)
    if integrity != "ok":
        faults.append(f"integrity_check says {integrity}")
    return Found({"transactions": size, **ledger.counts()}, faults)


@asynccontextmanager
async def a_disk_that_fails(process: psutil.Process) -> AsyncIterator[None]:
    """Let the files of a process not grow, again and again."""

    async def fail() -> None:
        while True:
            await asyncio.sleep(WELL)
            limit(process, LARGEST_FILE)
            await asyncio.sleep(ILL)
            limit(process, resource.RLIM_INFINITY)

    failing = asyncio.create_task(fail())
    try:
        yield
    finally:
        failing.cancel()
        await asyncio.wait([failing])
        limit(process, resource.RLIM_INFINITY)


def limit(process: psutil.Process, size: int) -> None:
    assert sys.platform == "linux"
    limits = (size, resource.RLIM_INFINITY)
    process.rlimit(psutil.RLIMIT_FSIZE, limits)


async def write_afterwards(
    client: ClientSession, ledger: Ledger, chooser: random.Random
) -> list[str]:
    """Return a fault if not all is acknowledged."""
    before = len(ledger.acknowledged)
    writer = Writer(client, ledger, "afterwards", chooser, refused=0.0)
    for number in range(AFTERWARDS):
        await writer.write(number)
    written = len(ledger.acknowledged) - before
    if written == AFTERWARDS:
        return []
    return [f"of {AFTERWARDS} batches afterwards, {written} were acknowledged"]


ATTACK = Attack(
    attack,
    promises=("R4-2", "R4-5"),
    files=("recipes/database.py",),
    unit="transactions",
    full=100_000,
    small=400,
    longest=0.05,
    linux=True,
)
