"""`run`: one file alone, with the services that it needs."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import click

from cookbook.commands.names import (
    RecipeName,
    answer_file,
    complete_trap,
    production_file,
    trap_file,
)

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@click.command()
@click.argument("name", type=RecipeName())
@click.option("--production", is_flag=True, help="Run the second file.")
@click.option(
    "--trap",
    metavar="WHAT",
    shell_complete=complete_trap,
    help="Run the file with this mistake in it.",
)
@click.option(
    "--port",
    envvar=["COOKBOOK_PORT", "PORT"],
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
)
@click.option(
    "--redis-url",
    envvar=["COOKBOOK_REDIS_URL", "REDIS_URL"],
    help="A Redis to use, instead of one started for the file.",
)
@click.option(
    "--postgres-url",
    envvar=["COOKBOOK_POSTGRES_URL", "POSTGRES_URL"],
    help="A PostgreSQL to use, instead of one started for the file.",
)
def run(
    name: str,
    production: bool,
    trap: str | None,
    port: int,
    redis_url: str | None,
    postgres_url: str | None,
) -> None:
    """Run one recipe alone, as its page says to try it.

    A Redis or a PostgreSQL that it needs is started, and ended with it. What it
    stores goes with it too, unless DATABASE names a file. SESSION_KEY and TOKEN
    are made up where they are not set.

    \b
    Examples:
      $ aiohttp-cookbook run database
      $ aiohttp-cookbook run parallel_events --production --port 8081
      $ aiohttp-cookbook run websocket_logout --trap no_origin_check
    """
    if trap is None:
        file = production_file(name) if production else answer_file(name)
    elif production:
        raise click.UsageError("a trap has a file of its own: no --production")
    else:
        file = trap_file(name, trap)
    # Until it runs: what was started is ended, as at Ctrl-C.
    for number in _signals():
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            environment = _environment(file, redis_url, postgres_url, stack)
        except (OSError, RuntimeError) as error:
            raise click.ClickException(str(error)) from error
        code = _run(file, {**environment, "PORT": str(port)})
    # As a shell has it, where a signal has ended the program.
    sys.exit(code if code >= 0 else 128 - code)


def _environment(
    file: Path,
    redis_url: str | None,
    postgres_url: str | None,
    stack: ExitStack,
) -> dict[str, str]:
    """Return the variables of a recipe, and start what they name."""
    from cookbook.postgres_server import postgres_server
    from cookbook.redis_server import redis_server
    from cookbook.sandbox import DEMO_SECRETS
    from cookbook.temporary import temporary_folder

    source = file.read_text(encoding="utf-8")
    environment = {**DEMO_SECRETS, **os.environ}
    if "REDIS_URL" in source:
        environment["REDIS_URL"] = redis_url or stack.enter_context(
            redis_server()
        )
    if "POSTGRES_URL" in source:
        environment["POSTGRES_URL"] = postgres_url or stack.enter_context(
            postgres_server()
        )
    reads_database = 'environ.get("DATABASE"' in source
    if reads_database and "DATABASE" not in environment:
        folder = stack.enter_context(temporary_folder("cookbook-run-"))
        environment["DATABASE"] = str(folder / f"{file.stem}.db")
    return environment


def _run(file: Path, environment: dict[str, str]) -> int:
    """Run a file until it ends; it gets the signals that are sent to us.

    It ends with this process, also where SIGKILL ends that.
    """
    from cookbook.supervised import until_stdin_closes

    # A group of its own: Ctrl-C would reach it twice, which means "at once".
    process = subprocess.Popen(
        until_stdin_closes(sys.executable, str(file)),
        env=environment,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    for number in _signals():
        signal.signal(number, forward)
    return process.wait()


def _signals() -> list[signal.Signals]:
    """Return those that end the program; nohup has SIGHUP ignored."""
    return [
        number
        for number in SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
