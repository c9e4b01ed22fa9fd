"""Clocks jump by an hour or a day, under load: of two workers, and of Redis.

Each has a clock of its own, which a jump sets anew; time goes on at its pace.
Users log in and out, and hold WebSockets. A session ends when its time is over
by the clock of Redis, and never comes back; the clocks of workers end none. A
logout closes all sockets of its user, and counts them where the clock of Redis
was not set since they were opened. Whatever else is asked is answered in time,
no event is lost, and slow headers are ended when they should be.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    DummyCookieJar,
    TCPConnector,
    WSMsgType,
    WSServerHandshakeError,
)
from redis.asyncio import Redis, RedisError
from yarl import URL

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._numbers import Listener, Publisher, arrival
from cookbook.redis_server import find_redis, redis_command
from tests.servers import Process, running

WORKERS = 2
VISITORS = 2
"""Clients of each worker that ask one thing after the other."""

SOCKETS = 3
"""Of each user, on each worker."""

# A minute more: what has an hour to live must not end at the same moment.
HOUR = 3660
DAY = 86400 + 60
OFFSETS = (0, HOUR, -HOUR, DAY, -DAY)
"""Seconds that a clock may differ from the time of day."""

IDLE_AGE = 3600
MAX_AGE = 12 * 3600
"""Seconds until a session of production/request_data ends, idle or busy."""

SOCKETS_AGE = 3600
"""Seconds that a session of production/websocket_logout has to live."""

NOTICED = 30.0
"""Seconds until a socket is closed whose session is over."""

HEADERS = (10.0, 40.0)
"""Seconds until a client that never ends its headers is closed."""

SETTLED = 30.0
"""Seconds in which something becomes true that nothing tells of."""

CLOSED = {"4001", "1006"}
"""What a session's end closes with; 1006, who had no time for a goodbye."""

AWAY = (502, 503, 504)
TIMEOUT = ClientTimeout(total=30)
PAUSE = 0.1
"""Seconds between two requests."""

PATHS = (
    "/",
    "/database/answer",
    "/global-gzip/json?size=10000",
    "/global-gzip/stream",
    "/production/one-response/greeting?name=you",
    "/source-address/whoami",
)
MOST_USERS = 20
"""Of production/request_data: they are looked at, be their time over or not."""

LISTENERS = 4
EVENT_EVERY = 0.5
"""Seconds between two events."""

PAUSES = (0.05, 0.3)
"""Seconds between a jump and the first look.

Redis keeps the time for some milliseconds.
"""

DATA = "/production/request-data"
LOGOUT = "/production/websocket-logout"


class Clock:
    """What libfaketime reads at each look at the time of day."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.offset = 0
        self.set(0)

    def set(self, offset: int) -> None:
        self.offset = offset
        # Never half a file: it is read all the time.
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+d}\n")
        new.rename(self._file)

    def now(self) -> float:
        return time.time() + self.offset

    def variables(self) -> dict[str, str]:
        """Return the environment of a process that has this clock."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def library() -> Path:
    """Return the library of the package, without an import of it."""
    spec = find_spec("libfaketime")
    assert spec, "libfaketime is not installed"
    assert spec.origin
    source = Path(spec.origin).parent / "vendor" / "libfaketime" / "src"
    return source / "libfaketime.so.1"


