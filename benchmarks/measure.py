"""What all benchmarks share: a server, a load, a figure and where it is kept.

A server is a process of its own, on the first core; the load is this process,
on the last. The main figure is the server's CPU time for a request: it depends
less on the machine's other work than requests per second do.
"""

import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, cast

import psutil
from yarl import URL

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
PACKAGES = ("aiohttp", "uvloop", "starlette", "uvicorn", "httptools")

CLIENTS = 64
"""Connections that send a request each as soon as the last is answered."""

LAST_CHUNK = b"\r\n0\r\n\r\n"
"""The end of an answer in chunks (RFC 9112, 7.1)."""

CORES = getattr(psutil.Process(), "cpu_affinity", list[int])()
"""Those of this process before it is pinned: a server inherits what is left."""

TIMEOUT = 60.0
"""Seconds for a server's start, its end, or a load."""


class Load(NamedTuple):
    """What a load has cost: CPU seconds a request, and 99 of 100 latencies."""

    cpu: float
    p99: float


class Ratio(NamedTuple):
    """The median of the rounds' ratios, with the least and the greatest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


class Server(NamedTuple):
    """A process that serves, and its address."""

    process: psutil.Process
    address: URL


@contextmanager
def serving(*arguments: str, pinned: bool = True) -> Iterator[Server]:
    """Run a Python program that serves until the block ends.

    It prints its address, to either stream, when it listens. What it logs goes
    to a file, as in production. Its children inherit that it is `pinned`.
    """
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-u", *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=log,
        )
        try:
            server = psutil.Process(process.pid)
            if pinned:
                pin(server, 0)
            else:
                release(server)
            yield Server(server, _find_address(process, [output, log]))
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def _find_address(process: subprocess.Popen[bytes], files: list[Any]) -> URL:
    deadline = time.monotonic() + TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        for file in files:
            text = os.pread(file.fileno(), 10_000, 0).decode()
            if match := re.search(r"http://[^:\s]+:(\d+)", text):
                return URL(f"http://127.0.0.1:{match[1]}")
        time.sleep(0.002)
    text = os.pread(files[1].fileno(), 10_000, 0).decode()
    raise RuntimeError(f"it does not serve: {process.args!r}: {text}")


def pin(process: psutil.Process, core: int) -> None:
    """Keep a process on one core, where the system can do that."""
    if hasattr(process, "cpu_affinity"):
        process.cpu_affinity([CORES[core]])


def release(process: psutil.Process) -> None:
    """Let a process run on all cores: it has inherited the one of the load."""
    if hasattr(process, "cpu_affinity"):
        process.cpu_affinity(CORES)


async def measure(
    server: Server,
    path: str,
    requests: int,
    *,
    status: int = 200,
    encoding: str = "identity",
) -> Load:
    """Load a server with `requests` of a path, and tell what they cost."""
    before = cpu_time(server.process)
    latencies = await load(
        server.address / path, requests, status=status, encoding=encoding
    )
    used = cpu_time(server.process) - before
    return Load(used / requests, quantile(latencies, 0.99))


def cpu_time(process: psutil.Process) -> float:
    """Return the seconds of CPU that a process has had."""
    if sys.platform == "linux":
        # clock_getcpuclockid(3): what psutil reads is rounded to 10 ms.
        return time.clock_gettime(~process.pid << 3 | 2)
    times = process.cpu_times()
    return times.user + times.system


async def load(
    url: URL,
    requests: int,
    *,
    status: int = 200,
    encoding: str = "identity",
    clients: int = CLIENTS,
    method: str = "GET",
    headers: Sequence[tuple[str, str]] = (),
    body: str = "",
) -> list[float]:
    """Send requests on a few connections; return the seconds each has taken."""
    lines = [
        f"{method} {url.raw_path_qs} HTTP/1.1",
        f"Host: {url.authority}",
        *(f"{name}: {value}" for name, value in headers),
        f"Accept-Encoding: {encoding}",
    ]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    request = "\r\n".join([*lines, "", body])
    count, latencies = iter(range(requests)), list[float]()
    start = f"HTTP/1.1 {status} ".encode()
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as group:
        for _ in range(clients):
            client = _Client(request.encode(), start, count, latencies)
            group.create_task(client.run(str(url.host), url.port or 80))
    return latencies


class _Client(asyncio.Protocol):
    """A connection that costs this process little: it reads one header."""

    def __init__(
        self,
        request: bytes,
        start: bytes,
        count: Iterator[int],
        latencies: list[float],
    ) -> None:
        self._request, self._start = request, start
        self._count, self._latencies = count, latencies
        self._size = 0
        self._is_chunked = False
        self._buffer = bytearray()

    async def run(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        transport, _ = await loop.create_connection(lambda: self, host, port)
        try:
            await self._ended
        finally:
            transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of uvloop is one by its methods only.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        if next(self._count, None) is None:
            self._ended.set_result(None)
        else:
            self._sent = time.perf_counter()
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not (self._size or self._is_chunked):
            self._read_size()
        if not self._buffer.startswith(self._start[: len(self._buffer)]):
            error = RuntimeError(f"it answers {self._buffer[:100]!r}")
            self._ended.set_exception(error)
            self._transport.abort()
        elif self._is_chunked and self._buffer.endswith(LAST_CHUNK):
            self._take(len(self._buffer))
        elif self._size and len(self._buffer) >= self._size:
            self._take(self._size)

    def _read_size(self) -> None:
        """Read how long an answer is: a number in it may grow by a digit."""
        head, end, _ = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        self._is_chunked = length is None
        if length:
            self._size = len(head) + len(end) + int(length[1])

    def _take(self, size: int) -> None:
        self._latencies.append(time.perf_counter() - self._sent)
        del self._buffer[:size]
        self._size = 0
        self._is_chunked = False
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(error or ConnectionError("it hung up"))


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value that `share` of the others do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def ratio(ours: Iterable[float], theirs: Iterable[float]) -> Ratio:
    """Compare what was measured in rounds that took turns."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def record(name: str, figures: dict[str, Any], *, part: str = "") -> None:
    """Write figures to `results.json`, with what they were measured on.

    A `part` of what has this name is written without the others.
    """
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    place = results.setdefault(name, {}) if part else results
    place[part or name] = {**provenance(PACKAGES), **figures}
    text = json.dumps(results, indent=2)
    # The values of some rounds stand on one line.
    text = re.sub(r"\[[-\d.e,\s]+\]", lambda each: _joined(each[0]), text)
    RESULTS.write_text(text + "\n")


def _joined(values: str) -> str:
    return "[" + ", ".join(re.findall(r"[^\[\],\s]+", values)) + "]"


def provenance(packages: Iterable[str]) -> dict[str, Any]:
    """Return what figures depend on: commit, date, machine and versions."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return {
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "versions": {package: version(package) for package in packages},
    }


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        match = re.search(r"model name\s*: (.+)", cpuinfo.read_text())
        if match:
            return match[1]
    return platform.processor() or platform.machine()
