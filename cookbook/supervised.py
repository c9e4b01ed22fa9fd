"""Programs that belong together, run by supervisord.

It starts each, starts it again when it has died, and ends all. Here is what it
does not do: say in one line what is wrong.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from configparser import RawConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from cookbook.processes import kill_group
from cookbook.redis_server import SUPERVISOR

START_TIMEOUT = 30.0
"""Seconds in which a part has to answer; each takes about one."""

STOP_TIMEOUT = 40
"""Seconds in which all have to end; workers with requests take half of them."""

LAST_LINES = 5
"""Lines of its log that tell why a part has not started."""


class Part(NamedTuple):
    """A program, as supervisord runs it."""

    name: str
    command: list[str]
    """It has to end where its standard input does."""
    user: int | None = None
    stop_signal: str = "TERM"


class Supervisor:
    """supervisord, with its files in `folder`; the parts run in `cwd`."""

    def __init__(self, folder: Path, cwd: Path) -> None:
        self._folder = folder
        self._cwd = cwd
        self.configuration = folder / "supervisord.conf"
        """The file that supervisorctl needs, too."""
        self.logs = folder / "log"
        """Where each part has a file."""
        self._socket = folder / "supervisor.sock"

    @contextmanager
    def running(
        self,
        parts: list[Part],
        environment: dict[str, str],
        stop_timeout: float = STOP_TIMEOUT,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run supervisord, and at the end all parts down.

        A second Ctrl-C kills them. Those that take longer than `stop_timeout`
        seconds are killed, too.
        """
        self.logs.mkdir(mode=0o700)
        self._write(parts)
        process = subprocess.Popen(
            until_stdin_closes(
                *(sys.executable, "-m", "supervisor.supervisord"),
                *("-c", str(self.configuration)),
            ),
            cwd=self._cwd,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.wait("supervisord", self._socket.is_socket)
            yield process
        finally:
            try:
                process.communicate(timeout=stop_timeout)
            except (KeyboardInterrupt, subprocess.TimeoutExpired):
                # Each part sees that it is gone, and ends.
                kill_group(process.pid)
                process.wait()

    def start(self, *parts: str) -> None:
        """Start parts at once; raises ClickException where one does not run."""
        for part in parts:
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "supervisor.supervisorctl"),
                    *("-c", str(self.configuration), "start", part),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=START_TIMEOUT,
            )
            if done.returncode != 0:
                raise self._error(part, "does not start")

    def wait(
        self,
        part: str,
        answers: Callable[[], bool],
        timeout: float = START_TIMEOUT,
    ) -> None:
        """Wait until a part answers; raises ClickException if it does not."""
        deadline = time.monotonic() + timeout
        while not answers():
            if time.monotonic() > deadline:
                raise self._error(part, "does not answer")
            time.sleep(0.05)

    def _write(self, parts: list[Part]) -> None:
        config = RawConfigParser()
        config["supervisord"] = {
            "nodaemon": "true",
            "logfile": str(self.logs / "supervisord.log"),
            "pidfile": str(self._folder / "supervisord.pid"),
            # Otherwise it warns where we are root.
            "user": str(os.geteuid()),
        }
        config["unix_http_server"] = {
            "file": str(self._socket),
            "chmod": "0700",
        }
        factory = "supervisor.rpcinterface:make_main_rpcinterface"
        config["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": factory
        }
        config["supervisorctl"] = {"serverurl": f"unix://{self._socket}"}
        for number, part in enumerate(parts):
            # A percent sign would be the start of a variable.
            config[f"program:{part.name}"] = {
                "command": shlex.join(part.command).replace("%", "%%"),
                # The last one is the first to end.
                "priority": str(number),
                "autostart": "false",
                "autorestart": "true",
                # After a crash, an engine may refuse to start for some seconds.
                "startretries": "20",
                "stopsignal": part.stop_signal,
                "stopwaitsecs": str(STOP_TIMEOUT - 10),
                "killasgroup": "true",
                "redirect_stderr": "true",
                "stdout_logfile": str(self.logs / f"{part.name}.log"),
                "stdout_logfile_backups": "1",
            }
            if part.user is not None:
                config[f"program:{part.name}"]["user"] = str(part.user)
        with self.configuration.open("w") as file:
            config.write(file)

    def _error(self, part: str, how: str) -> click.ClickException:
        log = self.logs / f"{part}.log"
        lines = []
        if log.exists():
            lines = log.read_text(errors="replace").splitlines()
        return click.ClickException(
            "\n  ".join([f"{part} {how}", *lines[-LAST_LINES:]])
        )


def until_stdin_closes(*command: str) -> list[str]:
    """Return a command that ends with whoever holds its standard input.

    supervisord holds that of each part. However it ends, by SIGKILL too, the
    kernel closes them.
    """
    return ["/bin/sh", "-c", SUPERVISOR, "sh", *command]
