"""A `make cluster` for tests, on a free port."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

import psutil

from cookbook import cluster
from tests.servers import ROOT

START_TIMEOUT = 90.0
"""Seconds in which a cluster is ready; alone it takes four."""

END_TIMEOUT = 45.0
"""Seconds in which it has ended; alone it takes five."""

JOBS = ("--jobs", "recipes/production/after_response.py")

COMMAND = """
import os, runpy
os.environ["COVERAGE_PROCESS_CONFIG"] = ""
runpy.run_module("cookbook.cluster", run_name="__main__", alter_sys=True)
"""
"""`python -m cookbook.cluster`, measured alone: its parts are not."""


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
        return await asyncio.to_thread(pid_of, self.folder, part)

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(END_TIMEOUT):
            return await self.process.wait()


def running_cluster(
    folder: Path, *arguments: str, **environment: str
) -> AbstractAsyncContextManager[Cluster]:
    """Run a cluster on a free port, and wait until it says that it is there."""
    return cluster_of(ROOT, folder, *arguments, **environment)


@asynccontextmanager
async def cluster_of(
    root: Path, folder: Path, *arguments: str, **environment: str
) -> AsyncIterator[Cluster]:
    """Do the same with the project in `root`, which may be a copy."""
    # PostgreSQL is another user where we are root.
    folder.chmod(0o711)
    port = cluster.free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND),
        *("--port", str(port), *arguments),
        cwd=root,
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


def pid_of(folder: Path, part: str) -> int:
    """Ask as supervisorctl does, without an interpreter of its own."""
    # Not at the top: the releases of the board are measured without it.
    from supervisor.xmlrpc import SupervisorTransport

    transport = SupervisorTransport(
        serverurl=f"unix://{folder / 'supervisor.sock'}"
    )
    with ServerProxy("http://localhost", transport) as proxy:
        information: Any = proxy.supervisor.getProcessInfo(part)
    return int(information["pid"])


def workers_of(gunicorn: psutil.Process) -> list[psutil.Process]:
    """Return its workers; the shell that waits for its end is none."""
    workers = []
    for child in gunicorn.children():
        # It may have ended since.
        with suppress(psutil.NoSuchProcess):
            if child.name() != "sh":
                workers.append(child)
    return workers
