"""Scripts, each in a fork of a process that has imported aiohttp already.

An interpreter of its own takes half a second until it has imported a recipe.
`python tests/forks.py` forks for each order that comes on its standard input,
with three descriptors: where the script's output and errors go, and where it
says which process that is and how it has ended.
"""

import asyncio
import atexit
import builtins
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

PACKAGES = (
    "aiohttp.web",
    "aiohttp_session.cookie_storage",
    "aiosqlite",
    "procrastinate",
    "psycopg_pool",
    "redis.asyncio",
)
"""What is imported before a script, where it is installed."""

FILTERS = [
    "error::ResourceWarning",
    "error::DeprecationWarning",
    "error::RuntimeWarning",
    # From 4.0 on; before, a middleware needs it.
    "ignore:Middleware decorator is deprecated:DeprecationWarning",
]
"""The warnings that end a script, and one that does not."""


MAX_ORDER = 2**16
"""Bytes of an order that the system surely passes on in one piece."""


@dataclass
class Fork:
    """A script that runs, or has run; `stdout` is what it prints."""

    pid: int
    stdout: asyncio.StreamReader
    _answers: asyncio.StreamReader
    returncode: int | None = None

    def send_signal(self, number: int) -> None:
        # It may have ended, and nobody has waited for it.
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, and what it has started, with which it shares a group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(await self._answers.readline())
        return self.returncode


@asynccontextmanager
async def fork(
    *command: str | Path,
    cwd: Path,
    env: Mapping[str, str],
    filters: Sequence[str] = FILTERS,
    errors: IO[bytes] | None = None,
) -> AsyncIterator[Fork]:
    """Run a script as a new interpreter would, and kill it at the end.

    `command` is the script and its arguments, `filters` are options of
    Python's -W. Where `errors` is no file, they are printed.
    """
    order = json.dumps([list(map(str, command)), str(cwd), dict(env), filters])
    assert len(order) < MAX_ORDER
    (output, print_to), (answers, answer_to) = os.pipe(), os.pipe()
    descriptors = [print_to, errors.fileno() if errors else print_to, answer_to]
    try:
        socket.send_fds(_forking_process(), [order.encode()], descriptors)
    finally:
        os.close(print_to)
        os.close(answer_to)
    async with _reading(output) as stdout, _reading(answers) as answer:
        script = Fork(int(await answer.readline()), stdout, answer)
        try:
            yield script
        finally:
            script.kill()
            await script.wait()


@asynccontextmanager
async def _reading(descriptor: int) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor)
    )
    with closing(transport):
        yield reader


@cache
def _forking_process() -> socket.socket:
    """Start the process that forks, until this one ends."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-u", __file__], stdin=theirs.fileno()
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve() -> list[str]:
    """Fork for each order, and return in the fork, with its command."""
    for package in PACKAGES:
        with suppress(ImportError):
            __import__(package)
    # What is here before a script is no garbage of it.
    gc.collect()
    gc.freeze()
    orders = socket.socket(fileno=0)
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, MAX_ORDER, 3)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        if not order:
            orders.close()
            sys.exit()
        command: list[str]
        command, folder, environment, filters = json.loads(order)
        if environment.get("COVERAGE_PROCESS_CONFIG"):
            # Here, so that it is imported once.
            import coverage
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    output, errors, answer = descriptors
    if script := os.fork():
        # Here and there, as nobody knows which comes first.
        os.setpgid(script, script)
        os.write(answer, b"%d\n" % script)
        _, status = os.waitpid(script, 0)
        os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.setpgid(0, 0)
    orders.close()
    os.open(os.devnull, os.O_RDONLY)  # the lowest that is free: 0
    for descriptor, stream in ((output, 1), (errors, 2)):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.close(answer)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if path := environment.get("PYTHONPATH"):
        sys.path[1:1] = path.split(os.pathsep)
    if environment.get("COVERAGE_PROCESS_CONFIG"):
        # It alone is measured, and not what it starts.
        coverage.process_startup()
        del os.environ["COVERAGE_PROCESS_CONFIG"]
    for option in filters:
        action, message, category = option.split(":")
        kind = getattr(builtins, category)
        warnings.filterwarnings(action, message, kind)
    return command


if __name__ == "__main__":
    sys.argv[:] = _serve()
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
