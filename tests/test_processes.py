"""Proofs for cookbook/processes.py: a group is off the loop, and ends whole."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cookbook.processes import in_thread, kill_group, process_group
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


starters = list[threading.Thread]()


def note(event: str, _: Any) -> None:
    if event == "subprocess.Popen":
        starters.append(threading.current_thread())


async def test_the_end_of_a_group_ends_what_its_leader_has_left_behind(
    tmp_path: Path,
) -> None:
    async with process_group(
        *("/bin/sh", "-c", LEAVE_BEHIND), cwd=tmp_path, env={}
    ) as leader:
        child = int(await leader.output.readline())
        os.kill(child, 0)
        assert os.getpgid(child) == leader.pid
    await has_ended(child)


async def test_a_group_is_killed_where_its_start_was_cancelled(
    tmp_path: Path,
) -> None:
    async def start() -> None:
        async with process_group("sleep", "60", cwd=tmp_path, env={}):
            raise AssertionError("it was cancelled before")

    starting = asyncio.create_task(start())
    await asyncio.sleep(0)
    starting.cancel()
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(asyncio.CancelledError):
            await starting


async def test_a_context_is_left_where_its_end_is_cancelled_too() -> None:
    events: list[str] = []

    @contextmanager
    def note_events() -> Iterator[None]:
        events.append("entered")
        yield
        events.append("left")

    async def stay(has_entered: asyncio.Event) -> None:
        async with in_thread(note_events()):
            has_entered.set()
            await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    has_entered, go_on = asyncio.Event(), threading.Event()
    staying = asyncio.create_task(stay(has_entered))
    async with asyncio.timeout(TIMEOUT):
        await has_entered.wait()
        # The one thread is busy: the context cannot be left yet.
        busy = asyncio.create_task(asyncio.to_thread(go_on.wait, TIMEOUT))
        await asyncio.sleep(0)
        for _ in range(2):
            staying.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
        assert not staying.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await staying
        assert await busy
    assert events == ["entered", "left"]


async def test_a_group_that_has_ended_by_itself_is_no_error(
    tmp_path: Path,
) -> None:
    async with process_group("true", cwd=tmp_path, env={}) as leader:
        assert await leader.output.read() == b""
        # The loop sees then that nobody reads our end of its input.
        async with asyncio.timeout(TIMEOUT):
            while not leader.input.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0)
    kill_group(leader.pid)


async def test_a_group_is_started_off_the_event_loop(tmp_path: Path) -> None:
    # It stays until the end of the tests: Python cannot take it back.
    sys.addaudithook(note)
    starters.clear()
    async with process_group("cat", cwd=tmp_path, env={}) as cat:
        cat.input.write(b"a line\n")
        assert await cat.output.readline() == b"a line\n"
    assert starters
    assert threading.main_thread() not in starters


async def test_a_group_gives_way_to_who_started_it(tmp_path: Path) -> None:
    async with process_group("cat", cwd=tmp_path, env={}, niceness=5) as cat:
        assert os.getpgid(cat.pid) == cat.pid
        # In another session its niceness would not count.
        assert os.getsid(cat.pid) == os.getsid(0)
        cat.input.write(b"it runs\n")
        await cat.output.readline()
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        theirs = os.getpriority(os.PRIO_PROCESS, cat.pid)
        assert theirs == min(ours + 5, 19)
