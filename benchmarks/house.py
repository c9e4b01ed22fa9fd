"""What the house costs around a recipe, beside its peers in production.

Run: `make bench`. The figures are in `results.json`.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import click
import psutil
import uvloop
from aiohttp import ClientSession, ClientTimeout

from app import COOKBOOK, PRODUCTION
from benchmarks.measure import (
    Load,
    Ratio,
    Server,
    load,
    measure,
    pin,
    quantile,
    ratio,
    record,
    serving,
)
from cookbook.redis_server import redis_server

ROUNDS, REQUESTS = 15, 2000
"""Short rounds: servers that take turns often meet the same machine."""

MISSING_ROUNDS, MISSING_REQUESTS = 5, 8000
"""Long ones: the collector runs once in some thousand 404s."""

STARTS = 5
SHOWS, SHOW_ROUNDS, IDLE = 4, 5, 2.0
"""Shows at a time, how often they are started, and seconds without any."""

PAUSE = 0.005
"""Seconds between two probes of a server that shows run on."""

ANSWER = "prefix-sink/path/to/a/page"
NOT_FOUND = "prefix-sink/nowhere"
RECIPES = "bare with the recipes imported"
TRAP = "recipes/prefix_sink/traps/dot_plus"


class House:
    """The servers' command lines, and the figures as they come."""

    def __init__(self, redis_url: str, folder: str) -> None:
        options = ("--redis-url", redis_url, "--data-dir", folder)
        self.cookbook = ("app.py", "--port", "0", *options)
        self.redis_url, self.folder = redis_url, folder
        self.figures: dict[str, Any] = {}

    def bare(self, loop: str) -> tuple[str, ...]:
        return (
            "-m",
            "benchmarks.peers.bare",
            loop,
            self.redis_url,
            self.folder,
        )

    async def answers(self, advance: Callable[[], None]) -> None:
        """An answer as served, beside the same mounts, and beside Starlette."""
        mounts = str(len(COOKBOOK + PRODUCTION))
        commands = {
            "cookbook on asyncio": (*self.cookbook, "--loop", "asyncio"),
            "bare on asyncio": self.bare("asyncio"),
            "cookbook on uvloop": (*self.cookbook, "--loop", "uvloop"),
            "bare on uvloop": self.bare("uvloop"),
            "starlette": ("-m", "benchmarks.peers.starlette_app", mounts),
        }
        loads: dict[str, list[Load]] = {name: [] for name in commands}
        with ExitStack() as stack:
            servers = {
                name: stack.enter_context(serving(*command))
                for name, command in commands.items()
            }
            for server in servers.values():
                await measure(server, ANSWER, REQUESTS)
            for _ in range(ROUNDS):
                for name, server in servers.items():
                    loads[name].append(await measure(server, ANSWER, REQUESTS))
                    advance()
        cpu = {name: [each.cpu for each in loads[name]] for name in loads}
        self.figures["microseconds of CPU for an answer"] = {
            name: round(1e6 * statistics.median(values), 1)
            for name, values in cpu.items()
        }
        for ours, theirs in [
            ("cookbook on asyncio", "bare on asyncio"),
            ("cookbook on uvloop", "bare on uvloop"),
            ("starlette", "cookbook on uvloop"),
        ]:
            self._compare(f"CPU, {ours} : {theirs}", cpu[ours], cpu[theirs])

    async def not_found(self, advance: Callable[[], None]) -> None:
        """A 404 beside a 200, as served."""
        found, missing = [], []
        with serving(*self.cookbook) as server:
            await measure(server, ANSWER, REQUESTS)
            for _ in range(MISSING_ROUNDS):
                found.append(await measure(server, ANSWER, MISSING_REQUESTS))
                missing.append(
                    await measure(
                        server, NOT_FOUND, MISSING_REQUESTS, status=404
                    )
                )
                advance()
        for name in ("cpu", "p99"):
            self._compare(
                f"{name} of a 404 : of a 200",
                [getattr(each, name) for each in missing],
                [getattr(each, name) for each in found],
            )
        self.figures["milliseconds, p99"] = {
            "200": round(1e3 * statistics.median(x.p99 for x in found), 1),
            "404": round(1e3 * statistics.median(x.p99 for x in missing), 1),
        }

    async def starts(self, advance: Callable[[], None]) -> None:
        """From exec to the first answer, and the memory after some more.

        The drivers of Redis and PostgreSQL, and what encrypts sessions, take
        most of what the cookbook has more than a bare application.
        """
        peers = {
            "cookbook": (self.cookbook, ANSWER),
            "bare": (("-m", "benchmarks.peers.hello"), "hello"),
            RECIPES: (("-m", "benchmarks.peers.recipes_imported"), "hello"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in peers}
        memory: dict[str, list[float]] = {name: [] for name in peers}
        for _ in range(STARTS):
            for name, (command, path) in peers.items():
                start = time.perf_counter()
                with serving(*command, pinned=False) as server:
                    await load(server.address / path, 1, clients=1)
                    seconds[name].append(time.perf_counter() - start)
                    await load(server.address / path, REQUESTS)
                    memory[name].append(server.process.memory_info().rss)
                advance()
        self._compare(
            "start, cookbook : bare", seconds["cookbook"], seconds["bare"]
        )
        for name in ("bare", RECIPES):
            self._compare(
                f"memory, cookbook : {name}", memory["cookbook"], memory[name]
            )
        self.figures["milliseconds to the first answer"] = {
            name: round(1e3 * statistics.median(values))
            for name, values in seconds.items()
        }
        self.figures["MiB of memory"] = {
            name: round(statistics.median(values) / 2**20, 1)
            for name, values in memory.items()
        }

    async def shows(self, advance: Callable[[], None]) -> None:
        """A recipe's answers while four shows run, beside those without."""
        idle, busy = list[float](), list[float]()
        with serving(*self.cookbook, pinned=False) as server:
            # The page is rendered, and what a first show needs is read.
            await _show(server)
            for _ in range(SHOW_ROUNDS):
                idle.append(await _probe(server, asyncio.sleep(IDLE)))
                shows = [_show(server) for _ in range(SHOWS)]
                busy.append(await _probe(server, asyncio.gather(*shows)))
                advance()
        self._compare("p95 of an answer, four shows : none", busy, idle)
        self.figures["milliseconds, p95"] = {
            "no show": round(1e3 * statistics.median(idle), 2),
            "four shows": round(1e3 * statistics.median(busy), 2),
        }

    def _compare(
        self, what: str, ours: list[float], theirs: list[float]
    ) -> Ratio:
        figure = ratio(ours, theirs)
        rounded = {k: round(v, 2) for k, v in figure._asdict().items()}
        self.figures[what] = {**rounded, "rounds": len(ours)}
        return figure


async def _show(server: Server) -> None:
    timeout = ClientTimeout(total=60)
    async with (
        ClientSession(timeout=timeout) as client,
        client.post(server.address / TRAP) as response,
    ):
        assert response.status == 200
        lines = (await response.text()).split("\n")
        assert any('"printed"' in line for line in lines), lines
        assert not any('"error"' in line for line in lines), lines


async def _probe(server: Server, work: Any) -> float:
    """Return the p95 of single requests, a pause apart, while `work` runs."""
    working = asyncio.ensure_future(work)
    latencies = list[float]()
    while not working.done():
        latencies += await load(server.address / ANSWER, 1, clients=1)
        await asyncio.sleep(PAUSE)
    await working
    return quantile(latencies, 0.95)


async def main() -> None:
    pin(psutil.Process(), -1)
    with (
        redis_server() as redis_url,
        tempfile.TemporaryDirectory() as folder,
        click.progressbar(
            length=5 * ROUNDS + MISSING_ROUNDS + 3 * STARTS + SHOW_ROUNDS,
            label="house",
        ) as bar,
    ):
        house = House(redis_url, folder)
        for benchmark in (
            house.answers,
            house.not_found,
            house.starts,
            house.shows,
        ):
            await benchmark(lambda: bar.update(1))
    record("house", house.figures)
    for name, figure in house.figures.items():
        click.echo(f"{name:44} {figure}")


if __name__ == "__main__":
    uvloop.run(main())
