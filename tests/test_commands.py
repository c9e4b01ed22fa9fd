"""Proofs for the commands, of which each example in `--help` is run."""

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

import app
from aiohttp_cookbook.__main__ import load
from cookbook.commands import (
    INTERRUPTED,
    Collection,
    group,
    run_command_line,
)
from cookbook.commands.names import trap_names
from tests.forks import Fork, fork
from tests.servers import MEASURED, ROOT, START_TIMEOUT, TIMEOUT, UNMEASURED

SERVING = ("serve", "run")
"""Commands that run until they are ended."""

COMMAND = [sys.executable, "-m", "aiohttp_cookbook"]

MAIN = ROOT / "aiohttp_cookbook" / "__main__.py"

RUNNING = {
    "PYTHONPATH": str(ROOT),
    "PYTHONUNBUFFERED": "1",
    "COOKBOOK_PORT": "0",
}
"""What `run` has in its environment."""

NO_SIGNAL = 0
"""What `kill` takes to send none."""

VARIABLE = "_AIOHTTP_COOKBOOK_COMPLETE"


def invoke(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(
        group, arguments, obj=load, prog_name="aiohttp-cookbook"
    )


def examples() -> Iterator[tuple[str, str]]:
    """Yield the shell lines in the help of each command."""
    for name, command in [("serve", group), *group.commands.items()]:
        text = command.help or ""
        for line in re.findall(r"^ *\$ (.+)$", text, re.MULTILINE):
            yield name, line


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that finds the command, in an odd folder."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "aiohttp-cookbook"
    script.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m aiohttp_cookbook "$@"\n'
    )
    script.chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    (tmp_path / "app.py").write_text(
        "raise RuntimeError('Session is closed')\n"
    )
    (tmp_path / "app.log").write_text("RuntimeError: Session is closed\n")
    return {
        **os.environ,
        **UNMEASURED,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "COOKBOOK_PORT": "0",
    }


@pytest.mark.full("it starts a program for each example")
@pytest.mark.parametrize(("command", "line"), list(examples()))
def test_an_example_in_the_help_does_what_it_says(
    command: str, line: str, shell: dict[str, str], tmp_path: Path
) -> None:
    assert "aiohttp-cookbook" in line
    # A reader's port may be taken here.
    line = re.sub(r"--port \d+", "--port 0", line)
    if command in SERVING:
        line = f"exec {line}"
    with subprocess.Popen(
        ["/bin/sh", "-c", line],
        cwd=tmp_path,
        env=shell,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        if command in SERVING:
            assert process.stdout is not None
            assert "http://" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=START_TIMEOUT)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_every_command_has_examples_in_its_help() -> None:
    with_examples = {name for name, _ in examples()}
    assert with_examples == set(group.commands)


def test_ctrl_c_ends_a_command_with_the_exit_code_of_a_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def press_ctrl_c() -> Collection:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["aiohttp-cookbook", "list"])
    with pytest.raises(SystemExit) as ending:
        run_command_line(press_ctrl_c)
    assert ending.value.code == INTERRUPTED


def test_the_help_names_every_command_and_the_three_shells() -> None:
    text = invoke("--help").output
    for name in [*group.commands, "bash_source", "zsh_source", "fish_source"]:
        assert name in text


@pytest.mark.parametrize(
    ("typed", "incomplete", "completed"),
    [
        ([], "sh", ["show"]),
        (["show"], "prefix_s", ["prefix_sink"]),
        (["show"], "session_is_c", ["session_is_closed"]),
        (["run"], "prefix_s", ["prefix_sink"]),
        (["run"], "session_is_c", []),
        (["run", "database", "--trap"], "", trap_names("database")),
        (["run", "one-response", "--trap"], "", trap_names("one_response")),
        (["run", "--trap"], "never", ["never_closed"]),
        (["run", "--trap", "never_closed"], "", ["database"]),
    ],
)
def test_a_shell_completes_commands_recipes_traps_and_messages(
    typed: list[str], incomplete: str, completed: list[str]
) -> None:
    shell = ShellComplete(group, {}, "aiohttp-cookbook", VARIABLE)
    found = shell.get_completions(typed, incomplete)
    assert [item.value for item in found] == completed


