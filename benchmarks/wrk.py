"""Load from outside: wrk, where it is installed."""

import asyncio
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from yarl import URL

SCRIPT = Path(__file__).with_name("wrk.lua")


class Request(NamedTuple):
    """A request, which all connections repeat."""

    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    encoding: str = "identity"


class Answers(NamedTuple):
    """How many came, in how many seconds, and two latencies in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float


def find_wrk() -> str | None:
    """Return the path of wrk, or None."""
    return shutil.which("wrk")


def wrk_version() -> str | None:
    """Return what wrk says of itself, or None where it is not installed."""
    executable = find_wrk()
    if executable is None:
        return None
    # It calls that a usage error.
    said = subprocess.run([executable, "-v"], capture_output=True, text=True)
    return " ".join(said.stdout.split()[:2])


async def run_wrk(
    address: URL, request: Request, *, clients: int, seconds: int
) -> Answers:
    """Load a server for some seconds; an answer of 400 or more is an error."""
    executable = find_wrk()
    assert executable, "wrk is not installed"
    headers = [f"-HAccept-Encoding: {request.encoding}"]
    headers += [f"-H{name}: {value}" for name, value in request.headers]
    with tempfile.NamedTemporaryFile("w+") as body:
        body.write(request.body)
        body.flush()
        process = await asyncio.create_subprocess_exec(
            *(executable, "-t1", f"-c{clients}", f"-d{seconds}s"),
            *("-s", str(SCRIPT), *headers),
            str(address.join(URL(request.path))),
            *("--", request.method, body.name),
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output
    values = json.loads(output.splitlines()[-1])
    assert values["errors"] == 0, values
    return Answers(
        values["requests"],
        values["microseconds"] / 1e6,
        values["p50"] / 1e6,
        values["p99"] / 1e6,
    )
