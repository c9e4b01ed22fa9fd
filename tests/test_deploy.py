"""Proofs for deploy/: its own programs read it, and nginx does what it says."""

import asyncio
import json
import os
import re
import shutil
import socket
import string
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, closing
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientConnectionError, ClientSession, TCPConnector, web
from yarl import URL

from cookbook import cluster
from cookbook.project import files_of, read_project, write_project
from cookbook.server import DRAIN_TIMEOUT, SHUTDOWN_TIMEOUT
from recipes.production import after_response, database
from tests.conftest import Serve
from tests.servers import (
    ROOT,
    START_TIMEOUT,
    TIMEOUT,
    UNMEASURED,
    copy_sources,
)

DEPLOY = ROOT / "deploy"
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::\?)?\}")

StartEdge = Callable[..., Awaitable[URL]]


async def show(request: web.Request) -> web.Response:
    return web.json_response(dict(request.headers))


@pytest.fixture
async def start_edge(serve: Serve, tmp_path: Path) -> AsyncIterator[StartEdge]:
    """A function that puts nginx, as the cluster has it, before a server.

    A socket is one that listens. With neither, no worker is there. What else
    it is given is for `cluster.nginx`.
    """
    async with AsyncExitStack() as stack:

        async def start(
            app: web.Application | socket.socket | None, **options: Any
        ) -> URL:
            workers = cluster.free_port()
            if isinstance(app, socket.socket):
                workers = app.getsockname()[1]
            elif app is not None:
                app.router.add_get("/", show)
                workers = (await serve(app)).port
            port = cluster.free_port()
            listen = f"127.0.0.1:{port}"
            part = await asyncio.to_thread(
                cluster.nginx,
                tmp_path,
                listen,
                f"127.0.0.1:{workers}",
                **options,
            )
            log = stack.enter_context((tmp_path / "log").open("wb"))
            process = await asyncio.create_subprocess_exec(
                *part.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                # At its end it ends its group.
                start_new_session=True,
            )
            stack.push_async_callback(process.wait)
            assert process.stdin is not None
            stack.callback(process.stdin.close)
            async with asyncio.timeout(TIMEOUT):
                while True:
                    assert process.returncode is None, log.name
                    try:
                        _, writer = await asyncio.open_connection(
                            "127.0.0.1", port
                        )
                        break
                    except ConnectionRefusedError:
                        await asyncio.sleep(0.01)
            writer.close()
            return URL(f"http://localhost:{port}/")

        yield start


async def exchange(url: URL, request: bytes) -> bytes:
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


# What nginx does


@pytest.mark.slow("it starts nginx")
@pytest.mark.parametrize(
    ("request_line", "more", "status"),
    [
        ("nonsense", "", 400),
        ("GET / HTTP/1.1", f"X-Long: {'a' * 9000}\r\n", 431),
        (f"GET /{'a' * 9000} HTTP/1.1", "", 414),
        ("TRACE / HTTP/1.1", "", 405),
        ("POST / HTTP/1.1", f"Content-Length: {2**20 + 1}\r\n", 413),
    ],
)
async def test_what_the_edge_refuses_is_json(
    start_edge: StartEdge, request_line: str, more: str, status: int
) -> None:
    url = await start_edge(web.Application())
    request = f"{request_line}\r\nHost: a\r\n{more}Connection: close\r\n\r\n"
    answer = await exchange(url, request.encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Type: application/json" in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert b"Retry-After" not in head
    assert re.fullmatch(rb'\{"error": "[a-zA-Z0-9 ]+"\}\n', body)


async def test_a_body_of_the_largest_size_passes(
    start_edge: StartEdge, tmp_path: Path
) -> None:
    async def count(request: web.Request) -> web.Response:
        return web.json_response(len(await request.read()))

    app = web.Application(client_max_size=2**21)
    app.router.add_post("/", count)
    url = await start_edge(app)
    async with (
        ClientSession() as client,
        client.post(url, data=bytes(2**20)) as response,
    ):
        assert await response.json() == 2**20
    # No body is written to a disk.
    assert not list((tmp_path / "body").rglob("*.*"))


async def test_what_a_client_claims_of_itself_is_replaced(
    start_edge: StartEdge,
) -> None:
    url = await start_edge(web.Application())
    claims = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=203.0.113.7",
    }
    async with (
        ClientSession() as client,
        client.get(url, headers=claims) as response,
    ):
        seen = await response.json()
    assert seen["X-Forwarded-For"] == "127.0.0.1"
    assert seen["X-Forwarded-Proto"] == "http"
    assert "Forwarded" not in seen
    # With its port: a browser's Origin has it.
    assert seen["Host"] == f"localhost:{url.port}"


