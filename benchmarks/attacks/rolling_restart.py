"""A cluster of four workers is restarted by SIGHUP while 20 clients load it.

No request fails: each is answered by 200, through nginx, by an old worker or
by a new one, and none waits for those that start. Every other request is a
POST, which nginx never sends twice.
"""

import asyncio
import random
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from aiohttp import ClientError, ClientSession, TCPConnector

from benchmarks.attacks import Advance, Attack, Found
from tests.clusters import END_TIMEOUT, cluster_of, workers_of

CLIENTS = 20

PEACE = 200
"""Requests that new workers answer before they are restarted."""

LONGEST_ANSWER = 15.0
"""Seconds that a request may take while workers come and go."""

PATHS = (
    "/database/answer",
    "/global-gzip/json?size=100000",
    "/global-gzip/stream",
    "/",
)


class Load:
    """Clients that ask and ask, and what they have seen."""

    def __init__(self, client: ClientSession, seed: int) -> None:
        self._client = client
        self._chooser = random.Random(seed)  # noqa: S311
        self.is_over = False
        self.answered = 0
        self.longest = 0.0
        """Seconds of the slowest answer."""
        self.faults: list[str] = []

    async def run(self) -> None:
        while not self.is_over:
            began = time.monotonic()
            try:
                await self._ask()
            except (ClientError, OSError) as error:
                self.faults.append(repr(error))
            self.answered += 1
            self.longest = max(self.longest, time.monotonic() - began)

    async def answer(self, number: int) -> None:
        """Wait until so many more are answered."""
        enough = self.answered + number
        while self.answered < enough:
            await asyncio.sleep(0.1)

    async def _ask(self) -> None:
        if self._chooser.random() < 0.5:
            asking = self._client.post("/route-table/post", data="tea")
        else:
            asking = self._client.get(self._chooser.choice(PATHS))
        async with asking as response:
            text = await response.text()
        if response.status != 200:
            self.faults.append(f"{response.status} {text[:200]}")


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    with TemporaryDirectory(dir="/tmp") as folder:
        async with (
            cluster_of(root, Path(folder)) as cluster,
            ClientSession(
                cluster.url, connector=TCPConnector(limit=0)
            ) as client,
            asyncio.TaskGroup() as clients,
        ):
            load = Load(client, seed)
            for _ in range(CLIENTS):
                clients.create_task(load.run())
            gunicorn = psutil.Process(await cluster.pid_of("gunicorn"))
            await load.answer(PEACE)
            before, load.longest = load.longest, 0.0
            for _ in range(size):
                await restart(gunicorn, load)
                advance()
            load.is_over = True
            log = cluster.log_of("gunicorn")
    counts = {
        "restarts": size,
        "requests": load.answered,
        "longest answer before, seconds": round(before, 2),
        "longest answer, seconds": round(load.longest, 2),
    }
    faults = load.faults
    faults += [line for line in log.splitlines() if "[ERROR]" in line]
    if load.longest > LONGEST_ANSWER:
        faults.append(f"an answer took {load.longest:.1f} s")
    return Found(counts, faults)


async def restart(gunicorn: psutil.Process, load: Load) -> None:
    """Restart the workers, and wait until the new ones have work."""
    old = set(workers_of(gunicorn))
    gunicorn.send_signal(signal.SIGHUP)
    async with asyncio.timeout(END_TIMEOUT):
        while old & set(workers_of(gunicorn)):
            await asyncio.sleep(0.1)
        await load.answer(PEACE)


ATTACK = Attack(
    attack,
    promises=("X1", "X2", "X17"),
    files=("app.py", "cookbook", "deploy", "recipes"),
    unit="restarts",
    full=20,
    small=1,
    longest=2 * END_TIMEOUT,
)
