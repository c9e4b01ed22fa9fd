"""Sessions are begun, used, left and forgotten by a state machine.

Three users log in, go on, log out, here and everywhere, on two workers. Time
goes by, as all times in Redis are moved back. A model of a few lines says who
is logged in, how often each session was used, and which of them a user has.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import ClientSession, DummyCookieJar
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule
from redis.asyncio import Redis

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._machine import CHANCES, Answer, Machine, ask, drive
from cookbook.redis_server import find_redis
from tests.engines import KillableRedis
from tests.servers import forked

WORKERS = 2

MINUTE = 60
IDLE = 60
AGE = 12 * 60
"""Minutes until a session ends that is not used, and however it is used."""

PAUSE = 25
"""Minutes of a pause. No number of them is near one of the limits."""

CROWD = 100
"""Sessions that a user may have."""

GO_BY = """
local by = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', 'request_data:*')) do
    if redis.call('TYPE', key).ok == 'hash' then
        redis.call('HINCRBY', key, 'created', -by)
        redis.call('HINCRBY', key, 'last_seen', -by)
    else
        for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
            redis.call('ZINCRBY', key, -by, member)
        end
    end
    -- A time to live that is over deletes the key.
    redis.call('EXPIRE', key, redis.call('TTL', key) - by)
end
"""
"""Makes all times that are stored so many seconds older."""


@dataclass
class World:
    clients: list[ClientSession]
    """One for each worker."""
    redis: Redis
    requests: int = 0
    sessions: int = 0
    """Sessions that were begun."""


@dataclass
class Login:
    """What the model knows of a session."""

    user: str
    cookie: str
    begun: int
    """In minutes of the model."""
    seen: int
    uses: int = 0
    is_over: bool = False


class Sessions(Machine):
    """Who is logged in."""

    world: World
    logins = Bundle("logins")
    users = st.sampled_from(["ann", "bob", "cy"])
    workers = st.integers(0, WORKERS - 1)

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.begun = list[Login]()

    async def end(self) -> None:
        await self.world.redis.flushall()

    async def ask(
        self,
        worker: int,
        method: str,
        path: str,
        cookie: str,
        json: object = None,
    ) -> Answer:
        self.world.requests += 1
        client = self.world.clients[worker]
        return await ask(client, method, path, cookie, json=json)

    def is_alive(self, login: Login) -> bool:
        return (
            not login.is_over
            and self.now - login.seen < IDLE
            and self.now - login.begun < AGE
        )

    def use(self, login: Login) -> bool:
        """Return whether it is alive, and prolong it."""
        if not self.is_alive(login):
            return False
        login.seen = self.now
        login.uses += 1
        return True

    def alive(self, user: str) -> list[Login]:
        return [
            login
            for login in self.begun
            if login.user == user and self.is_alive(login)
        ]

    async def begin(self, worker: int, user: str, cookie: str = "") -> Login:
        answer = await self.ask(
            worker, "POST", "/login", cookie, json={"user": user}
        )
        assert answer.status == 200, answer
        [new] = answer.cookies
        assert new != cookie
        self.world.sessions += 1
        login = Login(user, new, begun=self.now, seen=self.now)
        self.begun.append(login)
        return login

    @rule(target=logins, worker=workers, user=users)
    def log_in(self, worker: int, user: str) -> Login:
        return self.wait(self.begin(worker, user))

    @rule(target=logins, worker=workers, user=users, old=logins)
    def log_in_again(self, worker: int, user: str, old: Login) -> Login:
        """The old session ends, whoever's it is."""
        login = self.wait(self.begin(worker, user, old.cookie))
        old.is_over = True
        return login

    @rule(worker=workers, login=logins)
    def ask_who(self, worker: int, login: Login) -> None:
        answer = self.wait(self.ask(worker, "GET", "/me", login.cookie))
        if self.use(login):
            assert answer.status == 200, answer
            assert answer.body == {"user": login.user}
        else:
            assert answer.status == 401, answer

    @rule(worker=workers, login=logins)
    def list_sessions(self, worker: int, login: Login) -> None:
        answer = self.wait(self.ask(worker, "GET", "/sessions", login.cookie))
        if not self.use(login):
            assert answer.status == 401, answer
            return
        listed = sorted(
            (each["requests"], each["current"])
            for each in answer.body["sessions"]
        )
        known = sorted(
            (each.uses, each is login) for each in self.alive(login.user)
        )
        assert listed == known, (listed, known)

    @rule(login=logins, times=st.integers(2, 6))
    def use_at_once(self, login: Login, times: int) -> None:
        """None of the uses is lost: see `list_sessions`."""

        async def use() -> list[Answer]:
            asking = [
                self.ask(each % WORKERS, "GET", "/me", login.cookie)
                for each in range(times)
            ]
            return await asyncio.gather(*asking)

        expected = 401
        for answer in self.wait(use()):
            expected = 200 if self.use(login) else 401
            assert answer.status == expected, answer

    @rule(worker=workers, login=logins)
    def log_out(self, worker: int, login: Login) -> None:
        answer = self.wait(self.ask(worker, "POST", "/logout", login.cookie))
        assert answer.status == 204, answer
        login.is_over = True

    @rule(worker=workers, login=logins)
    def log_out_everywhere(self, worker: int, login: Login) -> None:
        answer = self.wait(
            self.ask(worker, "POST", "/logout-everywhere", login.cookie)
        )
        if not self.use(login):
            assert answer.status == 401, answer
            return
        assert answer.status == 204, answer
        for each in self.alive(login.user):
            each.is_over = True

    @rule(pauses=st.integers(1, 3))
    def go_by(self, pauses: int) -> None:
        self.wait(self.pass_time(pauses))

    async def pass_time(self, pauses: int) -> None:
        minutes = pauses * PAUSE
        self.now += minutes
        await self.world.redis.eval(GO_BY, 0, str(minutes * MINUTE))

    @rule(worker=workers, login=logins, times=st.integers(1, 20))
    def keep_busy(self, worker: int, login: Login, times: int) -> None:
        """Use a session for hours, and never let it be idle."""
        for _ in range(times):
            self.ask_who(worker, login)
            self.go_by(2)

    @rule(worker=workers, user=users, rare=CHANCES)
    def crowd(self, worker: int, user: str, rare: int) -> None:
        """So many new sessions end all older ones of their user. Rare."""
        if rare:
            return
        # Of sessions of the same second, nobody knows which is older.
        self.go_by(1)
        for login in self.alive(user):
            login.is_over = True
        new = [self.wait(self.begin(worker, user)) for _ in range(CROWD)]
        self.list_sessions(worker, new[0])
        self.log_out_everywhere(worker, new[-1])


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    script = root / "recipes" / "production" / "request_data.py"
    executable = find_redis()
    assert executable, "no Redis was found"
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(dir="/tmp"))
        server = await asyncio.to_thread(
            KillableRedis, executable, Path(folder)
        )
        stack.push_async_callback(asyncio.to_thread, server.stop)
        clients = []
        for _ in range(WORKERS):
            home = Path(stack.enter_context(TemporaryDirectory()))
            worker = await stack.enter_async_context(
                forked(script, cwd=home, REDIS_URL=server.url)
            )
            client = ClientSession(
                f"http://127.0.0.1:{worker.port}", cookie_jar=DummyCookieJar()
            )
            clients.append(await stack.enter_async_context(client))
        redis = await stack.enter_async_context(Redis.from_url(server.url))
        world = World(clients, redis)
        faults = await drive(Sessions, world, size, seed, advance)
    counts = {
        "runs": size,
        "requests": world.requests,
        "sessions": world.sessions,
    }
    return Found(counts, faults)


ATTACK = Attack(
    attack,
    promises=("R5-3", "R5-4", "R5-5", "R5-9"),
    files=("recipes/production/request_data.py",),
    unit="runs",
    full=1000,
    small=20,
    longest=2.0,
)
