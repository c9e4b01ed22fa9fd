"""The cookbook runs for two hours, and something fails every 15 seconds.

Visitors ask, write, log in and out, listen to numbered events and leave work
behind, a few times a second. Now and then Redis, the way to it or PostgreSQL
fails, or all who listen are gone at once. No answer is a mistake of ours, no
event and no work is lost. Its history of events is full from the start. After
ten minutes, the memory of the process grows by less than 1 MB an hour. At the
end, when nobody is there any more, it has no more descriptors, threads and
tasks than before.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    WSMsgType,
    WSServerHandshakeError,
)
from yarl import URL

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._engines import killable_postgres
from benchmarks.attacks._numbers import Listener, Publisher, arrival
from benchmarks.attacks._store import OUTAGE, Store, store
from tests.engines import KillablePostgres
from tests.servers import running

EVERY = 15.0
"""Seconds between two faults."""

SHORT = 20
"""Faults of a run that is for a test: they come soon after one another."""

SOON = 1.0
"""Seconds between these."""

WARM_UP = 600.0
"""Seconds until the process has all that it keeps."""

HISTORY = 10_000
"""Events that a worker keeps, for those who come again.

At the pace of the load, they would take more than an hour to come together, and
2.8 MB: as much as a leak of 2 MB an hour.
"""

LONG_ENOUGH = 1800.0
"""Seconds after which the growth of an hour can be told."""

MAX_GROWTH = 1.0
"""MB an hour."""

VISITORS = 6
LISTENERS = 6

PAUSES = (0.2, 1.0)
"""Seconds between two requests of a visitor: the shortest and the longest."""

EVENT_EVERY = 0.5
"""Seconds between two events."""

TIMEOUT = ClientTimeout(total=30)

SETTLED = 15.0
"""Seconds in which all is done, and what was opened is closed again."""

QUIET = 3.0
"""Seconds in which the first visitors are forgotten."""

SPARE = {"descriptors": 16, "threads": 6, "tasks": 4}
"""What may be more than before: pools have grown, and some wait in a task."""

WORKS_OR_NOT = (502, 503, 504)
"""Statuses that tell of a service that is away."""

PRODUCTION = "/production/after-response/ping"
ANSWER = "/after-response/ping"
PATHS = (
    "/",
    "/recipes/database",
    "/database/answer",
    "/database/notes",
    "/production/database/notes",
    "/global-gzip/json?size=10000",
    "/global-gzip/stream",
    "/client-session/fetch",
    "/production/client-session/fetch",
    "/production/one-response/greeting",
    "/source-address/whoami",
    "/subapp-database/",
    "/readyz",
)
LOGINS = (
    ("/request-data", "/me"),
    ("/production/request-data", "/me"),
    ("/websocket-logout", "/sockets"),
    ("/production/websocket-logout", "/sockets"),
)
"""Where one can log in and out, and what one looks at meanwhile."""


class Visitor:
    """Does one thing after the other, and checks what is answered."""

    def __init__(
        self, name: int, client: ClientSession, chooser: random.Random
    ) -> None:
        self._name = name
        self._client = client
        self._chooser = chooser
        self._number = 0
        self._last = ""
        self.is_over = False
        self.faults = list[str]()
        self.answers = Counter[int]()
        self.pings = Counter[str]()
        """How many were acknowledged, by their path."""

    async def run(self) -> None:
        while not self.is_over:
            self._number += 1
            try:
                await self._do_something()
            except (ClientError, TimeoutError) as error:
                when = time.strftime("%H:%M:%S")
                what = f"{self._last} before {when}"
                self.faults.append(f"no answer to {what}: {error!r}")
            await asyncio.sleep(self._chooser.uniform(*PAUSES))

    async def _do_something(self) -> None:
        match self._chooser.randrange(8):
            case 0:
                await self._write("/database/notes/batch")
            case 1:
                await self._write("/production/database/notes/batch")
            case 2:
                await self._log_in_and_out(*self._chooser.choice(LOGINS))
            case 3:
                await self._echo("/production/websocket-logout")
            case 4:
                await self._ping(ANSWER)
            case 5:
                await self._ping(PRODUCTION)
            case _:
                await self._ask("GET", self._chooser.choice(PATHS))

    async def _ask(
        self, method: str, path: str, cookie: str = "", **more: Any
    ) -> tuple[int, str]:
        """Return the status and the cookie that was set."""
        self._last = f"{method} {path}"
        key = f"{self._name}.{self._number}"
        headers = {"Cookie": cookie, "Idempotency-Key": key}
        async with self._client.request(
            method, path, headers=headers, timeout=TIMEOUT, **more
        ) as response:
            body = await response.read()
            self._judge(response.status, f"{path}: {body[:200]!r}")
            cookies = response.cookies.items()
            return (
                response.status,
                "; ".join(f"{name}={each.value}" for name, each in cookies),
            )

    def _judge(self, status: int, what: str) -> None:
        self.answers[status] += 1
        if status >= 500 and status not in WORKS_OR_NOT:
            self.faults.append(f"{status} for {what}")

    async def _write(self, path: str) -> None:
        notes = [{"text": f"{self._name}.{self._number}"}]
        await self._ask("POST", path, json={"notes": notes})

    async def _log_in_and_out(self, prefix: str, path: str) -> None:
        user = {"user": f"user{self._name}"}
        _, cookie = await self._ask("POST", f"{prefix}/login", json=user)
        await self._ask("GET", prefix + path, cookie)
        await self._ask("POST", f"{prefix}/logout", cookie)

    async def _echo(self, prefix: str) -> None:
        """Open a WebSocket, have it echo, and log out: it is closed."""
        user = {"user": f"user{self._name}"}
        status, cookie = await self._ask("POST", f"{prefix}/login", json=user)
        if status != 200:
            return
        headers = {"Cookie": cookie}
        async with asyncio.timeout(TIMEOUT.total):
            self._last = f"GET {prefix}/echo"
            try:
                ws = await self._client.ws_connect(
                    f"{prefix}/echo", headers=headers
                )
            except WSServerHandshakeError as error:
                self._judge(error.status, "the handshake")
                return
            async with ws:
                await ws.send_str("tea")
                await ws.receive()
                status, _ = await self._ask("POST", f"{prefix}/logout", cookie)
                # One that was refused closes nothing.
                if status == 200 and self._chooser.random() < 0.5:
                    while (await ws.receive()).type is WSMsgType.TEXT:
                        pass

    async def _ping(self, path: str) -> None:
        """Leave work behind; go on until that is acknowledged."""
        while (await self._ask("POST", f"{path}?work=0.1"))[0] != 200:
            await asyncio.sleep(PAUSES[1])
        self.pings[path] += 1


class Load:
    """All who use the cookbook, and what they have seen."""

    def __init__(
        self, url: URL, client: ClientSession, chooser: random.Random
    ) -> None:
        urls = [url / "production" / "parallel-events"]
        self.visitors = [
            Visitor(each, client, chooser) for each in range(VISITORS)
        ]
        self.listeners = [
            Listener(urls, client, chooser) for _ in range(LISTENERS)
        ]
        self.publisher = Publisher(urls, client, EVENT_EVERY)
        self._missed = list[str]()
        self._listening = list[asyncio.Task[None]]()

    async def fill_history(self) -> None:
        """Publish at once what would come together in the first hour."""
        self.publisher.pause = 0.0
        while self.publisher.last < HISTORY:
            await asyncio.sleep(0.1)
        self.publisher.pause = EVENT_EVERY

    async def vanish(self) -> None:
        """Have all who listen gone at once, and come again."""
        for each in self._listening:
            each.cancel()
        await asyncio.wait(self._listening)
        self._listening = [
            asyncio.create_task(each.run()) for each in self.listeners
        ]

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Have all of them there, and gone at the end of the block."""
        self._listening = [
            asyncio.create_task(each.run()) for each in self.listeners
        ]
        try:
            async with asyncio.TaskGroup() as tasks:
                for listener in self.listeners:
                    await listener.ready.wait()
                users: list[Publisher | Visitor]
                users = [self.publisher, *self.visitors]
                for user in users:
                    user.is_over = False
                    tasks.create_task(user.run())
                yield
                for user in users:
                    user.is_over = True
            self._missed += await arrival(self.listeners, self.publisher.last)
        finally:
            for each in self._listening:
                each.cancel()
            await asyncio.wait(self._listening)

    def counts(self) -> dict[str, int | float]:
        answers = Counter[int]()
        tally = Counter[str]()
        for visitor in self.visitors:
            answers += visitor.answers
        for listener in self.listeners:
            tally += listener.tally
        return {
            "requests": answers.total(),
            "of them refused by a fault": sum(
                answers[status] for status in WORKS_OR_NOT
            ),
            **dict(sorted(tally.items())),
        }

    def faults(self) -> list[str]:
        found = self._missed
        for visitor in self.visitors:
            found += visitor.faults
        for listener in self.listeners:
            found += listener.faults
        return found

    def pings(self, path: str) -> int:
        return sum(visitor.pings[path] for visitor in self.visitors)


