"""Connections are opened that are slow on purpose, while others want answers.

A third sends a byte of its headers now and then, a third sends nothing, and a
third stops in the middle of a body. Each has to be closed in time, and nobody
else may wait for them.
"""

import asyncio
import time
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.measure import quantile
from tests.servers import Process, running

CLOSED_WITHIN = 20.0
"""Seconds in which the server drops a peer that is slow."""

PATIENCE = 5.0
"""Seconds in which an answer to somebody else has come, on a busy machine."""

BYTE_EVERY = 1.0
"""Seconds between two bytes of a peer that trickles."""

PAUSE = 0.05
"""Seconds between two requests of somebody else."""

AT_ONCE = 200
"""Connections that are opened in a row, before others get their turn."""

NAME = b"Host: localhost\r\n"
STARTS = {
    "trickles": b"GET /database/notes HTTP/1.1\r\n" + NAME + b"X-Slow: ",
    "is silent": b"",
    "stops in a body": (
        b"POST /database/notes/batch HTTP/1.1\r\n"
        + NAME
        + b"Content-Length: 1000\r\n\r\n{"
    ),
}
OTHERS = (
    b"GET /database/notes HTTP/1.1\r\n" + NAME + b"Connection: close\r\n\r\n"
)


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    faults = list[str]()
    latencies = list[float]()
    lives = list[float]()

    async def be_slow(process: Process, kind: str) -> None:
        seconds = await measure_life(process, kind)
        lives.append(seconds)
        if seconds > CLOSED_WITHIN:
            faults.append(f"who {kind} is still connected after {seconds} s")
        advance()

    async def ask_on(process: Process) -> None:
        while True:
            start = time.perf_counter()
            if fault := await ask(process):
                faults.append(fault)
            latencies.append(time.perf_counter() - start)
            await asyncio.sleep(PAUSE)

    with TemporaryDirectory() as folder:
        async with running(root / "app.py", cwd=Path(folder)) as process:
            asking = asyncio.create_task(ask_on(process))
            async with asyncio.TaskGroup() as group:
                for at, kind in enumerate(islice(cycle(STARTS), size)):
                    group.create_task(be_slow(process, kind))
                    if at % AT_ONCE == 0:
                        await asyncio.sleep(PAUSE)
            asking.cancel()
            await asyncio.wait([asking])
            if code := await process.end(within=15):
                faults.append(f"it ended with {code}")
    return Found(
        {
            "connections": size,
            "seconds until the last was closed": round(max(lives), 1),
            "answers to others": len(latencies),
            "milliseconds, p99 of those": round(
                1e3 * quantile(latencies, 0.99)
            ),
        },
        faults,
    )


async def measure_life(process: Process, kind: str) -> float:
    """Be slow; return the seconds until the server has closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    start = time.perf_counter()
    try:
        async with asyncio.timeout(CLOSED_WITHIN + PATIENCE):
            writer.write(STARTS[kind])
            while not await has_ended(reader):
                if kind == "trickles":
                    writer.write(b"x")
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return round(time.perf_counter() - start, 1)


async def has_ended(reader: asyncio.StreamReader) -> bool:
    """Wait for a while; tell whether the server has closed meanwhile."""
    try:
        async with asyncio.timeout(BYTE_EVERY):
            while await reader.read(2**12):
                pass
    except TimeoutError:
        return False
    return True


async def ask(process: Process) -> str:
    """Ask for an answer; return what is wrong with it, or ""."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", process.port
            )
            try:
                writer.write(OTHERS)
                answer = await reader.read()
            finally:
                writer.close()
    except (TimeoutError, ConnectionError) as error:
        return f"somebody else got no answer: {error!r}"
    return "" if b" 200 OK" in answer[:20] else f"{answer[:80]!r}"


ATTACK = Attack(
    attack,
    promises=("X10", "X19"),
    files=("app.py", "cookbook"),
    unit="slow connections",
    full=2000,
    small=30,
    longest=0.1,
)
