"""Numbered events go through a cluster while its store is killed ten times.

The store, Valkey, is killed by SIGKILL and started again. 20 clients break off
at random, and come back through nginx to any of four workers, with the last id
that they have seen. Each gets each number once and in order, or is told of a
gap before the next one.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import ClientSession, TCPConnector
from yarl import URL

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._numbers import Listener, arrival, publish
from tests.clusters import cluster_of

PATH = "production/parallel-events"
CLIENTS = 20
KILLS = 10
FEW_EVENTS, FEW_KILLS = 2000, 2
"""Below so many events, there are fewer kills."""


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    kills = FEW_KILLS if size < FEW_EVENTS else KILLS
    outages = list[float]()
    with TemporaryDirectory(dir="/tmp") as folder:
        async with (
            cluster_of(root, Path(folder)) as cluster,
            ClientSession(connector=TCPConnector(limit=0)) as client,
            asyncio.TaskGroup() as tasks,
        ):
            url = URL(cluster.url) / PATH
            listeners = [
                Listener([url], client, chooser) for _ in range(CLIENTS)
            ]
            listening = [tasks.create_task(each.run()) for each in listeners]
            for listener in listeners:
                await listener.ready.wait()
            for number in range(1, size + 1):
                began = time.monotonic()
                if number % (size // kills) == size // kills // 2:
                    valkey = await cluster.pid_of("valkey")
                    began = time.monotonic()
                    os.kill(valkey, signal.SIGKILL)
                if await publish(url, client, number):
                    outages.append(time.monotonic() - began)
                advance()
            faults = await arrival(listeners, size)
            for each in listening:
                each.cancel()
    tally = Counter[str]()
    for listener in listeners:
        tally += listener.tally
        faults += listener.faults
    counts = {
        "events": size,
        "clients": CLIENTS,
        "kills of the store": kills,
        **dict(sorted(tally.items())),
        "longest outage, seconds": round(max(outages, default=0.0), 2),
    }
    return Found(counts, faults)


ATTACK = Attack(
    attack,
    promises=("R6-2", "R6-3", "R6-4"),
    files=("app.py", "cookbook", "recipes/production/parallel_events.py"),
    unit="events",
    full=100_000,
    small=600,
    longest=0.1,
)
