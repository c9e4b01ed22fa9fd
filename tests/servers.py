"""Servers as in production, in this process and in one of their own.

aiohttp's test server cancels a handler whose client leaves and waits a minute
for the others at shutdown; `run_app` does neither. So nothing here uses it.
"""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryFile
from typing import Any

from aiohttp import web
from yarl import URL

from cookbook.sandbox import DEMO_SECRETS
from tests.forks import FILTERS, Fork, fork

ROOT = Path(__file__).parent.parent
TIMEOUT = 10.0
"""Seconds after which a test calls a wait a hang."""
START_TIMEOUT = 60.0
"""Seconds in which a script listens: an interpreter starts on a busy core."""
PATIENCE = 60.0
"""Seconds that a server of a test waits for whom it should not wait for.

An end within TIMEOUT shows that it did not, on a busy machine too.
"""
MEASURED = {
    "COVERAGE_PROCESS_CONFIG": os.environ.pop("COVERAGE_PROCESS_CONFIG", "")
}
"""With this in its environment, a process has its coverage measured.

It takes 0.2 s: only where no test runs the same lines in this process.
"""
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": ""}
PARSERS = {"python": "1"}
"""What AIOHTTP_NO_EXTENSIONS is for each parser of requests that is installed.

A branch of upstream is built without the one in C.
"""
if find_spec("aiohttp._http_parser"):
    PARSERS["c"] = ""


@dataclass
class Server:
    """A running `AppRunner`; `url` ends in a slash, after the mount prefix."""

    runner: web.AppRunner
    url: URL
    stopped: bool = field(default=False, init=False)

    @property
    def port(self) -> int:
        assert self.url.port is not None
        return self.url.port

    async def stop(self) -> None:
        """Shut down as `run_app` does at SIGTERM."""
        if not self.stopped:
            self.stopped = True
            await self.runner.cleanup()


@asynccontextmanager
async def serving(
    app: web.Application,
    *,
    prefix: str = "",
    runner_class: type[web.AppRunner] = web.AppRunner,
    **knobs: Any,
) -> AsyncIterator[Server]:
    """Serve `app` on a free port of 127.0.0.1; `knobs` are the runner's."""
    runner = runner_class(app, **{"shutdown_timeout": 1.0, **knobs})
    try:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
    except BaseException:
        await runner.cleanup()
        raise
    server = Server(runner, URL(f"http://127.0.0.1:{site.port}{prefix}/"))
    try:
        yield server
    finally:
        await server.stop()


@contextmanager
def serving_in_thread(app: web.Application, name: str = "") -> Iterator[Server]:
    """Serve `app` from a thread: tests with a loop each can share it.

    The name of the thread begins with `name`.
    """
    started: SimpleQueue[tuple[Server, asyncio.AbstractEventLoop] | None]
    started = SimpleQueue()
    ended = asyncio.Event()

    async def serve() -> None:
        try:
            async with serving(app) as server:
                started.put((server, asyncio.get_running_loop()))
                await ended.wait()
        finally:
            started.put(None)

    with ThreadPoolExecutor(1, name) as thread:
        running = thread.submit(lambda: asyncio.run(serve()))
        if first := started.get(timeout=START_TIMEOUT):
            server, loop = first
            try:
                yield server
            finally:
                loop.call_soon_threadsafe(ended.set)
        running.result(START_TIMEOUT)


async def exchange(server: "Server | Process", *requests: bytes) -> bytes:
    """Send raw bytes on one connection, return all that comes until its end.

    The last request has to ask for `Connection: close`.
    """
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(b"".join(requests))
            return await reader.read()
        finally:
            writer.close()


@dataclass
class Process:
    """A Python script that serves; `log` is the file of its errors."""

    process: asyncio.subprocess.Process | Fork
    port: int
    log: Path

    async def end(
        self,
        number: signal.Signals = signal.SIGTERM,
        within: float = TIMEOUT,
    ) -> int:
        """Send a signal, and return the exit code.

        Raises TimeoutError if the process still runs after `within` seconds.
        """
        self.process.send_signal(number)
        async with asyncio.timeout(within):
            return await self.process.wait()


def choose_port() -> int:
    """Return the port for a script: 0, so that the system chooses.

    aiohttp shows which it was since 3.14. On an older release, the plugin
    `verdicts.older` takes the place of this function.
    """
    return 0