WELL_FORMED = string.ascii_letters + string.digits + "_.:/+=-"


@pytest.mark.slow("it starts nginx")
async def test_an_id_that_can_harm_no_log_is_the_client_s(
    start_edge: StartEdge, tmp_path: Path
) -> None:
    url = await start_edge(web.Application())
    chosen = [*WELL_FORMED, WELL_FORMED, "x" * 128]
    harmful = [chr(code) for code in range(1, 256) if code not in b"\r\n"]
    harmful = [f"a{c}b" for c in harmful if c not in WELL_FORMED]
    seen = []
    for sent in [*chosen, *harmful, "", "x" * 129, "a\r\nX-Request-ID: b"]:
        head = f"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: {sent}\r\n"
        request = f"{head}Connection: close\r\n\r\n".encode("latin-1")
        _, _, body = (await exchange(url, request)).partition(b"\r\n\r\n")
        # The server says which headers it has got, once each.
        seen.append(json.loads(body).get("X-Request-ID"))
    assert seen[: len(chosen)] == chosen
    others = seen[len(chosen) :]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in others)
    assert len(set(others)) == len(others)
    # Its line comes after its answer.
    async with asyncio.timeout(TIMEOUT):
        while len(  # noqa: ASYNC110
            lines := re.findall('.*"GET /" .*', (tmp_path / "log").read_text())
        ) < len(seen):
            await asyncio.sleep(0.01)
    assert [line.rpartition(", ")[2] for line in lines] == seen


async def test_a_websocket_passes(start_edge: StartEdge) -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_str(await ws.receive_str())
        await ws.close(code=4001)
        return ws

    app = web.Application()
    app.router.add_get("/ws", echo)
    url = await start_edge(app)
    async with ClientSession() as client, client.ws_connect(url / "ws") as ws:
        await ws.send_str("hi")
        assert await ws.receive_str(timeout=TIMEOUT) == "hi"
        await ws.receive(timeout=TIMEOUT)
        assert ws.close_code == 4001


async def test_a_stream_that_asks_for_it_is_not_collected(
    start_edge: StartEdge,
) -> None:
    go_on = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-Accel-Buffering": "no"})
        await response.prepare(request)
        await response.write(b"one")
        await go_on.wait()
        return response

    app = web.Application()
    app.router.add_get("/stream", stream)
    url = await start_edge(app)
    async with (
        asyncio.timeout(TIMEOUT),
        ClientSession() as client,
        client.get(url / "stream") as response,
    ):
        assert await response.content.readany() == b"one"
        go_on.set()
        assert await response.read() == b""


