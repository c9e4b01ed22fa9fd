"""Thousands of WebSockets are open, and some of them stall or fall silent.

Of each hundred, one reads nothing, and one reads but answers no ping, as a peer
whose network is gone. The first get a large event again and again. All others
have to get each event of their channel once, in order and in time, and the
silent ones have to be gone. What a client knows is counted by itself; only how
many sockets are left is asked of the server.
"""

import asyncio
import json
import random
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from aiohttp import ClientSession
from redis.asyncio import Redis
from yarl import URL

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.measure import quantile
from benchmarks.sockets import Listener, handshake, open_all
from cookbook.redis_server import find_redis
from tests.engines import KillableRedis
from tests.servers import Process, running

OF_A_HUNDRED = 100
"""One of so many stalls, and one is silent. A channel has so many, too."""

GONE_WITHIN = 30.0
"""Seconds until the last of those is gone.

The server asks after 18 s of silence, and waits for 9 s. aiohttp rounds both
moments up to a whole second, and this attack looks ten times a second.
"""

MOST_LATE = 0.25
"""Seconds from the publishing of an event to its arrival, for 99 of 100."""

MOST_MEMORY = 20.0
"""KiB of the server for a WebSocket, where there are enough to tell."""

ENOUGH = 1000

PAUSE = 0.1
"""Seconds between two events."""

LARGE = "x" * 30_000
"""What who reads nothing is sent with each event."""

STALLED = "stalled"

PATIENCE = 15.0
"""Seconds until all are ready, for the last event, and for an end."""


class Client:
    """What a WebSocket has heard: whether it is ready, and which events."""

    def __init__(self, url: URL, channel: str, *, is_silent: bool) -> None:
        self.channel = channel
        self.is_ready = False
        self.events = list[tuple[int, float]]()
        self._request = handshake(url / "ws" % {"channel": channel})
        self._is_silent = is_silent

    def connect(self) -> Listener:
        self.socket = Listener(
            self._request, self._hear, is_silent=self._is_silent
        )
        return self.socket

    def stall(self) -> None:
        """Read no more, and leave the kernel little room for it."""
        plain = self.socket.transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.transport.pause_reading()

    def _hear(self, text: bytes) -> None:
        message = json.loads(text)
        if message["type"] == "ready":
            self.is_ready = True
        elif message["type"] == "event":
            number = int(message["data"])
            self.events.append((number, time.perf_counter()))


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    few = max(1, size // OF_A_HUNDRED)
    executable = find_redis()
    assert executable, "no Redis was found"
    script = root / "recipes" / "production" / "parallel_events.py"
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        redis = await asyncio.to_thread(KillableRedis, executable, folder)
        try:
            async with running(
                script, cwd=folder, REDIS_URL=redis.url
            ) as process:
                await has_begun(redis)
                url = URL(f"http://127.0.0.1:{process.port}")
                before = memory(process)
                channels = [f"channel-{number}" for number in range(few)]
                healthy = await connect(
                    url, [channels[at % few] for at in range(size - 2 * few)]
                )
                kibibytes = (memory(process) - before) / 2**10 / len(healthy)
                named = [chooser.choice(channels) for _ in range(few)]
                silent = await connect(url, named, is_silent=True)
                stalled = await connect(url, [STALLED] * few)
                for each in stalled:
                    each.stall()
                for _ in range(size):
                    advance()
                began = time.perf_counter()
                sent, gone = await publish(url, channels, len(healthy), chooser)
                faults = await arrival(healthy, sent)
                if lost := sum(each.socket.ended.done() for each in healthy):
                    faults.append(f"{lost} who read and answered were lost")
                for each in healthy + silent + stalled:
                    each.socket.transport.abort()
                if code := await process.end(within=PATIENCE):
                    faults.append(f"it ended with {code}")
        finally:
            await asyncio.to_thread(redis.stop)
    latencies = [
        came - sent[each.channel][number]
        for each in healthy
        for number, came in each.events
    ]
    late = quantile(latencies, 0.99)
    if late > MOST_LATE:
        faults.append(f"of 100 events, one came after {late:.2f} s")
    if not gone:
        faults.append(f"who is silent is still there after {GONE_WITHIN} s")
    if kibibytes > MOST_MEMORY and size >= ENOUGH:
        faults.append(f"a WebSocket takes {kibibytes:.1f} KiB")
    counts = {
        "WebSockets": size,
        "of them stalled or silent": 2 * few,
        "events": sum(map(len, sent.values())),
        "events received": len(latencies),
        "milliseconds, p50 of their way": round(1e3 * quantile(latencies, 0.5)),
        "milliseconds, p99": round(1e3 * late),
        "seconds until the last silent one was gone": round(gone - began, 1),
        "KiB for a WebSocket": round(kibibytes, 1),
    }
    return Found(counts, faults)


async def has_begun(redis: KillableRedis) -> None:
    """Wait until the server has asked Redis for the first time."""
    async with asyncio.timeout(PATIENCE), Redis.from_url(redis.url) as direct:
        while not await direct.exists("parallel_events:state"):
            await asyncio.sleep(PAUSE)


def memory(process: Process) -> int:
    """Return the bytes that a server has in use."""
    resident: int = psutil.Process(process.process.pid).memory_info().rss
    return resident


async def connect(
    url: URL, channels: Sequence[str], *, is_silent: bool = False
) -> list[Client]:
    """Open a WebSocket for each name of a channel, until all are ready."""
    clients = [Client(url, each, is_silent=is_silent) for each in channels]
    await open_all(url, [each.connect for each in clients])
    async with asyncio.timeout(PATIENCE):
        while not all(each.is_ready for each in clients):
            await asyncio.sleep(PAUSE)
    return clients


async def publish(
    url: URL,
    channels: Sequence[str],
    healthy: int,
    chooser: random.Random,
) -> tuple[dict[str, dict[int, float]], float]:
    """Publish until the healthy alone are left.

    Return when each event was sent, by channel and number, and when the last of
    the others was gone; 0.0 if not in time.
    """
    sent: dict[str, dict[int, float]] = {each: {} for each in channels}
    deadline = time.perf_counter() + GONE_WITHIN
    number = 0
    async with ClientSession(url) as client:
        while (now := time.perf_counter()) < deadline:
            number += 1
            channel = chooser.choice(channels)
            sent[channel][number] = now
            for name, data in (channel, str(number)), (STALLED, LARGE):
                async with client.post(
                    f"/channels/{name}", data=data
                ) as response:
                    response.raise_for_status()
            async with client.get("/stats") as response:
                left = (await response.json())["sockets"]
            if left <= healthy:
                return sent, time.perf_counter()
            await asyncio.sleep(PAUSE)
    return sent, 0.0


async def arrival(
    healthy: Sequence[Client], sent: dict[str, dict[int, float]]
) -> list[str]:
    """Wait for the last events; return who lacks one, or has one twice."""
    wanted = {channel: list(numbers) for channel, numbers in sent.items()}
    lacking = list(healthy)
    deadline = time.perf_counter() + PATIENCE
    while lacking and time.perf_counter() < deadline:
        await asyncio.sleep(PAUSE)
        lacking = [
            each
            for each in lacking
            if [number for number, _ in each.events] != wanted[each.channel]
        ]
    return [
        f"{each.channel}: {len(each.events)} of {len(wanted[each.channel])}"
        for each in lacking
    ]


ATTACK = Attack(
    attack,
    promises=("R6-6", "R6-7"),
    files=("recipes/production/parallel_events.py",),
    unit="WebSockets",
    full=10_000,
    small=300,
    longest=0.05,
)
