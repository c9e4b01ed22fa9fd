"""Proofs for `explain`.

Those of pipes, a terminal and signals have a process each.
"""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from io import BytesIO, FileIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import pytest

from aiohttp_cookbook.__main__ import run
from cookbook.commands.explain import describe
from cookbook.messages import Cause, Message
from tests.servers import MEASURED, ROOT, START_TIMEOUT, UNMEASURED

COMMAND = [sys.executable, "-m", "cookbook"]
ERROR = "RuntimeError: Session is closed"


class Outcome(NamedTuple):
    """What a command has printed, and its exit code."""

    stdout: str
    stderr: str
    returncode: int


class Explain(Protocol):
    """The fixture `explain`."""

    def __call__(self, *arguments: str, text: str = "") -> Outcome: ...


@pytest.fixture
def explain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Explain:
    """A function that runs the command line in this process."""

    def explain(*arguments: str, text: str = "") -> Outcome:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["aiohttp-cookbook", *arguments])
        stdin = TextIOWrapper(BytesIO(text.encode()))
        monkeypatch.setattr(sys, "stdin", stdin)
        code = 0
        try:
            run()
        except SystemExit as end:
            code = cast(int, end.code)
        return Outcome(*capsys.readouterr(), code)

    return explain


@pytest.mark.slow("it starts a program")
def test_explain_reads_standard_input() -> None:
    outcome = subprocess.run(
        [*COMMAND, "explain"],
        input=f"Traceback ...\n{ERROR}\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **MEASURED},
        timeout=START_TIMEOUT,
    )
    assert outcome.returncode == 0
    assert outcome.stderr == ""
    lines = outcome.stdout.splitlines()
    assert lines[0] == "Session is closed"
    assert "  The session was used after its async with had ended." in lines
    assert "  See: recipes/client_session.py" in lines


def test_explain_reads_a_file_whatever_its_bytes(
    explain: Explain, tmp_path: Path
) -> None:
    file = tmp_path / "app.log"
    file.write_bytes(b"\xff\xfe\x00\n" + ERROR.encode())
    outcome = explain("explain", str(file))
    assert outcome.returncode == 0
    assert outcome.stdout.startswith("Session is closed\n")


@pytest.mark.unmeasured("it reads a million characters")
def test_explain_reads_the_end_of_a_long_log(explain: Explain) -> None:
    log = "INFO all is well\n" * 50_000 + ERROR
    outcome = explain("explain", text=log)
    assert outcome.stdout.startswith("Session is closed\n")


def test_explain_names_the_trap_that_gets_the_message(explain: Explain) -> None:
    outcome = explain("explain", text="RuntimeError: no running event loop")
    assert "recipes/traps/event_loop/made_on_import.py" in outcome.stdout


def test_explain_names_the_releases_that_print_a_message() -> None:
    message = Message(
        "gone", "It is gone", "server", [], releases=["aiohttp<3.9", "redis>7"]
    )
    shown = describe(message, "ValueError: It is gone")
    assert "Printed by: aiohttp<3.9, redis>7" in shown
    # Other texts of a message may be those of other releases.
    assert "Printed by" not in describe(message, "ValueError: It went away")


def test_explain_prints_no_marks_of_markdown(explain: Explain) -> None:
    text = "'_RequestContextManager' object has no attribute 'json'"
    assert "`" not in explain("explain", text=text).stdout


def test_explain_leaves_code_as_it_is() -> None:
    cause = Cause("**Most** often `2**20` is too small.", "`2**21`")
    shown = describe(Message("gone", "It is gone", "server", [cause]), "")
    assert "Most often 2**20 is too small." in shown
    assert "2**21" in shown


@pytest.mark.parametrize("text", ["", "KeyError: 'price'\n", "gzip\n", "\0"])
def test_explain_fails_where_nothing_is_known(
    explain: Explain, text: str
) -> None:
    outcome = explain("explain", text=text)
    assert outcome.returncode == 1
    assert outcome.stdout == ""
    assert outcome.stderr == "Nothing here explains this.\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["explain", "no-such.log"], "cannot read no-such.log: No such file"),
        (["explain", "cookbook"], "cannot read cookbook: Is a directory"),
        (["explain", "one", "two"], "Got unexpected extra argument (two)"),
        (["explian"], "No such command 'explian'"),
        (["--color"], "No such option '--color'"),
    ],
)
def test_an_error_of_the_command_line_is_one_line(
    explain: Explain, arguments: list[str], reason: str
) -> None:
    outcome = explain(*arguments)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert outcome.stderr.startswith(reason)
    assert outcome.stderr.count("\n") == 1


def test_the_command_line_tells_how_to_use_it(explain: Explain) -> None:
    assert "explain" in explain("--help").stdout
    outcome = explain("explain", "--help")
    assert outcome.returncode == 0
    assert "python app.py 2>&1 | aiohttp-cookbook explain" in outcome.stdout


@pytest.mark.slow("it starts a program")
def test_explain_has_colours_on_a_terminal_and_none_in_a_pipe(
    explain: Explain, tmp_path: Path
) -> None:
    file = tmp_path / "app.log"
    file.write_text(ERROR)
    assert "\033[" not in explain("explain", str(file)).stdout
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [*COMMAND, "explain", file],
            stdout=theirs,
            cwd=ROOT,
            env={**os.environ, **UNMEASURED},
            timeout=START_TIMEOUT,
            check=True,
        )
        printed = os.read(ours, 10_000)
    finally:
        os.close(theirs)
        os.close(ours)
    assert printed.startswith(b"\033[1mSession is closed\033[0m")


def unread_bytes(pipe: FileIO) -> int:
    count = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(count, sys.byteorder)


@pytest.mark.slow("it starts a program")
def test_explain_ends_without_a_traceback_when_interrupted(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = subprocess.Popen(
        [*COMMAND, "explain", pipe],
        cwd=ROOT,
        env={**os.environ, **UNMEASURED},
        stderr=subprocess.PIPE,
        text=True,
    )
    with (
        command as process,
        pipe.open("wb", buffering=0) as end,
    ):
        end.write(b"Session is closed")
        while unread_bytes(end):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=START_TIMEOUT)
    assert process.returncode == 130
    assert errors.strip() == ""
