"""Many WebSockets: an event that goes to all, and a logout that closes all."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import ClientSession, DummyCookieJar
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from yarl import URL

from benchmarks.compare import Advance, Rounds, Running, Subject, serving_all
from benchmarks.measure import TIMEOUT, Server, cpu_time, quantile
from benchmarks.peers.parallel_events import CHANNEL
from benchmarks.sockets import Listener, handshake, open_all

EVENT_SIZE = 200
"""Bytes of the text of an event."""

SILENT = 10
"""Of the sockets of a user who logs out: they do not answer the close."""


@dataclass
class Tally:
    """When each message of a kind, which is expected, has come to a socket."""

    kind: bytes
    expected: int = 0
    latencies: list[float] = field(default_factory=list)
    published: float = 0.0
    all_came: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self, count: int) -> None:
        self.expected += count
        self.all_came.clear()
        self.published = time.perf_counter()

    def add(self, text: bytes) -> None:
        if self.kind not in text:
            return
        self.latencies.append(time.perf_counter() - self.published)
        if len(self.latencies) == self.expected:
            self.all_came.set()


@dataclass(frozen=True)
class FanOut:
    """Events that go to all sockets of a server, one after the other.

    Those of `by_http` are published by a POST to the server, and all others by
    Redis. The client of the library websockets has to get what ours get.
    """

    title: str
    subjects: Sequence[Subject]
    sockets: int
    events: int
    rounds: int = 5
    by_http: frozenset[str] = frozenset()
    unit: str = "an event to a socket"

    @property
    def steps(self) -> int:
        return (2 + self.rounds) * len(self.subjects)

    async def run(self, advance: Advance) -> dict[str, Rounds]:
        rounds: dict[str, Rounds] = {}
        with serving_all(self.subjects) as running:
            open_ones = {}
            for name, each in running.items():
                memory = each.server.process.memory_info().rss
                open_ones[name] = await self._open(each.server)
                more = each.server.process.memory_info().rss - memory
                rounds[name] = {"socket": [more / self.sockets]}
                advance()
                await self._check(name, each, open_ones[name])
                advance()
            for _ in range(self.rounds):
                for name, each in running.items():
                    figures = await self._round(name, each, open_ones[name])
                    for what, value in figures.items():
                        rounds[name].setdefault(what, []).append(value)
                    advance()
            for sockets in open_ones.values():
                sockets.close()
        return rounds

    async def _open(self, server: Server) -> "Sockets":
        url = server.address / "ws"
        tally, ready = Tally(b'"event"'), Tally(b'"ready"')

        def on_text(text: bytes) -> None:
            ready.add(text)
            tally.add(text)

        ready.expect(self.sockets)
        make = partial(Listener, handshake(url), on_text)
        listeners = await open_all(url, [make] * self.sockets)
        async with asyncio.timeout(TIMEOUT):
            await ready.all_came.wait()
        return Sockets(listeners, tally)

    async def _check(
        self, name: str, running: Running, sockets: "Sockets"
    ) -> None:
        """Let a client that is not ours receive beside ours."""
        url = str(running.server.address.with_scheme("ws") / "ws")
        async with connect(url, compression=None) as other:
            assert json.loads(await other.recv())["type"] == "ready"
            for text in ("a" * EVENT_SIZE, "b" * EVENT_SIZE):
                await self._publish(name, running, sockets, text)
                event = json.loads(await other.recv())
                assert (event["type"], event["data"]) == ("event", text)

    async def _publish(
        self, name: str, running: Running, sockets: "Sockets", text: str
    ) -> None:
        """Publish an event, and wait until all sockets have it."""
        sockets.tally.expect(len(sockets.listeners))
        if name in self.by_http:
            url = running.server.address / "channels/news"
            async with (
                ClientSession() as client,
                client.post(url, data=text) as response,
            ):
                assert response.status == 200, await response.text()
        else:
            async with Redis.from_url(running.places["redis"]) as redis:
                await redis.publish(CHANNEL, text)
        async with asyncio.timeout(TIMEOUT):
            await sockets.tally.all_came.wait()

    async def _round(
        self, name: str, running: Running, sockets: "Sockets"
    ) -> dict[str, float]:
        before = cpu_time(running.server.process)
        start = time.perf_counter()
        known = len(sockets.tally.latencies)
        for _ in range(self.events):
            await self._publish(name, running, sockets, "x" * EVENT_SIZE)
        took = time.perf_counter() - start
        used = cpu_time(running.server.process) - before
        latencies = sockets.tally.latencies[known:]
        return {
            "cpu": used / len(latencies),
            "p50": quantile(latencies, 0.5),
            "p99": quantile(latencies, 0.99),
            "rate": len(latencies) / took,
        }


@dataclass(frozen=True)
class Sockets:
    """Those that are open to a server, and what they get."""

    listeners: list[Listener]
    tally: Tally

    def close(self) -> None:
        for listener in self.listeners:
            listener.transport.abort()


@dataclass(frozen=True)
class Logout:
    """A user with many sockets logs out, some of whose peers are silent."""

    title: str
    subjects: Sequence[Subject]
    sockets: int
    rounds: int = 3
    unit: str = "a socket"

    @property
    def steps(self) -> int:
        return self.rounds * len(self.subjects)

    async def run(self, advance: Advance) -> dict[str, Rounds]:
        rounds: dict[str, Rounds] = {each.name: {} for each in self.subjects}
        with serving_all(self.subjects) as running:
            for number in range(self.rounds):
                for name, (server, _) in running.items():
                    figures = await self._round(server, f"ann-{number}")
                    for what, value in figures.items():
                        rounds[name].setdefault(what, []).append(value)
                    advance()
        return rounds

    async def _round(self, server: Server, user: str) -> dict[str, float]:
        async with ClientSession(cookie_jar=DummyCookieJar()) as client:
            login = await self._post(client, server, "login", {"user": user})
            cookie = f"Cookie: {login}\r\n"
            request = handshake(server.address / "echo", cookie)
            make = partial(Listener, request, lambda text: None)
            silent = partial(make, is_silent=True)
            kinds = [make] * (self.sockets - SILENT) + [silent] * SILENT
            listeners = await open_all(server.address, kinds)
            before = cpu_time(server.process)
            start = time.perf_counter()
            headers = {"Cookie": login}
            async with client.post(
                server.address / "logout", headers=headers
            ) as response:
                assert response.status == 200, await response.text()
                closed = await response.json()
                answered = time.perf_counter() - start
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*(each.ended for each in listeners))
            gone = time.perf_counter() - start
        assert closed == {"closed": self.sockets}
        used = cpu_time(server.process) - before
        return {
            "cpu": used / self.sockets,
            "answered": answered,
            "gone": gone,
        }

    async def _post(
        self, client: ClientSession, server: Server, path: str, body: Any
    ) -> str:
        """Return the cookie that is set by the answer."""
        url: URL = server.address / path
        async with client.post(url, json=body) as response:
            assert response.status == 200, await response.text()
            [cookie] = response.cookies.values()
            return f"{cookie.key}={cookie.value}"