class Socket:
    """A WebSocket whose client reads all the time, and answers a goodbye."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self._ws = ws
        self._echoed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while (await self._ws.receive()).type is WSMsgType.TEXT:
            self._echoed.set()

    async def echoes(self) -> bool:
        self._echoed.clear()
        with suppress(ClientError, TimeoutError):
            async with asyncio.timeout(NOTICED):
                await self._ws.send_str("tea")
                await self._echoed.wait()
        return self._echoed.is_set()

    async def code(self) -> int | None:
        """Return what it is closed with, or None if that takes too long."""
        await asyncio.wait([self._reading], timeout=NOTICED)
        return self._ws.close_code


@dataclass
class Login:
    """A session, and until when it lives by the clock of Redis."""

    cookie: str
    ends: float
    begun: float = 0.0
    is_over: bool = False
    is_counted: bool = True
    """Whether the clock of Redis was not set since its sockets were opened."""
    sockets: list[Socket] = field(default_factory=list)


@dataclass
class Trial:
    """The workers, the clocks, and what is seen."""

    clients: list[ClientSession]
    """One for each worker."""
    clock: Clock
    """That of Redis, by which sessions end."""
    chooser: random.Random
    tally: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    is_over: bool = False
    users: int = 0

    def anybody(self) -> ClientSession:
        return self.chooser.choice(self.clients)

    async def ask(
        self,
        method: str,
        path: str,
        cookie: str = "",
        client: ClientSession | None = None,
        **more: Any,
    ) -> tuple[int, str, Any]:
        """Return the status, the cookie that is set, and the answer."""
        headers = {"Cookie": cookie}
        end = time.monotonic() + SETTLED
        while True:
            async with (client or self.anybody()).request(
                method, path, headers=headers, timeout=TIMEOUT, **more
            ) as response:
                body = await response.read()
                is_json = response.content_type == "application/json"
                answer = await response.json() if is_json else body
                cookies = response.cookies.items()
            self.tally["requests"] += 1
            # A busy machine: some other service was slow.
            is_away = response.status in AWAY
            if not is_away or time.monotonic() > end:
                break
            self.tally["of them refused at first"] += 1
            await asyncio.sleep(PAUSE)
        if response.status >= 500:
            self.faults.append(f"{response.status} for {path}: {body[:200]!r}")
        return (
            response.status,
            "; ".join(f"{name}={each.value}" for name, each in cookies),
            answer,
        )

    async def visit(self, client: ClientSession) -> None:
        """Ask one thing after the other; each is answered."""
        while not self.is_over:
            path = self.chooser.choice(PATHS)
            try:
                await self.ask("GET", path, client=client)
            except (ClientError, TimeoutError) as error:
                self.faults.append(f"no answer to {path}: {error!r}")
            await asyncio.sleep(PAUSE)

    async def dawdle(self, process: Process) -> None:
        """Begin a request, again and again, that never ends."""
        while not self.is_over:
            began = time.monotonic()
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", process.port
            )
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(2 * HEADERS[1]):
                    await reader.read()
            writer.close()
            took = time.monotonic() - began
            self.tally["slow clients closed"] += 1
            if not HEADERS[0] < took < HEADERS[1]:
                self.faults.append(f"slow headers were ended in {took:.1f} s")

    async def log_in(
        self, path: str, age: int, client: ClientSession | None = None
    ) -> Login:
        self.users += 1
        user = {"user": f"user {self.users}"}
        status, cookie, _ = await self.ask(
            "POST", f"{path}/login", client=client, json=user
        )
        if status != 200:
            self.faults.append(f"a login at {path} is a {status}")
        now = self.clock.now()
        self.tally["sessions"] += 1
        return Login(cookie, now + age, begun=now)

    def judge(self, login: Login, status: int, what: str) -> bool:
        """Compare with what is known; return whether the session is alive."""
        is_over = not self.is_alive(login)
        if status != (401 if is_over else 200):
            state = "over" if is_over else "alive"
            self.faults.append(f"a session that is {state}: {what} {status}")
        if is_over and not login.is_over:
            self.tally["sessions that ended by a clock"] += 1
        login.is_over |= is_over
        return not is_over

    def is_alive(self, login: Login) -> bool:
        return not login.is_over and self.clock.now() < login.ends

    async def use(self, login: Login, client: ClientSession) -> None:
        """Use a session of production/request_data, which prolongs it."""
        status, _, _ = await self.ask("GET", f"{DATA}/me", login.cookie, client)
        if self.judge(login, status, "/me"):
            now = self.clock.now()
            login.ends = min(now + IDLE_AGE, login.begun + MAX_AGE)

    async def open_socket(self, login: Login, client: ClientSession) -> None:
        headers = {"Cookie": login.cookie}
        async with asyncio.timeout(SETTLED):
            while True:
                try:
                    ws = await client.ws_connect(
                        f"{LOGOUT}/echo", headers=headers
                    )
                    break
                except WSServerHandshakeError as error:
                    if error.status not in AWAY:
                        raise
                    await asyncio.sleep(PAUSE)
        login.sockets.append(Socket(ws))
        self.tally["WebSockets"] += 1

    async def look_at(self, login: Login) -> None:
        """Have all sockets echo, or be closed where their session is over."""
        login.is_over = not self.is_alive(login)
        if not login.is_over:
            echoed = await asyncio.gather(*(s.echoes() for s in login.sockets))
            if missing := echoed.count(False):
                self.faults.append(
                    f"a session is alive, and {missing} of its sockets are not"
                )
            return
        codes = await asyncio.gather(*(s.code() for s in login.sockets))
        self.tally["sockets closed by the end of a session"] += len(codes)
        if wrong := sorted({str(each) for each in codes} - CLOSED):
            self.faults.append(f"a session is over, its sockets have {wrong}")

    async def log_out(self, login: Login) -> None:
        """All sockets of the user are counted, and closed."""
        status, _, answer = await self.ask(
            "POST", f"{LOGOUT}/logout", login.cookie
        )
        self.judge(login, status, "/logout")
        right = {"closed": len(login.sockets)}
        if status == 200 and login.is_counted and answer != right:
            self.faults.append(f"{answer} at a logout, and not {right}")
        login.is_over = True
        await self.look_at(login)


async def go_on(
    trial: Trial, clocks: list[Clock], size: int, advance: Advance
) -> None:
    """Let clocks jump, and look at all sessions after each time."""
    chooser = trial.chooser
    users = list[Login]()
    holders = list[Login]()
    for number in range(size):
        users = users[-MOST_USERS:]
        for client in trial.clients:
            users.append(await trial.log_in(DATA, IDLE_AGE, client))
        holder = await trial.log_in(LOGOUT, SOCKETS_AGE)
        for client in trial.clients * SOCKETS:
            await trial.open_socket(holder, client)
        holders.append(holder)
        # The clock of Redis times the places of sockets.
        is_redis = jump(trial, clocks, is_first=number == 0)
        for login in holders:
            login.is_counted &= not is_redis
        await asyncio.sleep(chooser.uniform(*PAUSES))
        for login in users:
            # The first one sees what the last one has noted.
            for client in [*trial.clients, trial.clients[0]]:
                await trial.use(login, client)
        for login in holders:
            # It takes a place among those that were taken before.
            if trial.is_alive(login):
                await trial.open_socket(login, trial.anybody())
            await trial.look_at(login)
        holders = [each for each in holders if not each.is_over]
        if holders:
            await trial.log_out(holders.pop(chooser.randrange(len(holders))))
        advance()
    for login in holders:
        await trial.log_out(login)


def jump(trial: Trial, clocks: list[Clock], *, is_first: bool) -> bool:
    """Set one clock anew, or all: a host that is set.

    The first is that of a worker, by a day: what a worker times is then over by
    the clock of Redis, or lives too long. Return whether that of Redis jumps.
    """
    jumping = trial.chooser.choice([*([each] for each in clocks), clocks])
    now = jumping[0].offset
    offset = trial.chooser.choice([each for each in OFFSETS if each != now])
    if is_first:
        jumping, offset = clocks[-1:], -DAY
    for clock in jumping:
        clock.set(offset)
    is_redis = trial.clock in jumping
    trial.tally["of them of Redis"] += is_redis
    return is_redis


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir="/tmp")))
        clock = Clock(folder / "redis.clock")
        url = await stack.enter_async_context(redis_with(clock, folder))
        clocks = [clock]
        processes = list[Process]()
        clients = list[ClientSession]()
        for number in range(WORKERS):
            home = folder / f"worker{number}"
            home.mkdir()
            clocks.append(Clock(folder / f"worker{number}.clock"))
            process = await stack.enter_async_context(
                running(
                    root / "app.py",
                    *("--redis-url", url),
                    cwd=home,
                    **clocks[-1].variables(),
                )
            )
            processes.append(process)
            client = ClientSession(
                f"http://127.0.0.1:{process.port}",
                connector=TCPConnector(limit=0),
                cookie_jar=DummyCookieJar(),
            )
            clients.append(await stack.enter_async_context(client))
        trial = Trial(clients, clock, chooser)
        urls = [
            URL(f"http://127.0.0.1:{each.port}/production/parallel-events")
            for each in processes
        ]
        listeners = [
            Listener(urls, clients[0], chooser) for _ in range(LISTENERS)
        ]
        publisher = Publisher(urls, clients[0], EVENT_EVERY)
        listening = [asyncio.create_task(each.run()) for each in listeners]
        try:
            for listener in listeners:
                await listener.ready.wait()
            # The first page is made when it is asked for.
            for client in clients:
                async with client.get("/") as response:
                    await response.read()
            async with asyncio.TaskGroup() as load:
                load.create_task(publisher.run())
                for client in clients * VISITORS:
                    load.create_task(trial.visit(client))
                for process in processes:
                    load.create_task(trial.dawdle(process))
                await go_on(trial, clocks, size, advance)
                trial.is_over = publisher.is_over = True
            trial.faults += await arrival(listeners, publisher.last)
        finally:
            for task in listening:
                task.cancel()
            await asyncio.wait(listening)
        for process in processes:
            if code := await process.end(within=30):
                trial.faults.append(f"it ended with {code}")
            log = process.log.read_text()
            if mistakes := log.count("Error handling request"):
                trial.faults.append(f"{mistakes} mistakes in a log")
    for listener in listeners:
        trial.faults += listener.faults
        trial.tally += listener.tally
    counts = {
        "jumps": size,
        "events": publisher.last,
        **dict(sorted(trial.tally.items())),
    }
    return Found(counts, trial.faults)


@asynccontextmanager
async def redis_with(clock: Clock, folder: Path) -> AsyncIterator[str]:
    """Run a Redis that has this clock; yield its URL."""
    executable = find_redis()
    assert executable, "no Redis was found"
    path = folder / "redis.sock"
    process = await asyncio.create_subprocess_exec(
        *redis_command(executable, path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, **clock.variables()},
        start_new_session=True,
    )
    assert process.stdin
    try:
        async with (
            asyncio.timeout(SETTLED),
            Redis(unix_socket_path=str(path)) as redis,
        ):
            while True:
                with suppress(RedisError):
                    await redis.ping()
                    break
                await asyncio.sleep(0.05)
            # Without libfaketime this ends by the time-out. The first answer
            # may be of the time before.
            clock.set(DAY)
            while (await redis.time())[0] < time.time() + HOUR:
                await asyncio.sleep(0.01)
            clock.set(0)
        yield f"unix://{path}"
    finally:
        # It ends with whoever holds this.
        process.stdin.close()
        await process.wait()


ATTACK = Attack(
    attack,
    promises=("X1", "X2", "X10", "R5-4", "R5-5", "R6-2", "R7-1"),
    files=("app.py", "cookbook", "recipes"),
    unit="jumps of a clock",
    full=200,
    small=3,
    longest=20.0,
    linux=True,
)
