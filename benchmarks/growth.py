"""What a worker and its store spend on sockets, events and sessions.

Run: `python -m benchmarks.growth`, for about two minutes. The figures are in
`results.json`, and the page /production reckons with them. A worker is the
whole cookbook on one core, its store a Redis or Valkey of its own. Some figures
are measured again under another load, to see whether the formulas foretell it.
"""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import click
import psutil
import uvloop
from aiohttp import ClientSession, DummyCookieJar
from redis.asyncio import Redis
from yarl import URL

from benchmarks.measure import Server, cpu_time, pin, record, serving
from benchmarks.sockets import Listener, handshake, open_all
from cookbook.redis_server import redis_server
from recipes.production import parallel_events, websocket_logout

EVENTS = "production/parallel-events/ws"
ECHO = "production/websocket-logout/echo"
LOGIN = "production/websocket-logout/login"
TICKETS = f"{websocket_logout.TICKET}*"
SESSION, PLACES = websocket_logout.SESSION, websocket_logout.PLACES

EVENT_SIZE = 200
"""Bytes of the text of an event."""

CHANNELS = 4
"""The sockets are spread over them."""

FEW, MANY, CHECKED = 1000, 2000, 4000
"""Sockets: two figures give the cost of one, and the third is foretold."""

UNREAD = ":unread"
"""Behind the names in the store: a stream that no worker reads."""

RATE = 100
"""Events a second; more at a time would be read together."""

READ_EVENTS = 500
"""Events that no socket of the worker is for."""

SOCKET_EVENTS, SOCKET_RATE = 200, 40
"""Events that reach sockets, and how many of them in a second."""

FEW_EVENTS, FEW_RATE = 200, 80
CHECKED_EVENTS, CHECKED_RATE = 100, 20
"""Events whose cost is foretold, and how many of them in a second."""

SESSIONS = 2000
"""Logins, each of a user of its own; then as many again are foretold."""

ASKED = 40
"""How often the store is asked about a batch of sockets."""

AT_ONCE = 32
"""Handshakes, or logins, at a time."""

IDLE = 5.0
BEATS = parallel_events.HEARTBEAT
CHECKS = 2 * websocket_logout.CHECK_INTERVAL
"""Seconds: without a socket, of a heartbeat, and of two checks."""

TIMEOUT = 60.0
"""Seconds until everything that was sent has come."""


