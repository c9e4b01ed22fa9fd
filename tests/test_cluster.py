"""Proofs for `make cluster`, and for the files of deploy/ that it runs."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession
from click.testing import CliRunner

from cookbook import cluster
from tests.servers import ROOT, until_it_is_empty

START_TIMEOUT = 60.0
"""Seconds in which a cluster is ready; alone it takes four."""

END_TIMEOUT = 45.0
"""Seconds in which it has ended; alone it takes five."""

pytestmark = pytest.mark.slow("it starts a cluster")


@dataclass
class Cluster:
    """A running `make cluster`."""

    process: asyncio.subprocess.Process
    port: int
    folder: Path
    """Its own, within one that is empty at the end."""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def log_of(self, part: str) -> str:
        return (self.folder / "log" / f"{part}.log").read_text()

    def processes(self) -> list[psutil.Process]:
        """Return all that it has started, the supervisor's group too."""
        return psutil.Process(self.process.pid).children(recursive=True)

    async def pid_of(self, part: str) -> int:
        """Return the process of a part, as its supervisor knows it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "supervisor.supervisorctl"),
            *("-c", str(self.folder / "supervisord.conf"), "pid", part),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return int(output)

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(END_TIMEOUT):
            return await self.process.wait()


@asynccontextmanager
async def running_cluster(
    folder: Path, *arguments: str, **environment: str
) -> AsyncIterator[Cluster]:
    """Run a cluster on a free port, and wait until it says that it is there."""
    # PostgreSQL is another user where we are root.
    folder.chmod(0o711)
    port = cluster.free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cookbook.cluster"),
        *("--port", str(port), *arguments),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT):
            line = (await process.stdout.readline()).decode()
            assert line == f"The cluster is at http://localhost:{port}/\n"
            line = (await process.stdout.readline()).decode()
        yield Cluster(process, port, Path(line.split()[-1]).parent)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(END_TIMEOUT):
            await process.communicate()


async def until_they_are_gone(processes: list[psutil.Process]) -> None:
    _, left = await asyncio.to_thread(
        psutil.wait_procs, processes, timeout=END_TIMEOUT
    )
    assert not left


# The start and the end


async def test_a_cluster_starts_heals_and_ends_with_ctrl_c(
    short_folder: Path,
) -> None:
    async with (
        running_cluster(short_folder, "--workers", "2") as running,
        ClientSession(running.url) as client,
    ):
        async with client.get("/readyz") as response:
            assert response.status == 200
        async with client.get("/database/answer") as response:
            assert await response.json() == {"answer": 42}
        # A part that dies is there again.
        valkey = await running.pid_of("valkey")
        os.kill(valkey, signal.SIGKILL)
        async with asyncio.timeout(START_TIMEOUT):
            while await running.pid_of("valkey") in (0, valkey):
                pass
            while not await asyncio.to_thread(
                cluster.is_ready, f"{running.url}/readyz"
            ):
                pass
        processes = running.processes()
        assert len(processes) >= 10
        assert await running.end(signal.SIGINT) == 0
        await until_they_are_gone(processes)
    await until_it_is_empty(short_folder)


@pytest.mark.parametrize("killed", ["the command", "supervisord"])
async def test_a_cluster_ends_where_what_holds_it_is_killed(
    short_folder: Path, killed: str
) -> None:
    arguments = ("--workers", "1")
    async with running_cluster(short_folder, *arguments) as running:
        processes = running.processes()
        if killed == "the command":
            assert await running.end(signal.SIGKILL) == -signal.SIGKILL
        else:
            pid = int((running.folder / "supervisord.pid").read_text())
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(END_TIMEOUT):
                assert await running.process.wait() == 1
        await until_they_are_gone(processes)
    await until_it_is_empty(short_folder)


def test_a_port_that_is_taken_is_one_line() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cluster.main, ["--port", str(port)])
    assert result.exit_code == 1
    assert result.output == (
        f"Error: port {port} of 127.0.0.1: Address already in use. Take "
        f"another one: CLUSTER_PORT={port + 1} make cluster\n"
    )


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("find_redis", "valkey-server"),
        ("find_postgres", "postgres"),
        ("find_nginx", "nginx"),
    ],
)
def test_a_server_that_is_missing_is_one_line(
    function: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, function, lambda: None)
    port = str(cluster.free_port())
    result = CliRunner().invoke(cluster.main, ["--port", port])
    assert result.exit_code == 1
    assert result.output == (
        f"Error: {name} was not found on PATH: pip install '.[engines]' "
        "brings one\n"
    )