@dataclass
class Server:
    """The process under attack, seen from outside."""

    process: psutil.Process
    client: ClientSession

    async def holds(self) -> dict[str, int]:
        """Return what it has open, and the tasks that its X-ray counts."""
        return {
            "descriptors": self.process.num_fds(),
            "threads": self.process.num_threads(),
            "tasks": await self._tasks(),
        }

    async def _tasks(self) -> int:
        async with self.client.get(
            "/recipes/parallel_events/x-ray", timeout=TIMEOUT
        ) as response:
            async for line in response.content:
                event = json.loads(line.removeprefix(b"data: ") or b"{}")
                if event.get("kind") == "process":
                    return sum(
                        sum(event[part]["tasks"].values())
                        for part in ("recipe", "others")
                    )
        return 0

    async def settle(self, before: dict[str, int]) -> dict[str, int]:
        """Wait until it has no more than before, and return what it has."""
        end = time.monotonic() + SETTLED
        while True:
            now = await self.holds()
            is_back = all(now[key] <= before[key] + SPARE[key] for key in now)
            if is_back or time.monotonic() > end:
                return now
            await asyncio.sleep(1)

    async def count(self, path: str, pings: int) -> int:
        """Wait until so much work is done, and return how much is."""
        end = time.monotonic() + SETTLED
        while True:
            async with self.client.get(path, timeout=TIMEOUT) as response:
                count: int = (await response.json())["count"]
            if count == pings or time.monotonic() > end:
                return count
            await asyncio.sleep(0.5)


