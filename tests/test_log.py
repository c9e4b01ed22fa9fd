"""Proofs for cookbook/log.py: the log waits for its reader, nobody else does.

A service is a process of its own, whose standard error is a pipe or a file.
"""

import asyncio
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from cookbook.log import (
    MAX_WAITING,
    BackgroundStream,
    count_refused_connections,
)
from tests.servers import MEASURED, ROOT, TIMEOUT, Process, forked, running

pytestmark = pytest.mark.slow("most tests start a server")

SCRIPT = """
import asyncio
import logging
import os
import resource
import warnings
from aiohttp import web
from cookbook.guard import protect
from cookbook.server import command

if fifo := os.environ.get("FIFO"):
    os.dup2(os.open(fifo, os.O_WRONLY), 2)

if limit := int(os.environ.get("DESCRIPTORS", "0")):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

def create_app(**_):
    async def answer(request):
        return web.Response()

    async def warn(request):
        logging.getLogger("recipe").warning("a record")
        warnings.warn("a warning")
        return web.Response()

    app = web.Application()
    protect(app)
    app.router.add_get("/warn", warn)
    app.router.add_get("/{path}", answer)
    return app

if __name__ == "__main__":
    command(create_app, {})()
"""
LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO 127\.0\.0\.1 "
PATH = "x" * 4000
ENOUGH = 2 * (MAX_WAITING + 2**17) // len(PATH)
"""Requests whose lines fill the pipe, the writer's hands, and the queue.

On a busy machine the writer may take a whole queue into its hands at once.
"""

LOOPS = [
    pytest.param("asyncio", marks=pytest.mark.full("another loop")),
    "uvloop",  # that of `make run`
]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return script


@pytest.fixture
def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "COOKBOOK_REDIS_URL": "redis://a.example"}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's two ends; the test may have closed them."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


@pytest.fixture
def fifo(tmp_path: Path, environment: dict[str, str]) -> Iterator[int]:
    """The reading end of the script's standard error."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    environment["FIFO"] = str(path)
    reader = os.open(path, os.O_RDWR)
    yield reader
    os.close(reader)


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as client:
        yield client


async def get(client: ClientSession, process: Process, path: str) -> None:
    async with (
        asyncio.timeout(TIMEOUT),
        client.get(f"http://127.0.0.1:{process.port}/{path}") as response,
    ):
        assert response.status == 200


async def read_until(descriptor: int, pattern: str) -> str:
    """Read from a pipe until a pattern has come; return all that came."""

    def read() -> str:
        text = ""
        while not re.search(pattern, text):
            assert select.select([descriptor], [], [], TIMEOUT)[0], text[-500:]
            data = os.read(descriptor, 2**16)
            assert data, f"it ended without {pattern}"
            text += data.decode("ascii")
        return text

    return await asyncio.to_thread(read)


@pytest.mark.unmeasured("the server has a process of its own")
@pytest.mark.parametrize("loop", LOOPS)
async def test_a_stderr_that_nobody_reads_stops_neither_answers_nor_the_end(
    script: Path,
    tmp_path: Path,
    environment: dict[str, str],
    fifo: int,
    client: ClientSession,
    loop: str,
) -> None:
    async with forked(
        script, "--loop", loop, cwd=tmp_path, **environment
    ) as process:
        for _ in range(ENOUGH):
            await get(client, process, PATH)
        assert await process.end() == 0


@pytest.mark.unmeasured("the server has a process of its own")
async def test_a_reader_that_is_back_is_told_how_many_lines_were_dropped(
    script: Path,
    tmp_path: Path,
    environment: dict[str, str],
    fifo: int,
    client: ClientSession,
) -> None:
    environment |= MEASURED
    async with forked(script, cwd=tmp_path, **environment) as process:
        for _ in range(ENOUGH):
            await get(client, process, PATH)
        text = await read_until(fifo, r"dropped.*\n")
        lines = text.splitlines()
        dropped = re.fullmatch(
            r"\S+ \S+ WARNING (\d+) lines of this log were dropped: "
            "nobody read it",
            lines.pop(),
        )
        assert dropped
        assert int(dropped[1]) + len(lines) == ENOUGH
        for line in lines:
            assert re.fullmatch(
                rf'{LINE}"GET /{PATH}" 200 \d+ \d+\.\d\d\ds', line
            )
        await get(client, process, "again")
        assert "/again" in await read_until(fifo, r"\n")


async def test_the_log_keeps_the_order_of_its_lines(
    script: Path,
    tmp_path: Path,
    environment: dict[str, str],
    client: ClientSession,
) -> None:
    async with forked(script, cwd=tmp_path, **environment) as process:
        await get(client, process, "before")
        await get(client, process, "warn")
        await get(client, process, "%0A%C3%A4%22?secret=1")
        assert await process.end() == 0
    log = process.log.read_text("ascii")
    assert re.fullmatch(
        rf'{LINE}"GET /before" 200 \d+ \d+\.\d+s\n'
        r"\S+ \S+ WARNING a record\n"
        r".*UserWarning: a warning\n.*\n"
        rf'{LINE}"GET /warn" 200 \d+ \d+\.\d+s\n'
        rf'{LINE}"GET /%0A%C3%A4%22" 200 \d+ \d+\.\d+s\n',
        log,
    )


async def open_crowd(
    process: Process,
) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open more connections than the process has descriptors."""
    return [
        await asyncio.open_connection("127.0.0.1", process.port)
        for _ in range(150)
    ]


