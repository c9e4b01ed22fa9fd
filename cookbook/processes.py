"""Groups of processes: a leader, and all that it has started."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

NICE = ("nice", "-n", "19")
"""Runs a command with the lowest priority of all: what serves comes first."""


@asynccontextmanager
async def process_group(
    *command: str, **options: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a process with a group of its own, and kill the group at the end.

    A shell alone would leave behind what it has started. `options` are those
    of `asyncio.create_subprocess_exec`.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *NICE, *command, start_new_session=True, **options
        )
    )
    try:
        yield await asyncio.shield(starting)
    finally:
        # Also if we were cancelled: asyncio itself would kill the leader only.
        process = await starting
        kill_group(process.pid)
        await process.wait()


def kill_group(leader: int) -> None:
    """Kill the group of a process; it may have ended by itself."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