async def test_connections_to_the_workers_are_kept(
    start_edge: StartEdge,
) -> None:
    async def show_port(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.json_response(request.transport.get_extra_info("peername"))

    app = web.Application()
    app.router.add_get("/port", show_port)
    url = await start_edge(app)
    seen = set()
    async with ClientSession(
        connector=TCPConnector(force_close=True)
    ) as client:
        for _ in range(20):
            async with client.get(url / "port") as response:
                seen.add(tuple(await response.json()))
    # One for each process of nginx.
    assert len(seen) <= (os.cpu_count() or 1)


async def test_workers_that_are_away_are_a_502_that_says_when_to_come_again(
    start_edge: StartEdge,
) -> None:
    url = await start_edge(None)
    async with ClientSession() as client, client.get(url) as response:
        assert response.status == 502
        assert response.headers["Retry-After"] == "1"
        reason = "no worker answers, or all are busy"
        assert await response.json() == {"error": reason}


@pytest.fixture
def impatient(tmp_path: Path) -> Path:
    """Files of nginx that let it wait for a worker for a fifth of a second."""
    folder = tmp_path / "deploy"
    copy_sources(DEPLOY, folder)
    file = folder / "cookbook.conf.template"
    text, changes = re.subn(
        r"(proxy_(?:connect|read)_timeout) \d+s;",
        r"\1 200ms;",
        file.read_text(),
    )
    assert changes == 2
    file.write_text(text)
    return folder


async def ask_who_hangs(url: URL, log: Path, doing: str) -> None:
    """Ask for /hang, and see what a client and an operator get to see."""
    async with asyncio.timeout(TIMEOUT), ClientSession() as client:
        query = {"ticket": "secret"}
        async with client.get(url / "hang", params=query) as response:
            assert response.status == 504
            assert response.headers["Retry-After"] == "1"
            reason = (
                "no worker answers in time, and one may still do what was asked"
            )
            assert await response.json() == {"error": reason}
        cause = rf"\[error\] .* timed out\) while {doing} upstream"
        assert re.search(cause, log.read_text())
        # Its line comes after its answer.
        while not (  # noqa: ASYNC110
            lines := re.findall('.*"GET /hang" 504 .*', log.read_text())
        ):
            await asyncio.sleep(0.01)
    assert "secret" not in lines[0]


async def test_a_worker_that_hangs_is_asked_once_and_is_a_504(
    start_edge: StartEdge, impatient: Path, tmp_path: Path
) -> None:
    is_over = asyncio.Event()
    asked = []

    async def hang(request: web.Request) -> web.Response:
        asked.append(request)
        await is_over.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/hang", hang)
    url = await start_edge(app, templates=impatient)
    await ask_who_hangs(url, tmp_path / "log", "reading response header from")
    is_over.set()
    assert len(asked) == 1


async def test_workers_that_accept_nothing_are_a_504(
    start_edge: StartEdge, impatient: Path, tmp_path: Path
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as worker,
        ExitStack() as stack,
    ):
        # One may wait, or a few: the system drops the others.
        for _ in range(8):
            client = stack.enter_context(closing(socket.socket()))
            client.setblocking(False)
            client.connect_ex(worker.getsockname())
        url = await start_edge(worker, templates=impatient)
        await ask_who_hangs(url, tmp_path / "log", "connecting to")


@pytest.mark.parametrize(
    ("per_address", "total", "status"), [(2, 100, 429), (100, 2, 502)]
)
async def test_too_many_at_once_are_refused_and_not_queued(
    start_edge: StartEdge, per_address: int, total: int, status: int
) -> None:
    go_on = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        arrived.release()
        await go_on.wait()
        return web.json_response({})

    arrived = asyncio.Semaphore(0)
    app = web.Application()
    app.router.add_get("/wait", wait)
    url = await start_edge(app, max_connections=total, per_address=per_address)
    async with asyncio.timeout(TIMEOUT), ClientSession() as client:

        async def ask() -> int:
            async with client.get(url / "wait") as response:
                return response.status

        waiting = [asyncio.create_task(ask()) for _ in range(2)]
        for _ in waiting:
            await arrived.acquire()
        async with client.get(url / "wait") as response:
            assert response.status == status
            assert response.headers["Retry-After"] == "1"
            assert list(await response.json()) == ["error"]
        go_on.set()
        assert await asyncio.gather(*waiting) == [200, 200]


# What each file says


def test_nginx_accepts_its_files(tmp_path: Path) -> None:
    part = cluster.nginx(tmp_path, "127.0.0.1:8080", "127.0.0.1:8081")
    # Without the shell, which would end at once.
    program = part.command.index(str(cluster.find_nginx()))
    checked = subprocess.run(
        [*part.command[program:], "-t"], capture_output=True
    )
    assert b"test is successful" in checked.stderr, checked.stderr
    assert b"[warn]" not in checked.stderr
    for file in DEPLOY.glob("*.conf.template"):
        # What is not filled in would be a variable of nginx, and empty.
        assert not VARIABLE.search((tmp_path / file.stem).read_text())


@pytest.mark.slow("it starts a program")
def test_gunicorn_accepts_its_file() -> None:
    command = [sys.executable, "-m", "gunicorn", "--check-config"]
    command += ["--config", "deploy/gunicorn.conf.py"]
    environment = {
        "ALLOW_HOSTS": "a.example b.example",
        "SESSION_KEY": "random",
    }
    subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, check=True
    )