async def test_a_want_of_descriptors_is_one_line_a_second(
    script: Path,
    tmp_path: Path,
    environment: dict[str, str],
    client: ClientSession,
) -> None:
    environment |= {"DESCRIPTORS": "64", **MEASURED}
    async with forked(
        script, "--loop", "asyncio", cwd=tmp_path, **environment
    ) as process:
        start = time.monotonic()
        crowd = await open_crowd(process)
        async with asyncio.timeout(TIMEOUT):
            while process.log.read_text().count("\n") < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for _, writer in crowd:
            writer.close()
        async with asyncio.timeout(TIMEOUT):
            await get(client, process, "again")
        assert await process.end() == 0
        seconds = time.monotonic() - start
    *lines, _ = process.log.read_text().splitlines()
    assert 3 <= len(lines) <= seconds + 3
    for line in lines:
        assert re.fullmatch(
            r"\S+ \S+ ERROR no connection could be accepted, \d+ times: "
            "Too many open files",
            line,
        )


async def test_uvloop_hangs_up_where_descriptors_are_wanting(
    script: Path,
    tmp_path: Path,
    environment: dict[str, str],
    client: ClientSession,
) -> None:
    environment |= {"DESCRIPTORS": "64"}
    async with forked(
        script, "--loop", "uvloop", cwd=tmp_path, **environment
    ) as process:
        crowd = await open_crowd(process)
        async with asyncio.timeout(TIMEOUT):
            assert await crowd[-1][0].read() == b""
        for _, writer in crowd:
            writer.close()
        async with asyncio.timeout(TIMEOUT):
            while True:
                with suppress(ConnectionError):
                    await get(client, process, "again")
                    break
                await asyncio.sleep(0.02)
        assert await process.end() == 0
    assert len(process.log.read_text().splitlines()) == 1


async def test_a_server_that_ends_while_descriptors_are_wanting_logs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.SelectorEventLoop()
    count_refused_connections(loop)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pass
    # What asyncio does a second after a connection that it could not accept.
    loop.call_soon(loop._start_serving, asyncio.Protocol, listener)  # type: ignore[attr-defined]
    try:
        await asyncio.to_thread(loop.run_until_complete, asyncio.sleep(0))
    finally:
        loop.close()
    assert not caplog.records


async def test_other_errors_of_the_loop_are_logged_as_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    count_refused_connections(loop)
    loop.call_exception_handler({"message": "another"})
    [record] = caplog.records
    assert (record.name, record.getMessage()) == ("asyncio", "another")


async def test_a_pipe_that_does_not_block_loses_no_line(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()
    select_as_ever = select.select

    def select_and_tell(*descriptors: Any) -> object:
        waits.set()
        return select_as_ever(*descriptors)

    monkeypatch.setattr(select, "select", select_and_tell)
    os.set_blocking(pipe[1], False)
    with BackgroundStream(pipe[1]) as stream:
        stream.write("x" * 2**18 + "end")
        assert await asyncio.to_thread(waits.wait, TIMEOUT)
        text = await read_until(pipe[0], "end")
    assert len(text) == 2**18 + 3


async def test_lines_are_counted_while_the_reader_has_left(
    pipe: tuple[int, int],
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with BackgroundStream(writer) as stream:
        stream.write("a line\n")
        async with asyncio.timeout(TIMEOUT):
            while not stream.dropped:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        os.dup2(pipe[1], writer)
        stream.write("another\n")
        text = await read_until(pipe[0], "dropped.*\n")
    os.close(writer)
    assert re.search(" WARNING 2 lines ", text)


async def test_lines_that_come_at_once_are_written_in_their_order(
    pipe: tuple[int, int],
) -> None:
    lines = [f"{number}\n" for number in range(100)]
    with BackgroundStream(pipe[1]) as stream:
        for line in lines:
            stream.write(line)
        assert await read_until(pipe[0], "\n99\n") == "".join(lines)


async def test_a_closed_stderr_is_no_log_and_no_error(
    script: Path,
    tmp_path: Path,
    environment: dict[str, str],
    client: ClientSession,
) -> None:
    closing = tmp_path / "closing.py"
    closing.write_text(
        "import os, sys\n"
        "os.close(2)\n"
        f"os.execv(sys.executable, [sys.executable, '{script}'])\n"
    )
    environment |= MEASURED
    async with running(closing, cwd=tmp_path, **environment) as process:
        await get(client, process, "answer")
        assert await process.end() == 0


DEEP = """
import json
from aiohttp import web
from cookbook.connection import Runner
from cookbook.guard import protect
from tests.servers import exchange

async def call_itself(request):
    await call_itself(request)

async def read_what_is_nested(request):
    return web.json_response(json.loads("[" * 100_000))

async def test_handlers(serve):
    app = web.Application()
    protect(app)
    answers = b""
    for handler in (call_itself, read_what_is_nested):
        app.router.add_get(f"/{handler.__name__}", handler)
    server = await serve(app, runner_class=Runner)
    for handler in (call_itself, read_what_is_nested):
        target = f"GET /{handler.__name__} HTTP/1.1\\r\\nHost: localhost\\r\\n"
        end = "Connection: close\\r\\n\\r\\n"
        answers += await exchange(server, (target + end).encode())
    assert answers.count(b" 200 ") == 2
"""


@pytest.mark.full("it starts a test session")
def test_pytest_reports_a_recursion_error_of_a_handler(tmp_path: Path) -> None:
    file = tmp_path / "test_deep.py"
    file.write_text(DEEP)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest"),
            *("-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider", file),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stderr
    assert "INTERNALERROR" not in ended.stdout + ended.stderr
    assert ended.stdout.count("\nRecursionError: maximum recursion") == 2
    assert "1 failed" in ended.stdout