@dataclass
class Tally:
    """Counts the events that all sockets together have got."""

    count: int = 0
    enough: int = 0
    has_enough: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self) -> None:
        self.count += 1
        if self.count == self.enough:
            self.has_enough.set()

    def expect(self, more: int) -> None:
        self.enough = self.count + more
        self.has_enough.clear()

    async def wait(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            await self.has_enough.wait()
        assert self.count == self.enough


class Usage(NamedTuple):
    """Seconds of CPU of the worker and of the store, and of the clock."""

    worker: float
    store: float
    clock: float


class Growth:
    """A worker, its store and their clients; and the figures as they come."""

    def __init__(self, server: Server, redis: Redis) -> None:
        self.server, self.redis = server, redis
        self.tally = Tally()
        self.listeners: list[Listener] = []
        self.checks: list[dict[str, Any]] = []

    async def usage(self) -> Usage:
        cpu = await self.redis.info("cpu")
        return Usage(
            cpu_time(self.server.process),
            cpu["used_cpu_user"] + cpu["used_cpu_sys"],
            time.perf_counter(),
        )

    async def rest(self, seconds: float) -> Usage:
        """Return what is used in a second while nothing is asked for."""
        before = await self.usage()
        await asyncio.sleep(seconds)
        used = await self.since(before)
        return Usage(used.worker / used.clock, used.store / used.clock, 1)

    async def since(self, before: Usage) -> Usage:
        after = await self.usage()
        return Usage(*(b - a for a, b in zip(before, after, strict=True)))

    def memory(self) -> int:
        return int(self.server.process.memory_info().rss)

    async def stored(self) -> int:
        """Return the bytes of what the store holds."""
        return int((await self.redis.info("memory"))["used_memory"])

    async def listen(self, total: int) -> None:
        """Open sockets until there are so many, spread over the channels."""
        paths = [
            f"{EVENTS}?channel=c{number % CHANNELS}"
            for number in range(len(self.listeners), total)
        ]
        await self.open([(path, "") for path in paths])

    async def open(self, handshakes: list[tuple[str, str]]) -> None:
        """Open a socket for each path and cookie."""
        url = self.server.address
        self.listeners += await open_all(
            url,
            [
                partial(
                    Listener,
                    handshake(url.join(URL(path)), cookie),
                    self.count_event,
                )
                for path, cookie in handshakes
            ],
        )

    def count_event(self, text: bytes) -> None:
        """Count what is an event: a socket is greeted as well."""
        if b'"event"' in text:
            self.tally.add()

    async def publish(
        self, events: int, *, rate: float = RATE, channels: int = CHANNELS
    ) -> Usage:
        """Publish at an even rate; return what all of it took.

        Without a channel, no socket of the worker gets anything.
        """
        of_channel = len(self.listeners) // CHANNELS
        expected = events * of_channel if channels else 0
        self.tally.expect(expected)
        before = await self.usage()
        start = time.perf_counter()
        for number in range(events):
            await asyncio.sleep(start + number / rate - time.perf_counter())
            channel = f"c{number % channels}" if channels else "nobody"
            await publish(self.redis, channel)
        if expected:
            await self.tally.wait()
        await asyncio.sleep(0.1)
        return await self.since(before)

    async def log_in(self, users: int) -> list[str]:
        """Return the cookie of a session for each of so many new users."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def log_in_one(client: ClientSession) -> str:
            name = {"user": secrets.token_hex(8)}
            url = self.server.address / LOGIN
            async with turns, client.post(url, json=name) as response:
                assert response.status == 200
                cookie = response.cookies[websocket_logout.COOKIE]
                return f"Cookie: {cookie.key}={cookie.value}\r\n"

        async with one_session() as client, asyncio.timeout(TIMEOUT):
            cookies = await asyncio.gather(
                *(log_in_one(client) for _ in range(users))
            )
        # They end in half a minute.
        async for ticket in self.redis.scan_iter(TICKETS, count=1000):
            await self.redis.delete(ticket)
        return list(cookies)

    def close(self) -> None:
        for listener in self.listeners:
            listener.transport.abort()
        self.listeners.clear()

    def check(
        self, what: str, unit: str, foretold: float, measured: float
    ) -> None:
        self.checks.append(
            {
                "what": what,
                "unit": unit,
                "foretold": float(f"{foretold:.3g}"),
                "measured": float(f"{measured:.3g}"),
            }
        )


@asynccontextmanager
async def one_session() -> AsyncIterator[ClientSession]:
    """Give a client that keeps no cookie: each login has its own."""
    async with ClientSession(cookie_jar=DummyCookieJar()) as client:
        yield client


async def measure(growth: Growth) -> dict[str, float]:
    """Return the figures: seconds of CPU, and bytes."""
    await growth.publish(READ_EVENTS // 5, channels=0)
    idle = await growth.rest(IDLE)
    read = await growth.publish(READ_EVENTS, channels=0)
    publish = await publish_cpu(growth)
    await growth.listen(FEW)
    few = growth.memory()
    sent_to_few = await growth.publish(FEW_EVENTS, rate=FEW_RATE)
    await growth.listen(MANY)
    many = growth.memory()
    sent = await growth.publish(SOCKET_EVENTS, rate=SOCKET_RATE)
    await growth.listen(CHECKED)
    checked = growth.memory()
    sent_to_all = await growth.publish(CHECKED_EVENTS, rate=CHECKED_RATE)
    beating = await growth.rest(BEATS)
    growth.close()
    socket_bytes = (many - few) / (MANY - FEW)
    read_cpu = (read.worker - idle.worker * read.clock) / READ_EVENTS
    beat_cpu = (beating.worker - idle.worker) / CHECKED
    # What is left when all else that they have cost is known.
    known = (idle.worker + MANY * beat_cpu) * sent.clock
    known += SOCKET_EVENTS * read_cpu
    deliveries = SOCKET_EVENTS * MANY / CHANNELS
    figures = {
        "worker_bytes": few - FEW * socket_bytes,
        "socket_bytes": socket_bytes,
        "idle_cpu": idle.worker,
        "read_cpu": read_cpu,
        "delivery_cpu": (sent.worker - known) / deliveries,
        "heartbeat_cpu": beat_cpu,
        "store_idle_cpu": idle.store,
        "store_event_cpu": (read.store - idle.store * read.clock) / READ_EVENTS,
        "store_publish_cpu": publish,
    }
    foretell(growth, figures, FEW, FEW_EVENTS, sent_to_few)
    foretell(growth, figures, CHECKED, CHECKED_EVENTS, sent_to_all)
    growth.check(
        f"memory of a worker with {CHECKED} sockets",
        "MiB",
        (figures["worker_bytes"] + CHECKED * socket_bytes) / 2**20,
        checked / 2**20,
    )
    await sessions(growth, figures)
    return figures


async def publish(redis: Redis, channel: str, stream: str = "") -> None:
    """Publish as the recipe does, in its stream or in another."""
    await redis.eval(
        parallel_events.PUBLISH,
        2,
        f"{parallel_events.STREAM}{stream}",
        f"{parallel_events.STATE}{stream}",
        *("0", parallel_events.MAX_HISTORY, channel, "x" * EVENT_SIZE),
    )


async def publish_cpu(growth: Growth) -> float:
    """Return what the store spends on an event that nobody reads."""
    before = await growth.usage()
    for _ in range(READ_EVENTS):
        await publish(growth.redis, "c", UNREAD)
    used = await growth.since(before)
    await growth.redis.delete(
        f"{parallel_events.STREAM}{UNREAD}", f"{parallel_events.STATE}{UNREAD}"
    )
    return used.store / READ_EVENTS


def foretell(
    growth: Growth,
    figures: dict[str, float],
    sockets: int,
    events: int,
    used: Usage,
) -> None:
    """Compare the CPU of a worker under another load with the formula."""
    standing = figures["idle_cpu"] + sockets * figures["heartbeat_cpu"]
    of_event = (
        figures["read_cpu"] + sockets / CHANNELS * figures["delivery_cpu"]
    )
    foretold = standing + events * of_event / used.clock
    growth.check(
        f"{sockets} sockets, {events / used.clock:.0f} events a second to a "
        "quarter of them",
        "% of a core",
        100 * foretold,
        100 * used.worker / used.clock,
    )
    of_store = figures["store_idle_cpu"]
    of_store += events * figures["store_event_cpu"] / used.clock
    growth.check(
        f"the store of {sockets} sockets, {events / used.clock:.0f} events a "
        "second",
        "% of a core",
        100 * of_store,
        100 * used.store / used.clock,
    )


async def sessions(growth: Growth, figures: dict[str, float]) -> None:
    """Measure sessions in the store, and sockets that have to be checked."""
    empty = await growth.stored()
    cookies = await growth.log_in(SESSIONS)
    full = await growth.stored()
    figures["session_bytes"] = (full - empty) / SESSIONS
    idle = await growth.rest(IDLE)
    before = await growth.stored()
    await growth.open([(ECHO, cookie) for cookie in cookies])
    figures["place_bytes"] = (await growth.stored() - before) / SESSIONS
    checking = await growth.rest(CHECKS)
    figures["check_cpu"] = (checking.worker - idle.worker) / SESSIONS
    figures["store_check_cpu"] = await store_check_cpu(growth.redis)
    growth.check(
        f"the store, asked about {SESSIONS} sockets",
        "% of a core",
        100 * (idle.store + SESSIONS * figures["store_check_cpu"]),
        100 * checking.store,
    )
    growth.close()
    await asyncio.sleep(1)
    before = await growth.stored()
    await growth.log_in(SESSIONS)
    growth.check(
        f"{SESSIONS} more sessions in the store",
        "KiB",
        SESSIONS * figures["session_bytes"] / 2**10,
        (await growth.stored() - before) / 2**10,
    )


async def store_check_cpu(redis: Redis) -> float:
    """Return what the store spends on a socket in a second, asked directly.

    A worker asks about so few of them that it can hardly be seen.
    """
    end = time.time() + websocket_logout.PLACE_AGE
    sessions = [key async for key in redis.scan_iter(f"{SESSION}*", 1000)]
    places = [key async for key in redis.scan_iter(f"{PLACES}*", 1000)]
    members: list[Any] = [(await redis.zrange(key, 0, 0))[0] for key in places]
    batch = websocket_logout.CHECK_BATCH
    sockets = list(zip(sessions, places, members, strict=False))[:batch]
    assert len(sockets) == batch
    before = await redis.info("cpu")
    for _ in range(ASKED):
        async with redis.pipeline(transaction=False) as pipeline:
            for session, place, member in sockets:
                pipeline.exists(session)
                pipeline.zadd(place, {member: end}, xx=True)
            await pipeline.execute()
    after = await redis.info("cpu")
    names = ("used_cpu_user", "used_cpu_sys")
    used = float(sum(after[name] - before[name] for name in names))
    return used / ASKED / batch / websocket_logout.CHECK_INTERVAL


async def main() -> None:
    pin(psutil.Process(), -1)
    load = os.getloadavg()[0]
    with redis_server() as url:
        arguments = ("app.py", "--port", "0", "--redis-url", url)
        with serving(*arguments, "--loop", "uvloop") as server:
            async with Redis.from_url(url) as redis:
                growth = Growth(server, redis)
                figures = await measure(growth)
                version = (await redis.info("server"))["redis_version"]
    # A difference of two rests, on a machine that does something else.
    if noise := [name for name, figure in figures.items() if figure <= 0]:
        reason = f"no figures from noise ({', '.join(noise)}): measure again"
        raise SystemExit(reason)
    event_id = f"{2**50}-0"
    frame = parallel_events.make_frame(
        type="event", data="x" * EVENT_SIZE, id=event_id
    )
    record(
        "growth",
        {
            "load at the start": round(load, 1),
            "store": version,
            "sockets": CHECKED,
            "worker_sockets": parallel_events.MAX_SOCKETS,
            "heartbeat": parallel_events.HEARTBEAT,
            "check_interval": websocket_logout.CHECK_INTERVAL,
            "event_bytes": EVENT_SIZE,
            "frame_bytes": len(frame),
            "figures": {
                name: float(f"{figure:.3g}") for name, figure in figures.items()
            },
            "checks": growth.checks,
        },
    )
    for name, figure in figures.items():
        click.echo(f"{name:20} {figure:.3g}")
    for check in growth.checks:
        click.echo(check)


if __name__ == "__main__":
    uvloop.run(main())
