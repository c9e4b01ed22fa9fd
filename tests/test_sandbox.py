"""Proofs for cookbook/sandbox.py: what runs there harms nobody."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cookbook.docs import Docs, Step
from cookbook.sandbox import sandboxed
from tests.servers import (
    ROOT,
    START_TIMEOUT,
    TIMEOUT,
    children,
    is_alive,
    until_it_is_empty,
    until_it_is_gone,
)

pytestmark = pytest.mark.slow("each test starts a program")

SERVER = """
import os
from aiohttp import web

{body}
web.run_app(web.Application(), host="127.0.0.1", port=int(os.environ["PORT"]))
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    """Write a program that does something, and then serves."""

    def write(body: str) -> Path:
        file = tmp_path / "program.py"
        file.write_text(SERVER.format(body=body))
        return file

    return write


async def log_of(program: Path, text: str, **limits: Any) -> str:
    async with sandboxed(program, **limits) as runner:
        return await runner.run(Step("log", text))


async def test_a_program_knows_nothing_of_our_environment(
    program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "tea")
    file = program("print('known:', *sorted(os.environ), 'no more')")
    known = await log_of(file, "known: ... no more")
    assert "PYTHONUNBUFFERED" in known
    assert "SECRET" not in known


async def test_a_program_that_reads_its_url_gets_a_postgresql_of_its_own(
    program: Callable[[str], Path],
) -> None:
    file = program(
        "import psycopg\n"
        "with psycopg.connect(os.environ['POSTGRES_URL']) as connection:\n"
        "    print('it says', *connection.execute('SELECT 42').fetchone())"
    )
    assert await log_of(file, "it says 42")


async def test_a_dialogue_knows_nothing_of_our_environment(
    program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "tea")
    async with sandboxed(program("")) as runner:
        known = await runner.run(Step("run", "env"))
    assert "SERVER=" in known
    assert "SECRET" not in known


async def test_a_program_and_its_dialogue_give_way_by_their_niceness(
    tmp_path: Path,
) -> None:
    program = tmp_path / "program.py"
    program.write_text("import os\nprint('niceness', os.nice(0))")
    expected = min(os.nice(0) + 5, 19)
    async with sandboxed(program, niceness=5) as runner:
        told = await runner.run(Step("log", f"niceness {expected}"))
        assert told == f"niceness {expected}"
        shell = int(await runner.run(Step("run", "echo $$")))
        assert os.getpriority(os.PRIO_PROCESS, shell) == expected


async def test_what_has_no_end_is_bounded_in_cpu_time_and_leaves_no_core(
    program: Callable[[str], Path],
) -> None:
    file = program(
        "from resource import *\n"
        "print('seconds', getrlimit(RLIMIT_CPU), getrlimit(RLIMIT_CORE), '.')"
    )
    line = await log_of(file, "seconds ... .")
    assert line == "seconds (20, 20) (0, 0) ."


async def test_a_program_works_in_a_folder_that_is_removed(
    program: Callable[[str], Path],
) -> None:
    file = program("open('file', 'w').close(); print('in', os.getcwd(), '.')")
    line = await log_of(file, "in ... .")
    folder = Path(line.split()[1])
    assert folder != Path.cwd()
    assert not folder.exists()


async def test_nothing_of_a_program_is_left(
    program: Callable[[str], Path],
) -> None:
    file = program(
        "import signal, subprocess\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('child', subprocess.Popen(['sleep', '60']).pid, '.')\n"
        "print('self', os.getpid(), '.')\n"
    )
    async with sandboxed(file) as runner:
        lines = [
            await runner.run(Step("log", f"{who} ... ."))
            for who in ("child", "self")
        ]
        processes = [int(line.split()[1]) for line in lines]
        assert all(map(is_alive, processes))
    for process in processes:
        await until_it_is_gone(process)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 10, 20])