def test_a_worker_has_the_time_that_its_end_takes() -> None:
    settings: dict[str, Any] = {}
    exec((DEPLOY / "gunicorn.conf.py").read_text(), settings)
    # It is told within a second. aiohttp waits twice.
    longest = 1 + DRAIN_TIMEOUT + 2 * SHUTDOWN_TIMEOUT
    assert longest < settings["graceful_timeout"] < settings["timeout"]
    unit = (DEPLOY / "cookbook.service").read_text()
    [stop] = re.findall(r"TimeoutStopSec=(\d+)", unit)
    assert settings["graceful_timeout"] < int(stop)


def test_nginx_ends_kept_connections_before_a_worker_does() -> None:
    from cookbook.connection import HEADERS_TIMEOUT

    text = (DEPLOY / "cookbook.conf.template").read_text()
    upstream = text[text.index("upstream workers") :]
    [seconds] = re.findall(r"keepalive_timeout (\d+)s;", upstream)[:1]
    assert int(seconds) < DRAIN_TIMEOUT < HEADERS_TIMEOUT


def test_postgres_has_the_connections_of_all_workers_in_a_reload() -> None:
    settings: dict[str, Any] = {}
    exec((DEPLOY / "gunicorn.conf.py").read_text(), settings)
    source = Path(after_response.__file__).read_text()
    [of_jobs] = map(int, re.findall(r"max_size=(\d+)", source))
    of_worker = database.MAX_CONNECTIONS + of_jobs
    most = 2 * settings["workers"] * of_worker + of_jobs
    text = (ROOT / "docs" / "going_live.md").read_text()
    assert f"up to {of_worker} connections to PostgreSQL" in text
    assert f"{most} connections with four" in text
    command = " ".join(COMPOSE["services"]["postgres"]["command"])
    [allowed] = map(int, re.findall(r"max_connections=(\d+)", command))
    # Some look whether it is there.
    assert most + 20 < allowed


