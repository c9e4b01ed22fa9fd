"""Programs, each in a process that has imported aiohttp already.

`python -m tests.programs` reads a line of JSON for each program, forks, and
prints the exit code. So a program costs as much as a fork.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from traceback import print_exc

TIMEOUT = 90
"""Seconds after which the system ends a program."""

PACKAGES = (
    "aiohttp.web",
    "aiohttp.test_utils",
    "redis.asyncio",
    "psycopg_pool",
    "procrastinate",
    "pytest",
)
"""What is imported before a program, where it is installed."""

NO_PLUGINS = " ".join(
    f"-p no:{plugin}"
    for plugin in (
        *("anyio", "hypothesispytest", "pytest_cov", "schemathesis"),
        *("valkey", "xdist", "xdist.looponfail"),
    )
)
"""What leaves out of pytest the plugins that no program uses, as the value of
PYTEST_ADDOPTS. To import them takes four times as long as all the rest."""


@dataclass(frozen=True)
class Outcome:
    """What a program has printed, on both streams, and its exit code."""

    printed: str
    code: int


@dataclass(frozen=True)
class Programs:
    """A process that runs programs, one after another."""

    process: "subprocess.Popen[str]"

    def run(self, source: str, folder: Path, timeout: int = TIMEOUT) -> Outcome:
        """Run a program in a folder, as `python -W default` does.

        `timeout` is the seconds after which the system ends it.
        """
        assert self.process.stdin
        assert self.process.stdout
        order = json.dumps([source, str(folder), timeout])
        print(order, file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        return Outcome((folder / "printed").read_text(), code)


@contextmanager
def running_programs(python: str = sys.executable) -> Iterator[Programs]:
    """Start the process, and end it."""
    process = subprocess.Popen(
        [python, "-W", "default", __file__],
        env={**os.environ, "PYTEST_ADDOPTS": NO_PLUGINS},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Programs(process)


def _serve() -> None:
    for package in PACKAGES:
        with suppress(ImportError):
            __import__(package)
    # What is here before a program is no garbage of it.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(*order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(source: str, folder: str, timeout: int) -> None:
    signal.alarm(timeout)
    os.chdir(folder)
    output = os.open("printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    # A traceback shows the lines of a file.
    Path("program.py").write_text(source)
    # aiohttp-session 2.12 stores its session under a string.
    warnings.filterwarnings("ignore", module="aiohttp_session")
    code = 0
    try:
        exec(compile(source, "program.py", "exec"), {"__name__": "__main__"})
    except BaseException:
        print_exc()
        code = 1
    gc.collect()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
