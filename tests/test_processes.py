"""Proofs for cookbook/processes.py: a group ends with all that it started."""

import asyncio
import os
import signal

import pytest

from cookbook.processes import kill_group, process_group
from tests.servers import TIMEOUT

# The leader ends at once, and what it has started goes on, for a minute.
LEAVE_BEHIND = "sleep 60 & echo $!"


async def has_ended(pid: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            await asyncio.sleep(0.01)


async def test_the_end_of_a_group_ends_what_its_leader_has_left_behind() -> (
    None
):
    async with process_group(
        *("/bin/sh", "-c", LEAVE_BEHIND), stdout=asyncio.subprocess.PIPE
    ) as leader:
        assert leader.stdout is not None
        child = int(await leader.stdout.readline())
        os.kill(child, 0)
        assert os.getpgid(child) == leader.pid
        assert os.getpriority(os.PRIO_PROCESS, child) == 19
    await has_ended(child)


async def test_a_group_is_killed_where_its_start_was_cancelled() -> None:
    async def start() -> None:
        async with process_group("sleep", "60"):
            raise AssertionError("it was cancelled before")

    starting = asyncio.create_task(start())
    await asyncio.sleep(0)
    starting.cancel()
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(asyncio.CancelledError):
            await starting


async def test_a_group_that_has_ended_by_itself_is_no_error() -> None:
    async with process_group("true") as leader:
        assert await leader.wait() == 0
    kill_group(leader.pid)
    assert leader.returncode != -signal.SIGKILL