@pytest.mark.parametrize("name", ["cookbook", "cookbook-jobs"])
def test_systemd_accepts_a_unit(tmp_path: Path, name: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd here")
    text = (DEPLOY / f"{name}.service").read_text()
    # It looks whether the program is there.
    text, programs = re.subn(
        "=/srv/cookbook/.venv/bin/[a-z]+ ", f"={sys.executable} ", text
    )
    assert programs == text.count(f"={sys.executable} ") >= 1
    unit = tmp_path / f"{name}.service"
    unit.write_text(text)
    checked = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (checked.returncode, checked.stdout) == (0, "")


COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_compose_checks_the_health_of_each_service() -> None:
    services = COMPOSE["services"]
    parts = {"nginx", "workers", "jobs", "postgres", "valkey"}
    assert set(services) == parts
    for name, service in services.items():
        # Who runs jobs has no port to ask.
        if name != "jobs":
            assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        for other, condition in service.get("depends_on", {}).items():
            assert other in services
            assert condition == {"condition": "service_healthy"}
    # What is exposed is the edge, and to this machine alone.
    published = [name for name in services if "ports" in services[name]]
    assert published == ["nginx"]


def test_compose_fills_in_each_variable_of_nginx() -> None:
    text = (DEPLOY / "cookbook.conf.template").read_text()
    assert set(VARIABLE.findall(text)) == set(
        COMPOSE["services"]["nginx"]["environment"]
    )


def test_compose_gives_the_workers_an_address_that_nobody_else_gets() -> None:
    services = COMPOSE["services"]
    address = services["workers"]["networks"]["default"]["ipv4_address"]
    assert services["nginx"]["environment"]["WORKERS"] == f"{address}:8081"
    [network] = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert IPv4Address(address) in IPv4Network(network["subnet"])
    assert IPv4Address(address) not in IPv4Network(network["ip_range"])
    # Those that nginx has are believed.
    proxies = services["workers"]["environment"]["PROXIES"]
    assert IPv4Network(network["ip_range"]).subnet_of(IPv4Network(proxies))


def test_compose_itself_accepts_its_file() -> None:
    docker = shutil.which("docker")
    command = [str(docker), "compose", "-f", str(DEPLOY / "compose.yaml")]
    if (
        docker is None
        or subprocess.run(
            [docker, "compose", "version"], capture_output=True
        ).returncode
    ):
        pytest.skip("no docker compose here")
    secrets = {"SESSION_KEY": "a", "POSTGRES_PASSWORD": "b"}
    subprocess.run(
        [*command, "config", "--quiet"],
        env={**os.environ, **secrets},
        check=True,
    )


def test_hadolint_finds_nothing_in_a_dockerfile(tmp_path: Path) -> None:
    project = read_project(
        ROOT / "recipes", ["parallel_events"], "events", production=True
    )
    write_project(tmp_path / "events", files_of(project, DEPLOY))
    outcome = subprocess.run(
        [
            *(Path(sys.executable).with_name("hadolint"), "--no-color"),
            *(ROOT / "Dockerfile", DEPLOY / "Dockerfile"),
            tmp_path / "events" / "Dockerfile",
        ],
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_the_image_has_all_that_the_workers_need() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {
        word
        for line in re.findall("^COPY (.+)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    }
    needed = {"aiohttp_cookbook", "app.py", "cookbook", "recipes", "verdicts"}
    # Without it, pip cannot install from the folder.
    needed |= {"hatch_build.py", "pyproject.toml"}
    needed |= {"benchmarks/attacks.json", "benchmarks/results.json"}
    assert needed | {"deploy", "constraints.txt"} <= copied


def instructions_of(dockerfile: Path) -> list[tuple[str, str]]:
    """Return each instruction, and what follows it, on one line."""
    text = re.sub(r"(?m)^#.*\n", "", dockerfile.read_text())
    text = re.sub(r"\\\n\s*", "", text)
    pairs = [line.partition(" ") for line in text.splitlines()]
    return [(name, rest) for name, _, rest in pairs]


def make_environment(folder: Path) -> Path:
    """Make one with nothing in it but a pip; return where its programs are."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder], check=True
    )
    programs = folder / "bin"
    uv = Path(sys.executable).with_name("uv")
    pip = programs / "pip"
    # uv does the same as pip, in a tenth of the time, from its cache.
    pip.write_text(
        "#!/bin/sh\n"
        'test "$1 $2" = "install --no-cache-dir" || exit 1\n'
        "shift 2\n"
        f"exec {uv} pip install --quiet --python {programs}/python "
        '"$@"\n'
    )
    pip.chmod(0o755)
    return programs


def build_image(folder: Path, environment: dict[str, str]) -> list[str]:
    """Do each step of the Dockerfile in a folder; return the command."""
    command = []
    for name, rest in instructions_of(DEPLOY / "Dockerfile"):
        if name == "COPY":
            *sources, target = rest.split()
            for source in map(ROOT.joinpath, sources):
                if source.is_dir():
                    copy_sources(source, folder / target)
                else:
                    (folder / target).mkdir(exist_ok=True)
                    shutil.copy(source, folder / target)
        elif name == "RUN":
            for step in rest.split(" && "):
                # What makes a user would change this machine.
                if not step.startswith(("useradd ", "mkdir ", "chown ")):
                    subprocess.run(
                        ["/bin/sh", "-c", step],
                        cwd=folder,
                        env=environment,
                        check=True,
                        timeout=100,
                    )
        elif name == "CMD":
            command = json.loads(rest)
        else:
            assert name in {"FROM", "WORKDIR", "USER"}
    return command


@pytest.mark.full("it installs packages")
async def test_the_image_serves_by_what_its_file_copies_and_installs(
    tmp_path: Path,
) -> None:
    image = tmp_path / "image"
    image.mkdir()
    programs = make_environment(tmp_path / "environment")
    port = cluster.free_port()
    environment = {
        **os.environ,
        **UNMEASURED,
        "PATH": f"{programs}:/usr/bin:/bin",
        "BIND": f"127.0.0.1:{port}",
        "WEB_CONCURRENCY": "1",
        "DATA_DIR": str(tmp_path),
        "SESSION_KEY": "random",
    }
    environment.pop("PYTHONPATH", None)
    command = await asyncio.to_thread(build_image, image, environment)
    process = await asyncio.create_subprocess_exec(
        programs / command[0], *command[1:], cwd=image, env=environment
    )
    try:
        async with asyncio.timeout(START_TIMEOUT), ClientSession() as client:
            url = URL(f"http://127.0.0.1:{port}")
            while True:
                try:
                    async with client.get(url / "healthz") as response:
                        assert response.status == 200
                        break
                except ClientConnectionError:
                    assert process.returncode is None
                    await asyncio.sleep(0.1)
            async with client.get(url / "production") as response:
                # From benchmarks/results.json.
                assert "What many sockets take" in await response.text()
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            # The worker sees it within a second, and ends.
            process.kill()
            await process.wait()
