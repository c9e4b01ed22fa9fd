"""Runs a program of `recipes/` in a process of its own, within bounds."""

import asyncio
import os
import re
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from cookbook.postgres_server import postgres_server
from cookbook.processes import Process, in_thread, process_group
from cookbook.redis_server import redis_server
from cookbook.runner import STEP_TIMEOUT, DialogueRunner, dialogue_runner
from cookbook.temporary import temporary_folder

START_TIMEOUT = 20.0
"""Seconds until a program listens or ends: eight may start at a time."""

DEMO_SECRETS = {"SESSION_KEY": "random", "TOKEN": "ann-demo-token"}
"""Secrets that have no default in a recipe; a dialogue may show them."""

MAX_LINES = 1000
"""Lines kept of what a program writes: a dialogue looks for the last few."""

MAX_LINE = 2**20
"""Bytes of a line: asyncio fails at a longer one, by itself at 64 KiB."""

NO_PORT = 1
"""Where nobody listens: the port of a program that has ended."""

# No core, 10 MB a file, 512 descriptors, 20 s of CPU, 2 GiB of addresses (macOS
# lacks the last): a machine bears eight of them. The kernel closes our end of
# the pipe however this process ends, and the shell then kills its group, which
# is all that it started.
CONFINED = """
for limit in '-c 0' '-f 20480' '-n 512' '-t 20' '-v 2097152'; do
    ulimit $limit 2>/dev/null
done
{ sh -c 'echo "pid $$"; exec "$@"' sh "$@"; echo "ended with $?"; } 2>&1 &
read -r _
kill -KILL 0
"""


@asynccontextmanager
async def sandboxed(
    program: Path,
    python: str = sys.executable,
    port: int = 0,
    *,
    start_timeout: float = START_TIMEOUT,
    max_lines: int = MAX_LINES,
    step_timeout: float = STEP_TIMEOUT,
    niceness: int = 0,
) -> AsyncIterator[DialogueRunner]:
    """Run a program alone, in a new folder, and yield what runs its dialogue.

    `python` is its interpreter. With `port` 0 the system chooses one; aiohttp
    tells which since 3.14. It has nothing of our environment, and a Redis or a
    PostgreSQL of its own if it needs one. A program that ends before it listens
    is played too: its dialogue shows that it does not start. Raises
    TimeoutError for one that does neither within `start_timeout` seconds. A
    step may take `step_timeout` seconds. `niceness` is that of the program, and
    of the shell that asks it.
    """
    async with AsyncExitStack() as stack:
        temporary = in_thread(temporary_folder("cookbook-show-"))
        folder = await stack.enter_async_context(temporary)
        environment = {
            "PATH": os.defpath,
            "HOME": str(folder),
            "PORT": str(port),
            "PYTHONUNBUFFERED": "1",
            **DEMO_SECRETS,
        }
        source = await asyncio.to_thread(program.read_text, "utf-8")
        if "REDIS_URL" in source:
            url = await stack.enter_async_context(in_thread(redis_server()))
            environment["REDIS_URL"] = url
        if "POSTGRES_URL" in source:
            url = await stack.enter_async_context(in_thread(postgres_server()))
            environment["POSTGRES_URL"] = url
        log: deque[str] = deque(maxlen=max_lines)
        group = process_group(
            "/bin/sh",
            *("-c", CONFINED, "sh", python, str(program)),
            cwd=folder,
            env=environment,
            niceness=niceness,
            limit=MAX_LINE,
        )
        process = await stack.enter_async_context(group)
        started: asyncio.Event = asyncio.Event()
        reading = asyncio.create_task(_read(process, log, started))
        stack.push_async_callback(_cancel, reading)
        async with asyncio.timeout(start_timeout):
            await started.wait()
        text = "\n".join(log)
        number = re.search(r"^pid (\d+)$", text, re.MULTILINE)
        address = re.search(r"Running on http://[^:]+:(\d+)", text)
        runner = dialogue_runner(
            int(address[1]) if address else NO_PORT,
            "",
            folder,
            log=log,
            server=int(number[1]) if number else None,
            step_timeout=step_timeout,
            niceness=niceness,
        )
        yield await stack.enter_async_context(runner)


async def _read(
    process: Process, log: deque[str], started: asyncio.Event
) -> None:
    async for line in process.output:
        log.append(line.decode(errors="replace").rstrip("\n"))
        if log[-1].startswith(("======== Running on", "ended with ")):
            started.set()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
