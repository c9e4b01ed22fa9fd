"""Runs the cookbook: options, Redis, signals, start and stop."""

import asyncio
import errno
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from pathlib import Path

import aiohttp
import click
from aiohttp import web
from redis import Redis

from cookbook.connection import Runner
from cookbook.log import AccessLog, BackgroundStream, count_refused_connections
from cookbook.recipe import Recipe
from cookbook.redis_server import redis_server
from cookbook.temporary import temporary_folder

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop
}
"""Makers of event loops, the quickest last."""

with suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop

SHUTDOWN_TIMEOUT = 5.0
"""Seconds that aiohttp waits, twice, before it cancels a request in flight."""

DRAIN_TIMEOUT = 6.0
"""Seconds in which a proxy ends the connections that it keeps to a worker.

nginx has to be told so: see `keepalive_timeout` in deploy/.
"""

EVERY_ADDRESS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104
"""Hosts that listen on all interfaces."""

LOCALHOST = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts that this machine calls localhost."""


def command(
    create_app: Callable[..., web.Application], recipes: Sequence[Recipe]
) -> click.Command:
    """Make the command line that serves the application of `create_app`."""

    @click.command(
        context_settings={
            "auto_envvar_prefix": "COOKBOOK",
            "show_default": True,
        }
    )
    @click.option("--host", show_envvar=True, default="127.0.0.1")
    @click.option(
        "--port",
        envvar=["COOKBOOK_PORT", "PORT"],
        show_envvar=True,
        type=click.IntRange(0, 65535),
        default=8080,
    )
    @click.option(
        "--redis-url",
        envvar=["COOKBOOK_REDIS_URL", "REDIS_URL"],
        show_envvar=True,
        help="A Redis to use, instead of one started for the cookbook.",
    )
    @click.option(
        "--postgres-url",
        envvar=["COOKBOOK_POSTGRES_URL", "POSTGRES_URL"],
        show_envvar=True,
        default="postgresql://localhost/cookbook",
        help="A PostgreSQL; recipes that need one answer 503 without it.",
    )
    @click.option(
        "--data-dir",
        envvar=["COOKBOOK_DATA_DIR", "DATA_DIR"],
        show_envvar=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Where the databases are, instead of a temporary folder.",
    )
    @click.option(
        "--session-key",
        envvar=["COOKBOOK_SESSION_KEY", "SESSION_KEY"],
        show_envvar=True,
        default="random",
        help="A Fernet key for sessions; 'random' makes one for this process.",
    )
    @click.option(
        "--allow-host",
        "allow_hosts",
        show_envvar=True,
        multiple=True,
        metavar="NAME",
        help="A further name that clients may call this server by.",
    )
    @click.option(
        "--trust-proxy",
        show_envvar=True,
        is_flag=True,
        help="Believe X-Forwarded-Proto: a proxy in front sets it.",
    )
    @click.option(
        "--loop",
        show_envvar=True,
        type=click.Choice(list(LOOPS)),
        default=list(LOOPS)[-1],
        help="The event loop; uvloop is quicker, where it is installed.",
    )
    def serve(
        host: str,
        port: int,
        redis_url: str | None,
        postgres_url: str,
        data_dir: Path | None,
        session_key: str,
        allow_hosts: tuple[str, ...],
        trust_proxy: bool,
        loop: str,
    ) -> None:
        """Serve the aiohttp cookbook."""
        # Until the loop listens: what was opened is closed, as at Ctrl-C.
        for number in _signals():
            signal.signal(number, signal.default_int_handler)
        compress_quickly()
        with ExitStack() as stack:
            log = stack.enter_context(_logging())
            if data_dir is None:
                folder = temporary_folder("cookbook-")
                data_dir = stack.enter_context(folder)
            try:
                redis_url = redis_url or stack.enter_context(redis_server())
                # Connects to nothing, but knows what is not a URL of a Redis.
                Redis.from_url(redis_url).close()
            except (OSError, RuntimeError, ValueError) as error:
                raise click.ClickException(str(error)) from error
            name = _name_of(host)
            if name != "localhost":
                allow_hosts += (name,)
            app = create_app(
                redis_url=redis_url,
                postgres_url=postgres_url,
                data_dir=data_dir,
                session_key=session_key,
                allow_hosts=allow_hosts,
                trust_proxy=trust_proxy,
            )
            runner = Runner(
                app,
                shutdown_timeout=SHUTDOWN_TIMEOUT,
                access_log=AccessLog(log),
            )
            with asyncio.Runner(loop_factory=LOOPS[loop]) as loop_runner:
                loop_runner.run(_serve(runner, host, port, recipes))

    return serve


def compress_quickly() -> None:
    """Let aiohttp compress by isal, where that is installed."""
    with suppress(ImportError):
        import cookbook.compression as quick

        aiohttp.set_zlib_backend(quick)


@contextmanager
def _logging() -> Iterator[BackgroundStream]:
    """Log to standard error, without a wait; warnings and the like, too."""
    if sys.stderr is None:
        # Its descriptor is closed, and may be a socket's by now.
        descriptor = os.open(os.devnull, os.O_WRONLY)
    else:
        descriptor = sys.stderr.fileno()
    with BackgroundStream(descriptor) as log, redirect_stderr(log):
        logging.basicConfig(
            stream=log,
            level=logging.INFO,
            format="%(asctime)s %(levelname)s %(message)s",
        )
        yield log


async def _serve(
    runner: Runner, host: str, port: int, recipes: Sequence[Recipe]
) -> None:
    loop = asyncio.get_running_loop()
    told_to_end = _listen_to_signals()
    count_refused_connections(loop)
    # Before a recipe starts, which may have to say what it lacks.
    with _listening_on(host, port):
        trial = await loop.create_server(asyncio.Protocol, host, port)
    trial.close()
    try:
        await runner.setup()
        with _listening_on(host, port):
            await web.TCPSite(runner, host, port).start()
        # What is there by now stays: the collector need not look at it again.
        gc.freeze()
        port = runner.addresses[0][1]
        _print_contents(f"{_name_of(host)}:{port}", recipes)
        if host in EVERY_ADDRESS:
            click.echo("It goes by localhost. Other names need --allow-host.")
        await told_to_end.wait()
    finally:
        await runner.cleanup()


@contextmanager
def _listening_on(host: str, port: int) -> Iterator[None]:
    """Say in one line why an address cannot be had."""
    try:
        yield
    except UnicodeError:
        raise click.ClickException(f"{host} is no host") from None
    except OSError as error:
        reason = f"cannot listen on {host}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} of {host} is in use"
        raise click.ClickException(reason) from error


def _listen_to_signals() -> asyncio.Event:
    """Return an event that the first signal sets; the second ends at once."""
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        told_to_end.set()
        for number in _signals():
            # Not an exception: threads and tasks may be what hangs.
            signal.signal(number, lambda *_: os._exit(1))

    for number in _signals():
        loop.add_signal_handler(number, end)
    return told_to_end


def _signals() -> list[signal.Signals]:
    """Return those that end the cookbook; nohup has SIGHUP ignored."""
    hang_up = [signal.SIGHUP]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        hang_up = []
    return [signal.SIGINT, signal.SIGTERM, *hang_up]


def _name_of(host: str) -> str:
    """Return what a browser on this machine calls a server on `host`."""
    if host in EVERY_ADDRESS | LOCALHOST:
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _print_contents(address: str, recipes: Sequence[Recipe]) -> None:
    lines = [f"The aiohttp cookbook is at http://{address}/"]
    lines += [
        f"  http://{address}{recipe.prefix:<20} {recipe.docs.title}"
        for recipe in recipes
    ]
    click.echo("\n".join(lines))
