"""Users log out of a cluster while a worker is killed every two seconds.

Each user has ten sockets, which nginx spreads over four workers. Whose socket
is lost with its worker opens another one with the same cookie. Half of the
users log out, at random workers. Two seconds after its answer none of their
sockets is open, and none opens again; we close no socket of the others.
"""

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    DummyCookieJar,
    TCPConnector,
    WSServerHandshakeError,
)

from benchmarks.attacks import Advance, Attack, Found
from cookbook.cluster import allow_many_descriptors
from tests.clusters import cluster_of, workers_of

PATH = "/production/websocket-logout"
SOCKETS = 10
"""Of each user."""

KILL_AGAIN = 2.0
CLOSED = 2.0
"""Seconds, after the answer to a logout, in which all has to be closed."""

APART = 0.2
"""Seconds between two logouts, on average."""

AT_ONCE = 20
"""Handshakes at a time: more than a second's worth is no attack."""

AFTERWARDS = 12.0
"""Seconds after the last logout in which sockets are still watched.

The workers look every five by themselves.
"""

OUR_CODES = (1000, 1001, 1008, 1011, 1013, 4001)
"""What a worker closes with. A socket that is lost has 1006."""

TIMEOUT = ClientTimeout(total=10)
PAUSE = 0.1
"""Seconds before something is tried again."""


@dataclass
class User:
    """A session, and what becomes of its sockets."""

    name: str
    cookie: str
    open: set[ClientWebSocketResponse] = field(default_factory=set)
    leaves_at: float | None = None
    """When its logout was asked for."""
    left_at: float | None = None
    """When that was answered."""


class Trial:
    """All users, and what is seen."""

    def __init__(self, client: ClientSession, chooser: random.Random) -> None:
        self._client = client
        self._chooser = chooser
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.users = list[User]()
        self.tally = Counter[str]()
        self.faults = list[str]()

    async def log_in(self, name: str) -> User:
        while True:
            with suppress(ClientError, TimeoutError):
                async with (
                    self._turns,
                    self._client.post(
                        f"{PATH}/login", json={"user": name}, timeout=TIMEOUT
                    ) as response,
                ):
                    if response.status == 200:
                        [cookie] = response.cookies.values()
                        user = User(name, f"{cookie.key}={cookie.value}")
                        self.users.append(user)
                        return user
            await asyncio.sleep(PAUSE)

    async def keep_open(self, user: User) -> None:
        """Hold a socket, and open another one when it is lost."""
        headers = {"Cookie": user.cookie}
        while True:
            asked = time.monotonic()
            try:
                async with self._turns:
                    ws = await self._client.ws_connect(
                        f"{PATH}/echo", headers=headers
                    )
            except WSServerHandshakeError as error:
                if error.status == 401:
                    self._refused(user)
                    return
                self.tally[f"handshakes answered {error.status}"] += 1
                await asyncio.sleep(PAUSE)
                continue
            except (ClientError, TimeoutError):
                self.tally["handshakes lost"] += 1
                await asyncio.sleep(PAUSE)
                continue
            if user.left_at is not None and asked > user.left_at:
                self.tally["opened after a logout"] += 1
            user.open.add(ws)
            await ws.receive()
            user.open.discard(ws)
            self._closed(user, ws.close_code)

    def _refused(self, user: User) -> None:
        if user.leaves_at is None:
            self.faults.append(f"{user.name} is refused, and never left")

    def _closed(self, user: User, code: int | None) -> None:
        if code not in OUR_CODES:
            self.tally["sockets lost with a worker"] += 1
        elif user.leaves_at is None:
            self.faults.append(f"{user.name} is closed by {code}, and stays")
        else:
            self.tally[f"sockets closed by {code}"] += 1

    async def log_out(self, user: User) -> None:
        """Log out, and look two seconds later."""
        self.tally["sockets open at a logout"] += len(user.open)
        user.leaves_at = time.monotonic()
        headers = {"Cookie": user.cookie}
        while True:
            with suppress(ClientError, TimeoutError):
                async with self._client.post(
                    f"{PATH}/logout", headers=headers, timeout=TIMEOUT
                ) as response:
                    # 401: the answer to the first try was lost.
                    if response.status in (200, 401):
                        break
            await asyncio.sleep(PAUSE)
        user.left_at = time.monotonic()
        await asyncio.sleep(CLOSED)
        if user.open:
            self.faults.append(
                f"{len(user.open)} sockets are open {CLOSED} s after a logout"
            )

    async def kill_workers(self, gunicorn: psutil.Process) -> None:
        while True:
            await asyncio.sleep(KILL_AGAIN)
            if workers := workers_of(gunicorn):
                self._chooser.choice(workers).kill()
                self.tally["workers killed"] += 1


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    users = 2 * size
    allow_many_descriptors()
    with TemporaryDirectory(dir="/tmp") as folder:
        async with (
            cluster_of(root, Path(folder)) as cluster,
            ClientSession(
                cluster.url,
                connector=TCPConnector(limit=0),
                cookie_jar=DummyCookieJar(),
            ) as client,
            asyncio.TaskGroup() as holders,
        ):
            trial = Trial(client, chooser)
            held = list[asyncio.Task[None]]()
            for number in range(users):
                user = await trial.log_in(f"{seed}.{number}")
                for _ in range(SOCKETS):
                    held.append(holders.create_task(trial.keep_open(user)))
            while sum(len(each.open) for each in trial.users) < len(held):
                await asyncio.sleep(0.05)
            gunicorn = psutil.Process(await cluster.pid_of("gunicorn"))
            killing = asyncio.create_task(trial.kill_workers(gunicorn))
            async with asyncio.TaskGroup() as logouts:
                for user in chooser.sample(trial.users, size):
                    await asyncio.sleep(chooser.uniform(0, 2 * APART))
                    logouts.create_task(trial.log_out(user))
                    advance()
            await asyncio.sleep(AFTERWARDS)
            killing.cancel()
            await asyncio.wait([killing])
            judge_the_end(trial)
            for holding in held:
                holding.cancel()
    counts = {
        "users": users,
        "sockets": users * SOCKETS,
        "logouts": size,
        **dict(sorted(trial.tally.items())),
    }
    return Found(counts, trial.faults)


def judge_the_end(trial: Trial) -> None:
    for user in trial.users:
        if user.left_at is not None and user.open:
            trial.faults.append(f"{len(user.open)} sockets are open at the end")


ATTACK = Attack(
    attack,
    promises=("R7-1", "R7-3", "R5-4"),
    files=("app.py", "cookbook", "recipes/production/websocket_logout.py"),
    unit="logouts",
    full=100,
    small=10,
    longest=3.0,
)