async def test_nothing_is_left_if_the_start_is_cancelled(
    program: Callable[[str], Path], steps: int
) -> None:
    file = program("# one with a Redis: REDIS_URL")
    before = await children()
    start = asyncio.create_task(log_of(file, "never"))
    for _ in range(steps):
        await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await asyncio.sleep(0.1)  # what would be left may be late
    # One that a test before has ended may be gone in the meantime.
    assert not await children() - before
    assert not await orphans(file)


async def orphans(file: Path) -> str:
    """Return the processes whose command names a file."""
    process = await asyncio.create_subprocess_exec(
        *("ps", "-A", "-o", "args="), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return "".join(
        line for line in output.decode().splitlines() if str(file) in line
    )


async def test_nothing_is_left_if_we_are_killed(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    file = program("print('self', os.getpid(), os.getcwd(), '.')")
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from cookbook.docs import Step\n"
        "from cookbook.sandbox import sandboxed\n"
        "async def main():\n"
        "    async with sandboxed(Path(sys.argv[1])) as runner:\n"
        "        print(await runner.run(Step('log', 'self ... .')))\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-u", script, file),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(START_TIMEOUT):
        line = (await process.stdout.readline()).decode()
        process.kill()
        await process.wait()
    _, number, folder, _ = line.split()
    await until_it_is_gone(int(number))
    await until_it_is_empty(Path(folder))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(
            "bytearray(3 * 2**30)",
            "MemoryError",
            marks=pytest.mark.skipif(
                sys.platform == "darwin", reason="macOS bounds no memory"
            ),
        ),
        (
            "import socket\nopened = [socket.socket() for _ in range(600)]",
            "OSError: [Errno 24] Too many open files",
        ),
        (
            "with open('file', 'wb') as file:\n"
            "    file.write(b'.' * 20_000_000)",
            "OSError: [Errno 27] File too large",
        ),
    ],
)
async def test_what_a_program_takes_is_bounded(
    program: Callable[[str], Path], body: str, text: str
) -> None:
    assert await log_of(program(body), text) == text


async def test_what_a_program_writes_is_bounded(
    program: Callable[[str], Path],
) -> None:
    file = program("print('first')\nfor n in range(100): print(n)")
    printed = await log_of(file, "first", max_lines=10)
    assert printed == "(nothing in the log)"


async def test_a_program_that_ends_is_played_too(
    program: Callable[[str], Path],
) -> None:
    async with sandboxed(program("raise SystemExit(3)")) as runner:
        assert await runner.run(Step("log", "ended with 3"))
        printed = await runner.run(Step("run", "curl localhost:8080/ 2>&1"))
        assert "Failed to connect" in printed
        refused = await runner.run(Step("open", "ws://localhost:8080/"))
        assert refused.startswith("(")
        for kind in ("send", "receive", "closed"):
            printed = await runner.run(Step(kind, "x"))
            assert printed == "(no WebSocket is open)"


async def test_a_program_that_does_not_start_is_given_up(
    program: Callable[[str], Path],
) -> None:
    file = program("import time\ntime.sleep(60)")
    with pytest.raises(TimeoutError):
        await log_of(file, "never", start_timeout=0.5)


async def test_a_step_that_does_not_end_is_given_up(
    program: Callable[[str], Path],
) -> None:
    async with sandboxed(program(""), step_timeout=0.5) as runner:
        assert await runner.run(Step("run", "sleep 60")) == (
            "(no end within 0.5 s)"
        )


async def test_the_dialogue_may_end_the_server(
    program: Callable[[str], Path],
) -> None:
    docs = Docs.parse(
        "What?\n\nTry it::\n\n    $ kill $SERVER\n    Log: ended with 0\n"
    )
    kill, look = docs.dialogue
    async with sandboxed(program("")) as runner:
        assert not await runner.play([kill])
        # On a busy machine it takes longer than a step looks.
        async with asyncio.timeout(TIMEOUT):
            while "ended with 0" not in runner.log:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not await runner.play([look])
