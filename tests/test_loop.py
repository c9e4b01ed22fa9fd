"""Proofs that no work of a recipe holds the event loop for long.

What is measured is the CPU that the thread of the loop takes in one callback: a
machine that is busy with something else does not change it. What sleeps, or
waits for a disk, a process or a network, is found in all tests: by blockbuster.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar

from app import create_app
from cookbook.pages import shows
from tests.conftest import Serve
from tests.servers import PATIENCE

pytestmark = [
    pytest.mark.skipif(
        "config.getoption('loop') == 'uvloop'",
        reason="uvloop does not call its callbacks by asyncio",
    ),
    pytest.mark.unmeasured("a tracer would more than double the CPU"),
]

LIMIT = 0.05
"""Seconds that a callback may hold the loop."""

SHOW = "/recipes/route_table/traps/decorator_above_the_route"


@pytest.fixture
def callbacks(
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[float, str]]:
    """The CPU of each callback, in seconds, and what it was."""
    taken = []
    run: Callable[[asyncio.Handle], None] = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        start = time.thread_time()
        run(handle)
        taken.append((time.thread_time() - start, repr(handle)))

    monkeypatch.setattr(asyncio.Handle, "_run", measured)
    # As a process does once it has started. Otherwise a callback may have to
    # look through all that the tests before have left.
    gc.collect()
    gc.freeze()
    return taken


@pytest.fixture
async def client(
    serve: Serve, tmp_path: Path, redis_url: str
) -> AsyncIterator[ClientSession]:
    cookbook = create_app(data_dir=tmp_path, redis_url=redis_url)
    server = await serve(cookbook, shutdown_timeout=PATIENCE)
    async with ClientSession(
        server.url,
        auto_decompress=False,
        cookie_jar=CookieJar(unsafe=True),
        raise_for_status=True,
    ) as session:
        yield session


async def test_a_callback_that_computes_for_long_is_seen(
    callbacks: list[tuple[float, str]],
) -> None:
    await asyncio.sleep(0)
    end = time.thread_time() + LIMIT
    while time.thread_time() < end:
        pass
    await asyncio.sleep(0)
    assert max(callbacks)[0] >= LIMIT


@pytest.mark.parametrize("path", ["text", "json"])
async def test_gzip_does_not_hold_the_loop(
    client: ClientSession, callbacks: list[tuple[float, str]], path: str
) -> None:
    accept = {"Accept-Encoding": "gzip"}
    for size in (4096, 1_000_000):
        async with client.get(
            f"/global-gzip/{path}?size={size}", headers=accept
        ) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            await response.read()
    assert max(callbacks)[0] < LIMIT, max(callbacks)


async def test_a_database_does_not_hold_the_loop(
    client: ClientSession, callbacks: list[tuple[float, str]]
) -> None:
    notes = {"notes": [{"text": "x" * 1000}] * 100}
    for _ in range(5):
        async with client.post("/database/notes/batch", json=notes) as response:
            assert len((await response.json())["ids"]) == 100
    async with client.get("/database/notes?limit=100") as response:
        assert (await response.json())["notes"]
    async with client.get("/subapp-database/"):
        pass
    assert max(callbacks)[0] < LIMIT, max(callbacks)


@pytest.mark.slow("a show starts two programs")
async def test_a_show_does_not_hold_the_loop(
    client: ClientSession,
    callbacks: list[tuple[float, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a busy machine it would not start.
    monkeypatch.setattr(shows, "NICENESS", 0)
    async with client.post(SHOW) as response:
        assert '"side": "right"' in await response.text()
    assert max(callbacks)[0] < LIMIT, max(callbacks)
