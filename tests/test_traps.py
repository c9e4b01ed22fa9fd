"""Proofs for recipes/traps: each fails as described, and its pair does not."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import app
from cookbook.differences import count_lines
from cookbook.processes import in_thread
from cookbook.redis_server import redis_server
from cookbook.runner import DialogueRunner, dialogue_runner
from cookbook.sandbox import DEMO_SECRETS, NO_PORT, sandboxed
from cookbook.source import read_header
from cookbook.traps import Trap
from tests.forks import fork
from tests.servers import ROOT, START_TIMEOUT

TRAPS = {
    f"{recipe.name}/{trap.name}": trap
    for recipe in app.COOKBOOK
    for trap in recipe.traps
}
MAX_LINES = 14
"""Lines that a trap adds and removes."""

LARGER: dict[str, int] = {}
"""Traps whose mistake cannot be shown in less, and what they need."""

SINCE = {
    "after_response/lost_follow_up": "aiohttp>=3.10,<4",
    "client_session/family_in_the_connector": "aiohttp>=3.10,<4",
}
"""Traps that show on a newer aiohttp than their pair needs."""

SHOWN = "parallel_events/swallowed_error"
"""A trap that has a Redis of its own; forks show all others the same."""

another = pytest.mark.full("it starts two interpreters")

every_trap = pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)


async def check_that_it_fails_as_told_and_only_so(
    trap: Trap,
    play: Callable[[Path], AbstractAsyncContextManager[DialogueRunner]],
) -> None:
    async def run(program: Path) -> str:
        async with play(program) as runner:
            return await runner.play(trap.docs.dialogue)

    wrong, right = await asyncio.gather(run(trap.file), run(trap.pair))
    assert not wrong
    assert right, "the right one does what the trap does"


@pytest.mark.unmeasured("a trap has a process of its own")
@pytest.mark.slow("each runs two programs")
@every_trap
async def test_a_trap_fails_as_told_and_only_so(trap: Trap) -> None:
    await check_that_it_fails_as_told_and_only_so(trap, forked)


@pytest.mark.slow("it starts programs")
@pytest.mark.parametrize(
    "trap",
    [
        pytest.param(trap, id=name, marks=[] if name == SHOWN else another)
        for name, trap in TRAPS.items()
    ],
)
async def test_show_me_shows_how_a_trap_fails(trap: Trap) -> None:
    await check_that_it_fails_as_told_and_only_so(trap, sandboxed)


@asynccontextmanager
async def forked(program: Path) -> AsyncIterator[DialogueRunner]:
    """Do what `sandboxed` does, without its bounds, in a fork."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        environment = {
            "PATH": os.defpath,
            "HOME": str(folder),
            "PORT": "0",
            **DEMO_SECRETS,
        }
        if "REDIS_URL" in program.read_text():
            redis = in_thread(redis_server())
            url = await stack.enter_async_context(redis)
            environment["REDIS_URL"] = url
        forking = fork(program, cwd=folder, env=environment, filters=())
        process = await stack.enter_async_context(forking)
        log: list[str] = []
        started = asyncio.Event()

        async def read() -> None:
            async for line in process.stdout:
                log.append(line.decode().rstrip("\n"))
                if log[-1].startswith("======== Running on"):
                    started.set()
            log.append(f"ended with {await process.wait()}")
            started.set()

        reading = asyncio.create_task(read())
        stack.callback(reading.cancel)
        async with asyncio.timeout(START_TIMEOUT):
            await started.wait()
        address = re.search(r"Running on http://[^:]+:(\d+)", "\n".join(log))
        runner = dialogue_runner(
            int(address[1]) if address else NO_PORT,
            "",
            folder,
            log=log,
            server=process.pid,
            step_timeout=START_TIMEOUT,
        )
        yield await stack.enter_async_context(runner)


def test_every_recipe_has_a_trap() -> None:
    assert all(recipe.traps for recipe in app.COOKBOOK)


def test_every_trap_belongs_to_a_recipe() -> None:
    files = set((ROOT / "recipes" / "traps").rglob("*.py"))
    assert files == {trap.file for trap in TRAPS.values()}


@every_trap
def test_a_trap_is_its_pair_with_one_small_mistake(trap: Trap) -> None:
    name = f"{trap.file.parent.name}/{trap.name}"
    changed = count_lines(trap.hunks)
    assert 1 <= changed <= LARGER.get(name, MAX_LINES)
    if name in LARGER:
        assert changed > MAX_LINES, "it needs no exception any more"


@every_trap
def test_a_trap_has_the_header_of_its_pair(trap: Trap) -> None:
    header, right = (
        read_header(file.read_text()) for file in (trap.file, trap.pair)
    )
    name = f"{trap.file.parent.name}/{trap.name}"
    if name in SINCE:
        assert header != right, "it needs no exception any more"
        aiohttp, *others = right.packages
        assert aiohttp.startswith("aiohttp>=")
        right = replace(right, packages=[SINCE[name], *others])
    assert header == right


@every_trap
def test_a_trap_says_what_goes_wrong_why_and_how_it_shows(trap: Trap) -> None:
    _, docstring, _ = trap.file.read_text().split('"""', 2)
    assert len(docstring.splitlines()) <= 30
    assert trap.docs.title.endswith(".")
    assert len(trap.docs.text.split()) > 20
    assert any(step.promised for step in trap.docs.dialogue)
