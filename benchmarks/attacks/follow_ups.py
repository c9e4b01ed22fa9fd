"""Web and job workers of a cluster are killed by SIGKILL under follow-ups.

Clients send pings by nginx, each with a key, and again until one is answered.
Each ping that was acknowledged takes effect once, however often it was sent,
and whoever died in between.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from benchmarks.attacks import Advance, Attack, Found
from tests.clusters import JOBS, Cluster, cluster_of, workers_of

CLIENTS = 16
PATH = "/production/after-response/ping"
WORK = ("0", "0.05", "0.5")
"""Seconds that a follow-up takes."""

PEACE = (0.2, 1.5)
"""Seconds between two kills: the shortest and the longest."""

TIMEOUT = ClientTimeout(total=10)
PAUSE = 0.1
"""Seconds before a ping is sent again."""

DONE = 90.0
"""Seconds in which all is done after the last kill.

The jobs of a worker that died begin again after about twelve.
"""


class Pings:
    """What was sent, and what was acknowledged."""

    def __init__(self, client: ClientSession, seed: int) -> None:
        self._client = client
        self._chooser = random.Random(seed)  # noqa: S311
        self.is_over = False
        self.acknowledged = list[str]()
        self.attempts = Counter[int]()

    async def run(self, name: int) -> None:
        number = 0
        while not self.is_over:
            key = f"{name}.{number}"
            work = self._chooser.choice(WORK)
            while not await self._send(key, work):
                await asyncio.sleep(PAUSE)
            self.acknowledged.append(key)
            number += 1

    async def _send(self, key: str, work: str) -> bool:
        headers = {"Idempotency-Key": key}
        status = 0
        try:
            async with self._client.post(
                PATH, params={"work": work}, headers=headers, timeout=TIMEOUT
            ) as response:
                await response.read()
                status = response.status
        except (ClientError, TimeoutError):
            pass
        self.attempts[status] += 1
        return status == 200


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    with TemporaryDirectory(dir="/tmp") as folder:
        async with (
            cluster_of(root, Path(folder), *JOBS) as cluster,
            ClientSession(
                cluster.url, connector=TCPConnector(limit=0)
            ) as client,
        ):
            pings = Pings(client, seed)
            async with asyncio.TaskGroup() as clients:
                for name in range(CLIENTS):
                    clients.create_task(pings.run(name))
                for _ in range(size):
                    await asyncio.sleep(chooser.uniform(*PEACE))
                    await kill(cluster, chooser)
                    advance()
                pings.is_over = True
            faults = await judge(postgres_of(cluster), pings.acknowledged)
    faults += [
        f"{times} answers of status {status}"
        for status, times in pings.attempts.items()
        if status not in (0, 200, 502, 503, 504)
    ]
    counts = {
        "kills": size,
        "pings acknowledged": len(pings.acknowledged),
        "attempts that were not": pings.attempts.total() - pings.attempts[200],
    }
    return Found(counts, faults)


async def kill(cluster: Cluster, chooser: random.Random) -> None:
    """Kill a worker of gunicorn, or the one that runs jobs."""
    if chooser.random() < 0.5:
        gunicorn = psutil.Process(await cluster.pid_of("gunicorn"))
        if workers := workers_of(gunicorn):
            chooser.choice(workers).kill()
    elif shell := await cluster.pid_of("jobs"):
        os.kill(shell, signal.SIGKILL)


def postgres_of(cluster: Cluster) -> str:
    """Return the URL of its database."""
    return f"postgresql:///cookbook?host={cluster.folder / 'postgres'}"


async def judge(url: str, acknowledged: list[str]) -> list[str]:
    """Wait until nothing is pending, and compare."""
    connecting = psycopg.AsyncConnection.connect(url, autocommit=True)
    async with await connecting as connection:

        async def ask(query: str) -> list[tuple[object, ...]]:
            cursor = await connection.execute(query.encode())
            return await cursor.fetchall()

        pending = "SELECT FROM procrastinate_jobs WHERE status <> 'succeeded'"
        try:
            async with asyncio.timeout(DONE):
                while await ask(pending):
                    await asyncio.sleep(0.2)
        except TimeoutError:
            left = await ask(
                "SELECT status, count(*) FROM procrastinate_jobs GROUP BY 1"
            )
            return [f"after {DONE:.0f} s there are jobs left: {left}"]
        rows = await ask("SELECT key, done IS NOT NULL FROM pings")
        [[effects]] = await ask("SELECT count FROM pongs")
    done = {key for key, is_done in rows if is_done}
    faults = [
        f"acknowledged, and without effect: {key}"
        for key in acknowledged
        if key not in done
    ]
    if effects != len(done):
        faults.append(f"{len(done)} pings had {effects} effects")
    return faults


ATTACK = Attack(
    attack,
    promises=("R13-3", "R13-2"),
    files=("app.py", "cookbook", "recipes/production/after_response.py"),
    unit="kills",
    full=100,
    small=4,
    longest=5.0,
)