@asynccontextmanager
async def running(
    script: Path, *arguments: str, cwd: Path, **environment: str
) -> AsyncIterator[Process]:
    """Run a script in a new interpreter and wait until it listens.

    It listens on a free port, and writes its log to `cwd`/script.log. With
    MEASURED in its environment, its coverage counts.
    """
    log = cwd / f"{script.stem}.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(f"-W{each}" for each in FILTERS),
            script,
            *arguments,
            cwd=cwd,
            env=variables(PYTHONUNBUFFERED="1", **UNMEASURED | environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    async with listening(process, log) as server:
        yield server


def copy_sources(folder: Path, target: Path) -> None:
    """Copy a folder, without what another process may compile into it now."""
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(folder, target, ignore=compiled)


def patient_copy(script: Path, folder: Path) -> Path:
    """Copy a recipe that ends with PATIENCE for requests in flight."""
    source, limits = re.subn(
        r"\bshutdown_timeout=5\b",
        f"shutdown_timeout={PATIENCE}",
        script.read_text(),
    )
    assert limits == 1, script
    copy = folder / script.name
    copy.write_text(source)
    return copy


@asynccontextmanager
async def forked(
    script: Path, *arguments: str, cwd: Path, **environment: str
) -> AsyncIterator[Process]:
    """Do the same in a fork, which costs less: see `tests.forks`."""
    log = cwd / f"{script.stem}.log"
    env = variables(**environment)
    with log.open("wb") as errors:
        forking = fork(script, *arguments, cwd=cwd, env=env, errors=errors)
        async with forking as process, listening(process, log) as server:
            yield server


def variables(**environment: str) -> dict[str, str]:
    """Return the environment of a script that listens on a free port."""
    port = str(choose_port())
    ports = {"PORT": port, "COOKBOOK_PORT": port}
    return {**os.environ, **ports, **DEMO_SECRETS, **environment}


@asynccontextmanager
async def listening(
    process: asyncio.subprocess.Process | Fork, log: Path
) -> AsyncIterator[Process]:
    """Wait until a process listens, and kill it if nobody has ended it."""
    try:
        async with asyncio.timeout(START_TIMEOUT):
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
            match = re.search(r"http://\S+:(\d+)", line)
            assert match, f"{line}{log.read_text()}"
        yield Process(process, int(match[1]), log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run_to_its_end(
    script: str | Path,
    *arguments: str,
    cwd: Path | None = None,
    **environment: str,
) -> tuple[int, str]:
    """Run a script that refuses to serve; return exit code and errors."""
    with TemporaryFile() as errors:
        env = {**os.environ, "PORT": "0", **environment}
        forking = fork(
            script, *arguments, cwd=cwd or ROOT, env=env, errors=errors
        )
        async with forking as process, asyncio.timeout(START_TIMEOUT):
            code = await process.wait()
            assert await process.stdout.read() == b""
        errors.seek(0)
        return code, errors.read().decode()


async def children() -> set[int]:
    """Return the processes that this one has started, and not ended."""
    process = await asyncio.create_subprocess_exec(
        *("ps", "-A", "-o", "pid=,ppid="), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    pairs = [map(int, line.split()) for line in output.splitlines()]
    mine = {pid for pid, parent in pairs if parent == os.getpid()}
    return mine - {process.pid}


def is_alive(process: int) -> bool:
    """Say whether there is a process of this number."""
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


async def until_it_is_gone(process: int) -> None:
    """Wait for the end of a process that another one has started."""
    async with asyncio.timeout(TIMEOUT):
        while is_alive(process):  # noqa: ASYNC110 - nothing tells of its end
            await asyncio.sleep(0.01)


async def until_it_is_empty(folder: Path) -> None:
    """Wait until a folder is empty or gone, where another process removes."""
    async with asyncio.timeout(TIMEOUT):
        while list(folder.glob("*")):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def check_odd_queries(
    script: Path, folder: Path, path: str, parser: str
) -> None:
    """Ask a script for a path without its slash, with bytes above 127 behind.

    Either parser has its answer: the one in C refuses, the other redirects.
    """
    environment = {"AIOHTTP_NO_EXTENSIONS": PARSERS[parser], **UNMEASURED}
    status = {"c": b"400", "python": b"308"}[parser]
    async with running(script, cwd=folder, **environment) as process:
        for query in (b"a=\xff", b"a=\xc3\xa9", b"%zz\xff=%FF"):
            # In one piece: a refusal of the first line would reset the
            # connection.
            answer = await exchange(
                process,
                b"GET %b?%b HTTP/1.1\r\nHost: localhost\r\n"
                % (path.encode(), query),
                b"Connection: close\r\n\r\n",
            )
            head, _, _ = answer.partition(b"\r\n\r\n")
            assert head.split()[1] == status, query
            assert head.isascii()
            location = f"\r\nLocation: {path}/?".encode()
            assert (location in head) == (status == b"308")
