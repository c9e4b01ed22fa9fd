"""Redis, and the network to it, fail in twelve ways under numbered events.

Two workers share a Redis behind a network that fails. 20 clients come and go.
Each gets each number once and in order, or is told of a gap before the next
one. When a fault is over, an event soon reaches all again: it is counted where
that takes more than two seconds, and more than five are too many. Descriptors
and threads of the workers do not grow.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from aiohttp import ClientSession, TCPConnector
from yarl import URL

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._numbers import Listener, Publisher, arrival
from benchmarks.attacks._store import store
from tests.servers import forked

WORKERS = 2
CLIENTS = 20

PEACE = (0.2, 1.0)
"""Seconds between two faults: the shortest and the longest."""

RECOVERY = 2.0
"""Seconds in which an event reaches all after a fault, on a quiet machine."""

TOO_LATE = 5.0
"""Seconds after which that is a fault on a busy one, too."""

GIVEN_UP = 30.0
"""Seconds after which it will not come."""


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    script = root / "recipes" / "production" / "parallel_events.py"
    faults = list[str]()
    recoveries = list[float]()
    async with (
        store(chooser) as (failing, redis_url),
        AsyncExitStack() as stack,
    ):
        servers = [
            await stack.enter_async_context(
                forked(
                    script,
                    cwd=Path(stack.enter_context(TemporaryDirectory())),
                    REDIS_URL=redis_url,
                )
            )
            for _ in range(WORKERS)
        ]
        urls = [URL(f"http://127.0.0.1:{each.port}") for each in servers]
        processes = [psutil.Process(each.process.pid) for each in servers]
        connector = TCPConnector(limit=0)
        client = await stack.enter_async_context(
            ClientSession(connector=connector)
        )
        listeners = [Listener(urls, client, chooser) for _ in range(CLIENTS)]
        publisher = Publisher(urls, client)
        async with asyncio.TaskGroup() as tasks:
            listening = [tasks.create_task(each.run()) for each in listeners]
            for listener in listeners:
                await listener.ready.wait()
            publishing = tasks.create_task(publisher.run())
            before = resources(processes)
            kinds = list[Callable[[], Awaitable[None]]]()
            for _ in range(size):
                # Each kind, in an order of its own every time.
                if not kinds:
                    kinds = failing.kinds()
                    chooser.shuffle(kinds)
                kind = kinds.pop()
                await asyncio.sleep(chooser.uniform(*PEACE))
                await kind()
                seconds = await recover(listeners, publisher)
                recoveries.append(seconds)
                if seconds > TOO_LATE:
                    faults.append(f"{seconds:.1f} s after {kind.__name__}")
                advance()
            publisher.is_over = True
            await publishing
            faults += await arrival(listeners, publisher.last)
            for each in listening:
                each.cancel()
        after = resources(processes)
    for name, most in (("descriptors", CLIENTS), ("threads", 2)):
        if after[name] > before[name] + most:
            faults.append(f"{before[name]} {name} became {after[name]}")
    tally = Counter[str]()
    for listener in listeners:
        tally += listener.tally
        faults += listener.faults
    counts = {
        "faults of the store": size,
        "events": publisher.last,
        **dict(sorted(tally.items())),
        "recoveries of more than 2 s": sum(
            seconds > RECOVERY for seconds in recoveries
        ),
        "longest recovery, seconds": round(max(recoveries), 2),
        "MiB more in two workers": after["MiB"] - before["MiB"],
    }
    return Found(counts, faults)


async def recover(listeners: list[Listener], publisher: Publisher) -> float:
    """Return the seconds until an event that is sent now is with all."""
    began = time.monotonic()
    # The one that is being sent may have begun before.
    target = publisher.last + 2
    async with asyncio.timeout(GIVEN_UP):
        while any(each.seen < target for each in listeners):
            await asyncio.sleep(0.01)
    return time.monotonic() - began


def resources(processes: list[psutil.Process]) -> dict[str, int]:
    """Return what all processes have together."""
    return {
        "descriptors": sum(each.num_fds() for each in processes),
        "threads": sum(each.num_threads() for each in processes),
        "MiB": sum(each.memory_info().rss for each in processes) >> 20,
    }


ATTACK = Attack(
    attack,
    promises=("R6-2", "R6-3", "R6-4", "R6-10"),
    files=("recipes/production/parallel_events.py",),
    unit="faults",
    full=1000,
    small=12,
    longest=10.0,
)
