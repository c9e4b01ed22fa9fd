"""Proofs for the deployment that README names: gunicorn with one worker."""

import asyncio
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.servers import (
    ROOT,
    START_TIMEOUT,
    Process,
    exchange,
    is_alive,
)

END_TIMEOUT = 30.0
"""Seconds in which gunicorn ends: it looks at its worker now and then."""

pytestmark = pytest.mark.slow("it starts gunicorn")


def command_of_readme() -> list[str]:
    """Return the arguments of gunicorn that README names, with its option."""
    text = (ROOT / "README.md").read_text()
    [line] = re.findall("`gunicorn (.*?)`", text)
    [option] = re.findall("`app:for_gunicorn(.+?)`", text)
    return [*shlex.split(line)[:-1], f"app:for_gunicorn{option}"]


@pytest.fixture
async def gunicorn(tmp_path: Path, redis_url: str) -> AsyncIterator[Process]:
    """The cookbook as README has it served, on a free port."""
    log = tmp_path / "gunicorn.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gunicorn", *command_of_readme()),
            *("--bind", "127.0.0.1:0", "--access-logfile", "-"),
            # It would be in the home folder.
            "--no-control-socket",
            cwd=ROOT,
            env={
                **os.environ,
                "REDIS_URL": redis_url,
                "DATA_DIR": str(tmp_path),
                "SESSION_KEY": "random",
            },
            stdout=errors,
            stderr=errors,
        )
    try:
        yield Process(process, await port_of(process, log), log)
    finally:
        if process.returncode is None:
            # The worker sees it within a second, and ends.
            process.kill()
            await process.wait()


async def port_of(process: asyncio.subprocess.Process, log: Path) -> int:
    """Return the port that the log names, once it answers."""
    async with asyncio.timeout(START_TIMEOUT):
        while process.returncode is None:
            text = log.read_text()
            found = re.search(r"Listening at: http://127.0.0.1:(\d+)", text)
            if found:
                return int(found[1])
            await asyncio.sleep(0.05)
    raise AssertionError(log.read_text())


async def test_gunicorn_serves_the_cookbook_guarded_and_ends(
    gunicorn: Process, tmp_path: Path
) -> None:
    address = f"http://localhost:{gunicorn.port}"
    async with asyncio.timeout(START_TIMEOUT), ClientSession(address) as client:
        # The system keeps the connection until the worker has started.
        async with client.get("/nested-apps/blog/") as response:
            assert response.status == 200
            assert "/nested-apps/blog/posts/1" in await response.text()
        named = {"Host": "cook.example"}
        async with client.get("/nested-apps/news/", headers=named) as response:
            assert response.status == 200
        foreign = {"Origin": "http://attacker.example"}
        async with client.post("/database/notes", headers=foreign) as response:
            assert response.status == 403
    # No application sees it. Its answer is that of our own connections.
    answer = await exchange(
        gunicorn, b"GET http://xn--a/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"X-Content-Type-Options: nosniff" in answer
    assert await gunicorn.end(within=END_TIMEOUT) == 0
    log = gunicorn.log.read_text()
    assert '"GET /nested-apps/blog/" 200 ' in log
    assert '"POST /database/notes" 403 ' in log
    assert "Traceback" not in log
    assert "[ERROR]" not in log
    [worker] = map(int, re.findall(r"Booting worker with pid: (\d+)", log))
    assert not is_alive(worker)
    # A database that is closed leaves none of its own files beside it.
    assert (tmp_path / "notes.db").exists()
    assert not list(tmp_path.glob("*.db-wal"))
