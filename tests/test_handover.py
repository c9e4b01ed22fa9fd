"""Proofs for what a reload of gunicorn costs: no wait for new workers."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import ClientSession, TCPConnector
from gunicorn.config import Config  # type: ignore[import-untyped]

from cookbook import handover
from cookbook.cluster import free_port
from tests.servers import ROOT, START_TIMEOUT, UNMEASURED, until_it_is_gone

APPLICATION = """
import asyncio
import os

from aiohttp import web


async def start():
    reader, writer = await asyncio.open_unix_connection("door")
    writer.write(f"{os.getpid()}\\n".encode())
    # Whoever has the other end lets it in.
    await reader.read()
    writer.close()

    async def show(request):
        return web.json_response(os.getpid())

    app = web.Application()
    app.router.add_get("/", show)
    return app
"""


def make_worker(age: int) -> handover.Worker:
    return handover.Worker(age, os.getpid(), [], None, 1, Config(), None)


def test_a_worker_that_is_told_to_end_waits_at_a_reload_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_old", "_new", "_listening"):
        monkeypatch.setattr(handover, name, SimpleNamespace(value=0))
    workers = [make_worker(age) for age in range(1, 8)]
    ends, old, told_twice, new, ends_early, youngest, replacement = workers

    def tell(worker: handover.Worker) -> bool:
        """Tell it to end; return whether it goes on."""
        worker.handle_exit(signal.SIGTERM, None)
        return bool(worker.alive)

    for worker in (ends, old, told_twice):
        worker.notify()
    assert not tell(ends)
    arbiter = SimpleNamespace(worker_age=3, cfg=SimpleNamespace(workers=3))
    handover.on_reload(arbiter)
    assert tell(old)
    assert tell(told_twice)
    assert not tell(told_twice)
    # It has not to be replaced.
    assert not tell(ends_early)
    new.notify()
    old.notify()
    assert old.alive
    youngest.notify()
    old.notify()
    assert not old.alive
    # The reload is over.
    replacement.notify()
    assert not tell(replacement)
    for worker in workers:
        worker.tmp.close()


class Door:
    """Where a worker waits, as it starts, until the test lets it in."""

    def __init__(self) -> None:
        self._waiting = asyncio.Queue[tuple[int, asyncio.StreamWriter]]()

    async def knock(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._waiting.put((int(await reader.readline()), writer))

    async def next(self) -> tuple[int, asyncio.StreamWriter]:
        """Return the process that waits; closing the writer lets it in."""
        async with asyncio.timeout(START_TIMEOUT):
            return await self._waiting.get()


@asynccontextmanager
async def gunicorn(
    folder: Path, port: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """gunicorn with the file of deploy/, one worker, and the application."""
    (folder / "application.py").write_text(APPLICATION)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gunicorn", "application:start"),
        *("--config", str(ROOT / "deploy" / "gunicorn.conf.py")),
        *("--bind", f"127.0.0.1:{port}", "--workers", "1"),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **UNMEASURED},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            # The worker sees it within a second, and ends.
            process.kill()
            await process.wait()


@pytest.mark.full
@pytest.mark.slow("it starts gunicorn")
async def test_a_reload_lets_old_workers_answer_until_new_ones_listen(
    short_folder: Path,
) -> None:
    door, port = Door(), free_port()
    async with (
        await asyncio.start_unix_server(door.knock, short_folder / "door"),
        gunicorn(short_folder, port) as process,
        ClientSession(
            f"http://127.0.0.1:{port}", connector=TCPConnector(force_close=True)
        ) as client,
    ):

        async def ask() -> int:
            async with client.get("/") as response:
                return int(await response.json())

        async with asyncio.timeout(START_TIMEOUT):
            first, waits = await door.next()
            waits.close()
            assert await ask() == first
            process.send_signal(signal.SIGHUP)
            second, waits = await door.next()
            # A worker sees once a second what it was told.
            for _ in range(30):
                assert await ask() == first
                await asyncio.sleep(0.1)
            waits.close()
            await until_it_is_gone(first)
            assert await ask() == second
            # Who is told twice does not wait.
            process.send_signal(signal.SIGHUP)
            third, waits = await door.next()
            assert await ask() == second
            os.kill(second, signal.SIGTERM)
            await until_it_is_gone(second)
            waits.close()
            assert await ask() == third
            process.terminate()
            assert await process.wait() == 0
        await until_it_is_gone(third)
