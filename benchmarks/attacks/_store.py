"""A Redis, and the network to it, that fail in twelve ways."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from redis.asyncio import Redis

from benchmarks.attacks._numbers import CHANNEL
from cookbook.redis_server import find_redis
from tests.engines import KillableRedis
from tests.faults import Network, faulty_network

OUTAGE = (0.1, 3.0)
"""Seconds of a fault: the shortest and the longest."""

LATENCY = 0.2
SMALL_PIECE = 7
"""Seconds and bytes of a slow network."""

STREAM = "parallel_events:events"
GARBAGE: list[dict[Any, Any]] = [
    {b"data": b"\xff\xfe", b"channel": CHANNEL.encode()},
    {b"channel": b"\xff"},
    {b"nothing": b"of this"},
    {b"data": b"x" * 100_000, b"channel": CHANNEL.encode()},
]


class Store:
    """What fails: a Redis, and the way to it. Each fault ends by itself."""

    def __init__(
        self, redis: KillableRedis, network: Network, chooser: random.Random
    ) -> None:
        self._redis = redis
        self._network = network
        self._chooser = chooser
        self.direct = Redis.from_url(redis.url)
        """A way around the network."""

    async def _wait(self) -> None:
        await asyncio.sleep(self._chooser.uniform(*OUTAGE))

    async def stopped(self) -> None:
        await asyncio.to_thread(self._redis.stop)
        await self._wait()
        await asyncio.to_thread(self._redis.start)

    async def killed(self) -> None:
        os.kill(self._redis.process.pid, signal.SIGKILL)
        await self.stopped()

    async def frozen(self) -> None:
        os.kill(self._redis.process.pid, signal.SIGSTOP)
        await self._wait()
        os.kill(self._redis.process.pid, signal.SIGCONT)

    async def held_up(self) -> None:
        self._network.freeze()
        await self._wait()
        self._network.mend()

    async def cut(self) -> None:
        self._network.cut()
        await self._wait()
        self._network.mend()

    async def reset(self) -> None:
        self._network.reset()

    async def slow(self) -> None:
        self._network.slow(LATENCY)
        await self._wait()
        self._network.mend()

    async def in_pieces(self) -> None:
        self._network.slow(0.0, SMALL_PIECE)
        await self._wait()
        self._network.mend()

    async def clients_killed(self) -> None:
        await self.direct.client_kill_filter(_type="normal")

    async def emptied(self) -> None:
        await self.direct.flushall()

    async def full(self) -> None:
        await self.direct.config_set("maxmemory", "1")
        await self._wait()
        await self.direct.config_set("maxmemory", "0")

    async def given_garbage(self) -> None:
        for entry in GARBAGE:
            await self.direct.xadd(STREAM, entry)

    def kinds(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            *(self.stopped, self.killed, self.frozen, self.held_up),
            *(self.cut, self.reset, self.slow, self.in_pieces),
            *(self.clients_killed, self.emptied, self.full),
            self.given_garbage,
        ]


@asynccontextmanager
async def store(chooser: random.Random) -> AsyncIterator[tuple[Store, str]]:
    """Run a Redis; yield it with its URL behind a network."""
    executable = find_redis()
    assert executable, "no Redis was found"
    with TemporaryDirectory(dir="/tmp") as folder:
        redis = KillableRedis(executable, Path(folder))
        try:
            async with faulty_network(Path(folder, "redis.sock")) as network:
                failing = Store(redis, network, chooser)
                yield failing, f"redis://{network.address}"
                await failing.direct.aclose()
        finally:
            await asyncio.to_thread(redis.stop)
