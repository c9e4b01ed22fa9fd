"""Proofs for cookbook/supervised.py, with programs that take no time."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import click
import psutil
import pytest

from cookbook.supervised import (
    START_TIMEOUT,
    Part,
    Supervisor,
    until_stdin_closes,
)
from tests.servers import ROOT

pytestmark = pytest.mark.slow("it starts supervisord")

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("begun", flush=True)
time.sleep(600)
"""


@pytest.fixture
def supervisor(short_folder: Path) -> Supervisor:
    return Supervisor(short_folder, ROOT)


def python(text: str) -> list[str]:
    return until_stdin_closes(sys.executable, "-c", text)


def test_a_part_that_ends_at_once_is_told_with_its_last_lines(
    supervisor: Supervisor,
) -> None:
    part = Part("broken", python("raise SystemExit('100 % out of order')"))
    with (
        supervisor.running([part], {}),
        pytest.raises(click.ClickException) as raised,
    ):
        supervisor.start("broken")
    assert raised.value.message.startswith("broken does not start\n  ")
    assert raised.value.message.endswith("\n  100 % out of order")


def test_a_part_that_does_not_answer_is_told(supervisor: Supervisor) -> None:
    with supervisor.running([], {}):
        before = time.monotonic()
        with pytest.raises(click.ClickException, match="engine does not ans"):
            supervisor.wait("engine", lambda: False, timeout=0.1)
        assert time.monotonic() - before < START_TIMEOUT


def test_a_part_has_the_environment_the_user_and_the_folder(
    supervisor: Supervisor, short_folder: Path
) -> None:
    program = "import os, time; print(os.environ['A'], os.getcwd(), flush=True)"
    part = Part("shows", python(f"{program}; time.sleep(9)"), user=os.geteuid())
    with supervisor.running([part], {"A": "a value"}):
        supervisor.start("shows")
        log = supervisor.logs / "shows.log"
        supervisor.wait("shows", lambda: log.read_text() != "")
    assert log.read_text() == f"a value {ROOT}\n"


def test_a_part_that_does_not_end_is_killed_with_the_supervisor(
    supervisor: Supervisor,
) -> None:
    part = Part("stubborn", python(STUBBORN))
    with supervisor.running([part], {}, stop_timeout=0.5) as process:
        supervisor.start("stubborn")
        log = supervisor.logs / "stubborn.log"
        supervisor.wait("stubborn", lambda: "begun" in log.read_text())
        started = psutil.Process(process.pid).children(recursive=True)
    assert process.returncode == -signal.SIGKILL
    # Those that listen to no signal but this.
    for each in started:
        with suppress(psutil.NoSuchProcess):
            each.kill()
