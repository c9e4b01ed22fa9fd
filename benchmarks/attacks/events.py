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
import socket
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    TCPConnector,
    WSMsgType,
)

from benchmarks.attacks import Advance, Attack, Found
from tests.clusters import cluster_of

PATH = "/production/parallel-events"
CHANNEL = "numbers"
CLIENTS = 20
KILLS = 10
FEW_EVENTS, FEW_KILLS = 10_000, 2
"""Below so many events, there are fewer kills."""

STAYS = (0.5, 5.0)
"""Seconds for which a client stays: the shortest and the longest."""

TIMEOUT = ClientTimeout(total=10)
PAUSE = 0.05
"""Seconds before something is tried again."""

ARRIVAL = 20.0
"""Seconds in which the last event has come to all."""


class Listener:
    """A client that comes and goes, and checks the numbers."""

    def __init__(self, client: ClientSession, chooser: random.Random) -> None:
        self._client = client
        self._chooser = chooser
        self._is_told = False
        """Whether a gap was told since the last event."""
        self.last = ""
        """The id of the last message that has one."""
        self.seen = 0
        self.ready = asyncio.Event()
        self.faults = list[str]()
        self.tally = Counter[str]()

    async def run(self) -> None:
        while True:
            try:
                await self._listen()
            except (ClientError, TimeoutError):
                self.tally["handshakes refused or lost"] += 1
                await asyncio.sleep(PAUSE)

    async def _listen(self) -> None:
        query = {"channel": CHANNEL}
        if self.last:
            query["after"] = self.last
        connecting = self._client.ws_connect(f"{PATH}/ws", params=query)
        async with asyncio.timeout(10):
            ws = await connecting
        try:
            async with asyncio.timeout(self._chooser.uniform(*STAYS)):
                while True:
                    message = await ws.receive()
                    if message.type is not WSMsgType.TEXT:
                        self.tally["sockets lost"] += 1
                        return
                    self._take(message.json())
        except TimeoutError:
            self.tally["reconnects"] += 1
        finally:
            # Without a word, as one whose network is gone.
            if peer := ws.get_extra_info("socket"):
                with suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)

    def _take(self, message: dict[str, Any]) -> None:
        self.last = message.get("id", self.last)
        if message["type"] == "ready":
            self.ready.set()
        elif message["type"] == "gap":
            self._is_told = True
            self.tally["gaps told"] += 1
        else:
            self._count(int(message["data"]))

    def _count(self, number: int) -> None:
        if number == self.seen + 1:
            self.tally["events in order"] += 1
        elif not self._is_told:
            self.faults.append(f"{number} after {self.seen}, and no gap")
        elif number <= self.seen:
            self.tally["events again after a gap"] += 1
        else:
            self.tally["events lost in a gap"] += number - self.seen - 1
        self.seen = number
        self._is_told = False


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    kills = FEW_KILLS if size < FEW_EVENTS else KILLS
    outages = list[float]()
    with TemporaryDirectory(dir="/tmp") as folder:
        async with (
            cluster_of(root, Path(folder)) as cluster,
            ClientSession(
                cluster.url, connector=TCPConnector(limit=0)
            ) as client,
            asyncio.TaskGroup() as tasks,
        ):
            listeners = [Listener(client, chooser) for _ in range(CLIENTS)]
            listening = [tasks.create_task(each.run()) for each in listeners]
            for listener in listeners:
                await listener.ready.wait()
            for number in range(1, size + 1):
                began = time.monotonic()
                if number % (size // kills) == size // kills // 2:
                    valkey = await cluster.pid_of("valkey")
                    began = time.monotonic()
                    os.kill(valkey, signal.SIGKILL)
                if await publish(client, number):
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


async def publish(client: ClientSession, number: int) -> bool:
    """Publish until that is answered; return whether it was refused first."""
    was_refused = False
    url = f"{PATH}/channels/{CHANNEL}"
    headers = {"Idempotency-Key": f"{number}"}
    while True:
        try:
            async with client.post(
                url, data=f"{number}", headers=headers, timeout=TIMEOUT
            ) as response:
                await response.read()
                if response.status == 200:
                    return was_refused
        except (ClientError, TimeoutError):
            pass
        was_refused = True
        await asyncio.sleep(PAUSE)


async def arrival(listeners: list[Listener], size: int) -> list[str]:
    """Wait until all have the last event; return a fault for each without."""
    try:
        async with asyncio.timeout(ARRIVAL):
            while any(each.seen < size for each in listeners):
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    return [
        f"{each.seen} was the last event of {size}"
        for each in listeners
        if each.seen < size
    ]


ATTACK = Attack(
    attack,
    promises=("R6-2", "R6-3", "R6-4"),
    files=("app.py", "cookbook", "recipes/production/parallel_events.py"),
    unit="events",
    full=100_000,
    small=600,
    longest=0.1,
)