class Faults:
    """All that fails, in an order of its own every time."""

    def __init__(
        self,
        failing: Store,
        postgres: KillablePostgres,
        load: Load,
        chooser: random.Random,
    ) -> None:
        self._failing = failing
        self._postgres = postgres
        self._load = load
        self._chooser = chooser
        self._rest = list[Callable[[], Awaitable[None]]]()

    async def next(self) -> None:
        if not self._rest:
            self._rest = [
                *self._failing.kinds(),
                self._postgres_killed,
                self._postgres_frozen,
                self._load.vanish,
            ]
            self._chooser.shuffle(self._rest)
        await self._rest.pop()()

    async def _postgres_killed(self) -> None:
        await asyncio.to_thread(self._postgres.kill)
        await asyncio.to_thread(self._postgres.start)

    async def _postgres_frozen(self) -> None:
        self._postgres.freeze()
        await asyncio.sleep(self._chooser.uniform(*OUTAGE))
        self._postgres.thaw()


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    pause = EVERY if size > SHORT else SOON
    memory = list[tuple[float, int]]()
    async with (
        store(chooser) as (failing, redis_url),
        killable_postgres() as postgres,
        AsyncExitStack() as stack,
    ):
        folder = Path(stack.enter_context(TemporaryDirectory()))
        process = await stack.enter_async_context(
            running(
                root / "app.py",
                *("--redis-url", redis_url, "--postgres-url", postgres.url),
                cwd=folder,
            )
        )
        url = URL(f"http://127.0.0.1:{process.port}")
        client = await stack.enter_async_context(
            ClientSession(
                url,
                connector=TCPConnector(limit=0, keepalive_timeout=1),
                cookie_jar=DummyCookieJar(),
            )
        )
        server = Server(psutil.Process(process.process.pid), client)
        load = Load(url, client, chooser)
        faults = Faults(failing, postgres, load, chooser)
        async with load.going_on():
            await asyncio.sleep(SOON)
            if size > SHORT:
                await load.fill_history()
        await asyncio.sleep(QUIET)
        before = await server.holds()
        began = time.monotonic()
        async with load.going_on():
            for _ in range(size):
                await asyncio.gather(asyncio.sleep(pause), faults.next())
                seconds = time.monotonic() - began
                memory.append((seconds, server.process.memory_info().rss))
                advance()
        after = await server.settle(before)
        found = load.faults()
        for path in (ANSWER, PRODUCTION):
            pings = load.pings(path)
            done = await server.count(path.replace("/ping", "/count"), pings)
            if done != pings:
                found.append(f"{pings} times {path}, and {done} were done")
        if code := await process.end(within=30):
            found.append(f"it ended with {code}")
        # A worker of jobs logs its outages with a traceback of its own.
        if mistakes := process.log.read_text().count("Error handling request"):
            found.append(f"{mistakes} mistakes in the log")
    found += [
        f"{before[what]} {what} became {after[what]}"
        for what in before
        if after[what] > before[what] + SPARE[what]
    ]
    counts = {
        "faults": size,
        "events": load.publisher.last,
        **load.counts(),
        **{f"{what} more": after[what] - before[what] for what in before},
        "MB at the end": round(memory[-1][1] / 1e6, 1),
    }
    if memory[-1][0] >= LONG_ENOUGH:
        growth = growth_of(memory)
        counts["MB more in an hour"] = round(growth, 2)
        if growth > MAX_GROWTH:
            found.append(f"it grows by {growth:.1f} MB an hour")
    return Found(counts, found)


def growth_of(memory: list[tuple[float, int]]) -> float:
    """Return the MB an hour of a line through what was seen."""
    late = [each for each in memory if each[0] >= WARM_UP]
    line = linear_regression(*zip(*late, strict=True))
    return line.slope * 3600 / 1e6


ATTACK = Attack(
    attack,
    promises=("X1", "X24", "R6-2", "R13-2"),
    files=("app.py", "cookbook", "recipes"),
    unit="faults",
    full=480,
    small=2,
    longest=30.0,
)
