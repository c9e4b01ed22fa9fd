"""Servers that take turns under the same load, and what each round has cost."""

import asyncio
import gzip
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from aiohttp import ClientConnectorError, ClientSession, hdrs
from yarl import URL

from benchmarks.measure import (
    TIMEOUT,
    Server,
    cpu_time,
    load,
    quantile,
    serving,
)
from benchmarks.wrk import Request, find_wrk, run_wrk
from cookbook.postgres_server import postgres_server
from cookbook.redis_server import redis_server

OWN_COUNT = 3000
"""Requests of a round where wrk is not installed."""

Rounds = dict[str, list[float]]
"""What was measured, by its name: a value for each round."""

Advance = Callable[[], None]
"""Called after each round of each subject."""


class Subject(NamedTuple):
    """A server that is measured: its name on the page, and its command line.

    `{redis}`, `{postgres}` and `{folder}` in the command line become the
    address of a server that is started for it, and a folder of its own.
    """

    name: str
    command: tuple[str, ...]


def recipe(name: str, module: str, *options: str) -> Subject:
    """Return a subject that serves a module of `recipes` alone."""
    command = ("-m", "benchmarks.serve", f"recipes.{module}", *options)
    return Subject(name, command)


def peer(name: str, module: str, *arguments: str) -> Subject:
    """Return a subject that runs a module of `benchmarks/peers`."""
    return Subject(name, ("-m", f"benchmarks.peers.{module}", *arguments))


class Comparison(Protocol):
    """What is measured of several subjects in turns.

    `unit` is what the CPU is for: a request, or an event to a socket.
    """

    @property
    def title(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def steps(self) -> int: ...

    async def run(self, advance: Advance) -> dict[str, Rounds]: ...


@dataclass(frozen=True)
class Requests:
    """A request that is sent again and again on some connections.

    wrk sends for some seconds, where it is installed and no `count` is given;
    otherwise our own load sends so many. The answer has to have the status and
    the size, once it is decompressed.
    """

    title: str
    subjects: Sequence[Subject]
    request: Request
    status: int = 200
    size: int | None = None
    clients: int = 64
    count: int = 0
    rounds: int = 5
    seconds: int = 1
    unit: str = "a request"

    @property
    def steps(self) -> int:
        return (1 + self.rounds) * len(self.subjects)

    async def run(self, advance: Advance) -> dict[str, Rounds]:
        rounds: dict[str, Rounds] = {}
        with serving_all(self.subjects) as servers:
            for name, (server, _) in servers.items():
                rounds[name] = {"bytes": [await self.check(server)]}
                # The first round warms it up.
                await self._load(server)
                advance()
            for _ in range(self.rounds):
                for name, (server, _) in servers.items():
                    for what, value in (await self._load(server)).items():
                        rounds[name].setdefault(what, []).append(value)
                    advance()
            for name, (server, _) in servers.items():
                memory = server.process.memory_info().rss
                rounds[name]["memory"] = [memory]
        return rounds

    async def check(self, server: Server) -> float:
        """Ask once, and return how many bytes of a body were sent."""
        request = self.request
        url = server.address.join(URL(request.path))
        async with ClientSession(auto_decompress=False) as client:
            await _wait_for(client, server)
            async with client.request(
                request.method,
                url,
                headers=[
                    *request.headers,
                    (hdrs.ACCEPT_ENCODING, request.encoding),
                ],
                data=request.body or None,
            ) as response:
                body = await response.read()
        assert response.status == self.status, (url, response.status, body)
        plain = body
        if response.headers.get(hdrs.CONTENT_ENCODING) == "gzip":
            plain = gzip.decompress(body)
        assert self.size in (None, len(plain)), (url, len(plain))
        return float(len(body))

    async def _load(self, server: Server) -> dict[str, float]:
        before = cpu_of(server)
        start = time.perf_counter()
        if find_wrk() and not self.count:
            answers = await run_wrk(
                server.address,
                self.request,
                clients=self.clients,
                seconds=self.seconds,
            )
            count, took = answers.requests, answers.seconds
            p50, p99 = answers.p50, answers.p99
        else:
            latencies = await load(
                server.address.join(URL(self.request.path)),
                self.count or OWN_COUNT,
                status=self.status,
                encoding=self.request.encoding,
                clients=self.clients,
                method=self.request.method,
                headers=self.request.headers,
                body=self.request.body,
            )
            count, took = len(latencies), time.perf_counter() - start
            p50, p99 = quantile(latencies, 0.5), quantile(latencies, 0.99)
        used = cpu_of(server) - before
        return {
            "cpu": used / count,
            "p50": p50,
            "p99": p99,
            "rate": count / took,
        }


def cpu_of(server: Server) -> float:
    """Return the seconds of CPU that a server and its workers have had."""
    workers = server.process.children(recursive=True)
    return sum(cpu_time(process) for process in [server.process, *workers])


async def _wait_for(client: ClientSession, server: Server) -> None:
    """Wait until it listens: some name their address before."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            with suppress(ClientConnectorError):
                async with client.get(server.address):
                    return
            await asyncio.sleep(0.01)


class Running(NamedTuple):
    """A subject that serves, and the places in its command line."""

    server: Server
    places: dict[str, str]


@contextmanager
def serving_all(subjects: Sequence[Subject]) -> Iterator[dict[str, Running]]:
    """Run all subjects until the block ends, each with what it needs."""
    with ExitStack() as stack:
        yield {
            subject.name: stack.enter_context(_running(subject))
            for subject in subjects
        }


@contextmanager
def _running(subject: Subject) -> Iterator[Running]:
    words = " ".join(subject.command)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        places = {"folder": folder}
        if "{redis}" in words:
            places["redis"] = stack.enter_context(redis_server())
        if "{postgres}" in words:
            places["postgres"] = stack.enter_context(postgres_server())
        command = [part.format(**places) for part in subject.command]
        yield Running(stack.enter_context(serving(*command)), places)


@dataclass(frozen=True)
class Curve:
    """How the CPU grows with `x`: comparisons with the same subjects."""

    title: str
    x: str
    points: dict[int, Sequence[Comparison]]

    @property
    def unit(self) -> str:
        return next(iter(self.points.values()))[0].unit

    @property
    def steps(self) -> int:
        return sum(each.steps for row in self.points.values() for each in row)

    async def run(
        self, advance: Advance
    ) -> dict[str, list[tuple[int, list[float]]]]:
        """Return the points of each subject, with all their rounds."""
        subjects: dict[str, list[tuple[int, list[float]]]] = {}
        for x, comparisons in self.points.items():
            for comparison in comparisons:
                for name, rounds in (await comparison.run(advance)).items():
                    subjects.setdefault(name, []).append((x, rounds["cpu"]))
        return subjects