@pytest.mark.slow("it starts a program")
@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_is_written_for_each_shell(name: str) -> None:
    outcome = subprocess.run(
        COMMAND,
        env={**os.environ, **UNMEASURED, VARIABLE: f"{name}_source"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
    )
    assert outcome.stdout.strip()
    assert VARIABLE in outcome.stdout


# list


def test_list_names_all_that_there_is_for_readers_and_for_programs() -> None:
    text = invoke("list").output
    entries = json.loads(invoke("list", "--json").output)
    names = [entry["name"] for entry in entries if entry["kind"] == "question"]
    assert names == [recipe.name for recipe in app.COOKBOOK]
    kinds = {entry["kind"] for entry in entries}
    assert kinds == {"question", "production", "trap", "message"}
    for entry in entries:
        assert f"  {entry['name']} " in text
        assert entry["title"] in text
    assert "\033[" not in text


def test_what_list_prints_is_a_command() -> None:
    entries = json.loads(invoke("list", "--json").output)
    for entry in entries:
        name, *arguments = entry["command"].split()
        command = group.commands[name]
        assert command.make_context(name, arguments).params["name"]


# show


def test_show_prints_the_page_of_a_recipe_as_markdown_into_a_pipe() -> None:
    outcome = invoke("show", "prefix-sink")
    assert outcome.exit_code == 0
    recipe = next(each for each in app.COOKBOOK if each.name == "prefix_sink")
    assert outcome.output.startswith(f"# {recipe.docs.title}\n")
    assert recipe.source in outcome.output
    assert "- `POST /prefix-sink/path/to" not in outcome.output
    assert "/prefix-sink/path/to/exact`" in outcome.output


def test_show_prints_the_production_file_of_a_recipe() -> None:
    outcome = invoke("show", "database", "--production")
    recipe = next(each for each in app.PRODUCTION if each.name == "database")
    assert recipe.source in outcome.output


def test_show_prints_what_an_error_message_means() -> None:
    outcome = invoke("show", "session_is_closed")
    assert outcome.output.startswith("# `Session is closed`\n")


def test_show_is_set_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    try:
        with monkeypatch.context() as patch, os.fdopen(theirs, "w") as terminal:
            patch.setattr(sys, "stdout", terminal)
            group.main(
                ["show", "no_such_column"], obj=load, standalone_mode=False
            )
            terminal.flush()
            printed = os.read(ours, 10_000)
    finally:
        os.close(ours)
    assert b"\033[" in printed
    assert b"# `" not in printed


@pytest.mark.slow("it starts a program")
def test_a_reader_who_leaves_a_pipe_gets_no_traceback() -> None:
    command = f"'{sys.executable}' -m aiohttp_cookbook list | head -n 1"
    outcome = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=ROOT,
        env={**os.environ, **UNMEASURED},
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
    )
    assert outcome.stdout == "Questions\n"
    assert outcome.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["show", "no_such"], "there is no page no_such: see `list`"),
        (["run", "no_such"], "there is no recipe no_such: see `list`"),
        (["show", "route_table", "--production"], "its answer is whole"),
        (["show", "no_such_column", "--production"], "has no second file"),
        (["run", "route_table", "--production"], "its answer is whole"),
        (["run", "database", "--trap", "no_such"], "It has never_closed, "),
        (
            ["run", "database", "--trap", "never_closed", "--production"],
            "a trap has a file of its own",
        ),
        (["run", "database", "--port", "70000"], "70000 is not in the range"),
    ],
)
def test_what_is_not_there_is_said(arguments: list[str], reason: str) -> None:
    outcome = invoke(*arguments)
    assert outcome.exit_code == click.UsageError.exit_code
    assert reason in outcome.output


# run


@dataclass
class Running:
    """A command that runs, or has run."""

    process: Fork
    errors: IO[bytes]

    async def port(self) -> int:
        return port_in((await self.process.stdout.readline()).decode())

    async def end(self, number: int = NO_SIGNAL) -> tuple[int, str]:
        """Send a signal, and return the exit code and what went wrong.

        The file that it runs has the other end of its output as well.
        """
        self.process.send_signal(number)
        async with asyncio.timeout(START_TIMEOUT):
            await self.process.stdout.read()
            code = await self.process.wait()
        self.errors.seek(0)
        return code, self.errors.read().decode()


