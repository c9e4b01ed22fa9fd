"""Sockets of three channels come and go, and their Redis with them.

A state machine opens sockets, publishes, sends, and leaves in order or without
a word. Now and then it ends Redis, and starts it again. A model of a set says
who has to get an event, and each of them has to get it next.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import (
    ClientSession,
    ClientWebSocketResponse,
    TCPConnector,
    WSServerHandshakeError,
)
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule
from redis.asyncio import Redis

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._machine import (
    CHANCES,
    Answer,
    Machine,
    ask,
    close,
    drive,
)
from cookbook.redis_server import find_redis
from tests.engines import KillableRedis
from tests.servers import forked

AGAIN = 0.01
"""Seconds between two looks at what takes a moment."""


@dataclass
class World:
    client: ClientSession
    redis: KillableRedis
    direct: Redis
    """A client of it that is not under attack."""
    requests: int = 0
    sockets: int = 0
    events: int = 0
    outages: int = 0


@dataclass(eq=False)
class Socket:
    channel: str
    ws: ClientWebSocketResponse


class Hub(Machine):
    """Who listens."""

    world: World
    sockets = Bundle("sockets")
    channels = st.sampled_from(["tea", "milk", "sugar"])
    texts = st.text(max_size=9)

    def __init__(self) -> None:
        super().__init__()
        self.open = set[Socket]()

    async def end(self) -> None:
        for socket in self.open:
            await socket.ws.close()
        self.open.clear()
        await self.count()

    async def ask(
        self, method: str, path: str, data: bytes | None = None
    ) -> Answer:
        self.world.requests += 1
        return await ask(self.world.client, method, path, data=data)

    async def publish(self, channel: str, text: str) -> Answer:
        return await self.ask("POST", f"/channels/{channel}", text.encode())

    async def connect(self, channel: str) -> Socket:
        self.world.sockets += 1
        query = {"channel": channel}
        ws = await self.world.client.ws_connect("/ws", params=query)
        socket = Socket(channel, ws)
        await self.expect(socket, type="ready", channel=channel)
        return socket

    async def expect(self, socket: Socket, **message: str) -> None:
        """Have this message come next."""
        received = await socket.ws.receive_json()
        assert received == message, (received, message)

    async def count(self) -> None:
        """Wait until the program counts what the model does."""
        channels = len({socket.channel for socket in self.open})
        expected = {"sockets": len(self.open), "channels": channels}
        while (await self.ask("GET", "/stats")).body != expected:
            await asyncio.sleep(AGAIN)

    @rule(target=sockets, channel=channels)
    def open_socket(self, channel: str) -> Socket:
        socket = self.wait(self.connect(channel))
        self.open.add(socket)
        return socket

    @rule(channel=channels, text=texts)
    def publish_one(self, channel: str, text: str) -> None:
        self.wait(self.deliver(channel, text))

    async def deliver(self, channel: str, text: str) -> None:
        self.world.events += 1
        answer = await self.publish(channel, text)
        listening = [each for each in self.open if each.channel == channel]
        assert answer.body == {"receivers": len(listening)}, answer
        for socket in listening:
            await self.expect(socket, type="event", data=text)

    @rule(socket=sockets, text=texts)
    def echo(self, socket: Socket, text: str) -> None:
        if socket in self.open:
            self.wait(self.echo_one(socket, text))

    async def echo_one(self, socket: Socket, text: str) -> None:
        await socket.ws.send_str(text)
        await self.expect(socket, type="echo", data=text)

    @rule(socket=sockets, in_order=st.booleans())
    def leave(self, socket: Socket, in_order: bool) -> None:
        if socket in self.open:
            self.open.remove(socket)
            self.wait(self.part(socket, in_order))

    async def part(self, socket: Socket, in_order: bool) -> None:
        """Leave, and wait until the program has noticed."""
        await close(socket.ws, in_order)
        await self.count()

    @rule()
    def count_readers(self) -> None:
        self.wait(self.expect_one_reader())

    async def expect_one_reader(self) -> None:
        readers = await self.world.direct.pubsub_numpat()
        assert readers == 1, readers

    @rule(channel=channels, text=texts, rare=CHANCES)
    def be_without_redis(self, channel: str, text: str, rare: int) -> None:
        """All who were open stay so, and are told afterwards. Rare."""
        if not rare:
            self.world.outages += 1
            self.wait(self.outlive(channel, text))

    async def outlive(self, channel: str, text: str) -> None:
        self.open.add(await self.connect(channel))
        await asyncio.to_thread(self.world.redis.stop)
        try:
            # First of all, what would be lost is refused.
            answer = await self.publish(channel, text)
            assert answer.status == 503, answer
            await self.be_refused(channel)
            for socket in self.open:
                await self.echo_one(socket, text)
        finally:
            await asyncio.to_thread(self.world.redis.start)
        for socket in self.open:
            await self.expect(socket, type="ready", channel=socket.channel)
        await self.deliver(channel, text)

    async def be_refused(self, channel: str) -> None:
        """Wait until no socket opens any more."""
        try:
            while True:
                await self.part(await self.connect(channel), in_order=True)
        except WSServerHandshakeError as error:
            if error.status != 503:
                raise


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    script = root / "recipes" / "parallel_events.py"
    executable = find_redis()
    assert executable, "no Redis was found"
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir="/tmp")))
        redis = await asyncio.to_thread(KillableRedis, executable, folder)
        stack.push_async_callback(asyncio.to_thread, redis.stop)
        server = await stack.enter_async_context(
            forked(script, cwd=folder, REDIS_URL=redis.url)
        )
        client = await stack.enter_async_context(
            ClientSession(
                f"http://127.0.0.1:{server.port}",
                connector=TCPConnector(limit=0),
            )
        )
        direct = await stack.enter_async_context(Redis.from_url(redis.url))
        world = World(client, redis, direct)
        faults = await drive(Hub, world, size, seed, advance)
    counts = {
        "runs": size,
        "requests": world.requests,
        "sockets": world.sockets,
        "events": world.events,
        "outages": world.outages,
    }
    return Found(counts, faults)


ATTACK = Attack(
    attack,
    promises=("R6-11",),
    files=("recipes/parallel_events.py",),
    unit="runs",
    full=100,
    small=10,
    longest=10.0,
)
