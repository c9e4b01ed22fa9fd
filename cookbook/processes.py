"""Groups of processes: a leader, and all that it has started.

They start and end in a thread, so that the event loop goes on.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")

STOP_TIMEOUT = 5.0
"""Seconds after which a server that was told to end is killed."""


class Process(NamedTuple):
    """The leader of a group; `output` is what both its streams are written."""

    pid: int
    input: asyncio.WriteTransport
    output: asyncio.StreamReader


@asynccontextmanager
async def process_group(
    *command: str,
    cwd: Path,
    env: Mapping[str, str],
    niceness: int = 0,
    limit: int = 2**16,
) -> AsyncIterator[Process]:
    """Start a process with a group of its own, and kill the group at the end.

    A shell alone would leave behind what it has started. `limit` are the bytes
    of a line of its output. `niceness` is added to ours.
    """
    loop = asyncio.get_running_loop()
    output = asyncio.StreamReader(limit)
    command = ("nice", "-n", str(niceness), *command)
    async with in_thread(_started(command, cwd, env)) as process:
        reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), process.stdout
        )
        # Its transport closes it.
        process.stdout = None
        # A cancellation may come between the two.
        try:
            writing, _ = await loop.connect_write_pipe(
                asyncio.BaseProtocol, process.stdin
            )
            process.stdin = None
            try:
                yield Process(process.pid, writing, output)
            finally:
                # asyncio fails where the leader has closed it first.
                if not writing.is_closing():
                    writing.abort()
        finally:
            reading.close()


@contextmanager
def _started(
    command: tuple[str, ...], cwd: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command,
        bufsize=0,
        cwd=cwd,
        env=env,
        # In a session of its own, Linux would weigh it against our whole
        # session, whatever its niceness: see autogroups in sched(7).
        process_group=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield process
        finally:
            kill_group(process.pid)


@asynccontextmanager
async def in_thread(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a context in a thread, so that the loop goes on.

    It is left also where we are cancelled, and where that comes again.
    """
    entering = asyncio.ensure_future(asyncio.to_thread(context.__enter__))

    async def leave() -> None:
        # Where we were cancelled before, its thread has gone on.
        await entering
        await asyncio.to_thread(context.__exit__, None, None, None)

    try:
        yield await asyncio.shield(entering)
    finally:
        await _complete(asyncio.ensure_future(leave()))


async def _complete(task: asyncio.Future[None]) -> None:
    """Wait for a task, and be cancelled only behind it."""
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            is_cancelled = True
    task.result()
    if is_cancelled:
        raise asyncio.CancelledError


def kill_group(leader: int) -> None:
    """Kill the group of a process; it may have ended by itself."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def stop_server(
    process: subprocess.Popen[bytes], timeout: float = STOP_TIMEOUT
) -> None:
    """End a server that ends with its standard input, also one that is frozen.

    It leads a group. What else is in that ends as soon as it is gone.
    """
    try:
        process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        process.wait()