@asynccontextmanager
async def run(
    *arguments: str, cwd: Path, **environment: str
) -> AsyncIterator[Running]:
    """Run `run`, in a fork."""
    command = [str(MAIN), "run", *arguments]
    env = {**os.environ, **RUNNING, **MEASURED, **environment}
    with TemporaryFile() as errors:
        async with fork(
            *command, cwd=cwd, env=env, filters=(), errors=errors
        ) as process:
            yield Running(process, errors)


def port_in(line: str) -> int:
    match = re.search(r"Running on http://127.0.0.1:(\d+) ", line)
    assert match, line
    return int(match[1])


def ask(port: int, request: str) -> str:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as peer:
        head = f"{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        peer.sendall(f"{head}\r\n".encode())
        return peer.makefile().read()


def ask_until_it_is_ready(port: int, request: str) -> str:
    """Ask again while a busy machine has not opened the engine yet."""
    deadline = time.monotonic() + TIMEOUT
    while " 503 " in (answer := ask(port, request)).splitlines()[0]:
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer


THE_SAME = pytest.mark.full("each file and each signal was tried")


@pytest.mark.slow("it starts a recipe and a Redis")
@pytest.mark.parametrize(
    ("options", "number"),
    [
        ([], signal.SIGINT),
        (["--production"], signal.SIGTERM),
        pytest.param([], signal.SIGTERM, marks=THE_SAME),
        pytest.param(["--production"], signal.SIGINT, marks=THE_SAME),
    ],
)
async def test_run_starts_a_file_with_a_redis_of_its_own_and_ends_both(
    options: list[str], number: signal.Signals, tmp_path: Path
) -> None:
    async with run("parallel_events", *options, cwd=tmp_path) as process:
        ask_until_it_is_ready(await process.port(), "POST /channels/a")
        code, errors = await process.end(number)
    assert code == 0
    assert errors.strip() == ""


@pytest.mark.slow("it starts a recipe")
async def test_a_file_ends_with_the_run_that_is_killed(tmp_path: Path) -> None:
    async with run("prefix_sink", cwd=tmp_path, **UNMEASURED) as process:
        await process.port()
        code, _ = await process.end(signal.SIGKILL)
    assert code == -signal.SIGKILL


@pytest.mark.slow("it starts a recipe")
async def test_run_leaves_no_database_behind_in_the_reader_s_folder(
    tmp_path: Path,
) -> None:
    async with run("database", cwd=tmp_path) as process:
        assert '"answer": 42' in ask(await process.port(), "GET /answer")
        code, _ = await process.end(signal.SIGINT)
    assert code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow("it starts a recipe")
async def test_run_takes_the_engines_that_are_named(
    tmp_path: Path, postgres_url: str
) -> None:
    options = ["--production", "--postgres-url", postgres_url]
    async with run("database", *options, cwd=tmp_path) as process:
        # A 200 needs the schema, which is made at the start.
        answer = ask_until_it_is_ready(await process.port(), "GET /notes")
        assert '"notes": []' in answer
        code, _ = await process.end(signal.SIGINT)
    assert code == 0


@pytest.mark.slow("it starts a trap")
async def test_run_starts_a_trap_and_returns_its_exit_code(
    tmp_path: Path,
) -> None:
    async with run(
        "event_loop", "--trap", "made_on_import", cwd=tmp_path
    ) as process:
        code, errors = await process.end()
    assert code == 1
    assert "RuntimeError: no running event loop" in errors


@pytest.mark.slow("it starts a recipe")
async def test_run_says_in_one_line_that_no_service_can_be_started(
    tmp_path: Path,
) -> None:
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    async with run("parallel_events", cwd=tmp_path, PATH=path) as process:
        code, errors = await process.end()
    assert code == 1
    assert errors.startswith(f"{program} has ended")
    assert "Traceback" not in errors


@pytest.mark.slow("it starts a recipe")
def test_run_outlives_the_terminal_under_nohup(tmp_path: Path) -> None:
    command = f"nohup '{sys.executable}' -m aiohttp_cookbook run route_table"
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec {command}"],
        cwd=tmp_path,
        env={**os.environ, **UNMEASURED, **RUNNING},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = port_in(process.stdout.readline())
        process.send_signal(signal.SIGHUP)
        assert " 200 " in ask(port, "GET /method").splitlines()[0]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=START_TIMEOUT)
    assert process.returncode == 0
