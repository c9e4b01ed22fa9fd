"""Proofs for `make cluster`, and for the files of deploy/ that it runs."""

import asyncio
import os
import re
import resource
import secrets
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import (
    AsyncExitStack,
    closing,
)
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
import pytest_asyncio
from aiohttp import ClientSession, TCPConnector, web
from click.testing import CliRunner

from app import COOKBOOK, PRODUCTION
from cookbook import cluster
from cookbook.recipe import Recipe
from cookbook.runner import dialogue_runner
from tests.clusters import (
    END_TIMEOUT,
    JOBS,
    START_TIMEOUT,
    Cluster,
    running_cluster,
    workers_of,
)
from tests.servers import (
    MEASURED,
    TIMEOUT,
    UNMEASURED,
    serving_in_thread,
    until_it_is_empty,
)

LONGEST_ANSWER = 30.0
"""Seconds that a request may take while workers come and go.

Alone, it is a fraction of one: nobody waits for those that start.
"""

pytestmark = pytest.mark.slow("it starts a cluster")


async def until_they_are_gone(processes: list[psutil.Process]) -> None:
    _, left = await asyncio.to_thread(
        psutil.wait_procs, processes, timeout=END_TIMEOUT
    )
    assert not left


# The start and the end


async def test_a_cluster_starts_heals_and_ends_with_ctrl_c(
    short_folder: Path,
) -> None:
    async with (
        running_cluster(
            short_folder, "--workers", "2", *JOBS, **MEASURED
        ) as running,
        ClientSession(running.url) as client,
    ):
        async with client.get("/readyz") as response:
            assert response.status == 200
        async with client.get("/database/answer") as response:
            assert await response.json() == {"answer": 42}
        # Another process than the one that answers does the work.
        pinging = client.post("/production/after-response/ping?work=0")
        async with pinging as response:
            assert response.status == 200
        async with asyncio.timeout(START_TIMEOUT):
            while True:
                async with client.get(
                    "/production/after-response/count"
                ) as response:
                    if (await response.json()) == {"count": 1, "pending": 0}:
                        break
        # A part that dies is there again.
        valkey = await running.pid_of("valkey")
        os.kill(valkey, signal.SIGKILL)
        async with asyncio.timeout(START_TIMEOUT):
            while await running.pid_of("valkey") in (0, valkey):
                pass
            while not await asyncio.to_thread(
                cluster.is_ready, f"{running.url}/readyz"
            ):
                pass
        processes = running.processes()
        assert len(processes) >= 10
        assert await running.end(signal.SIGINT) == 0
        await until_they_are_gone(processes)
    await until_it_is_empty(short_folder)


@pytest.mark.full("it starts a cluster")
async def test_a_cluster_ends_where_its_command_is_killed(
    short_folder: Path,
) -> None:
    async with running_cluster(
        short_folder, "--workers", "1", *JOBS, **UNMEASURED
    ) as running:
        processes = running.processes()
        assert await running.end(signal.SIGKILL) == -signal.SIGKILL
        await until_they_are_gone(processes)
    await until_it_is_empty(short_folder)


async def test_a_cluster_with_engines_of_others_ends_where_supervisord_dies(
    short_folder: Path, redis_url: str, postgres_url: str
) -> None:
    engines = ("--redis-url", redis_url, "--postgres-url", postgres_url)
    async with running_cluster(
        short_folder, "--workers", "1", *engines, **MEASURED
    ) as running:
        processes = running.processes()
        assert not list(running.folder.glob("valkey"))
        assert not list(running.folder.glob("postgres"))
        pid = int((running.folder / "supervisord.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(END_TIMEOUT):
            assert await running.process.wait() == 1
        await until_they_are_gone(processes)
    await until_it_is_empty(short_folder)


def test_a_port_that_is_taken_is_one_line() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cluster.main, ["--port", str(port)])
    assert result.exit_code == 1
    assert result.output == (
        f"Error: port {port} of 127.0.0.1: Address already in use. Take "
        f"another one: CLUSTER_PORT={port + 1} make cluster\n"
    )


@pytest.mark.parametrize(
    ("function", "name", "others"),
    [
        ("find_redis", "valkey-server", []),
        ("find_postgres", "postgres", []),
        # It is looked for when the files of the engines have been made.
        (
            "find_nginx",
            "nginx",
            ["--redis-url", "redis:///", "--postgres-url", "postgresql:///"],
        ),
    ],
)
def test_a_server_that_is_missing_is_one_line(
    function: str,
    name: str,
    others: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, function, lambda: None)
    port = str(cluster.free_port())
    result = CliRunner().invoke(cluster.main, ["--port", port, *others])
    assert result.exit_code == 1
    assert result.output == (
        f"Error: {name} was not found on PATH: pip install '.[engines]' "
        "brings one\n"
    )


def test_nginx_comes_from_path_first_then_from_its_wheel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/{name}")
    assert cluster.find_nginx() == "/usr/nginx"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert str(cluster.find_nginx()).endswith("/nginx")
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert cluster.find_nginx() is None


@pytest.mark.parametrize(
    ("most", "asked"), [(4096, 4096), (resource.RLIM_INFINITY, 10_240)]
)
def test_a_cluster_may_open_as_much_as_the_system_allows(
    monkeypatch: pytest.MonkeyPatch, most: int, asked: int
) -> None:
    calls = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, most))
    monkeypatch.setattr(
        resource, "setrlimit", lambda *arguments: calls.append(arguments)
    )
    cluster.allow_many_descriptors()
    assert calls == [(resource.RLIMIT_NOFILE, (asked, asked))]


def test_a_cluster_is_ready_when_a_worker_says_so() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]))

    app = web.Application()
    app.router.add_get("/{status}", answer)
    with serving_in_thread(app) as server:
        assert cluster.is_ready(f"{server.url}200")
        assert not cluster.is_ready(f"{server.url}503")
    assert not cluster.is_ready(f"{server.url}200")


# What is true of the recipes behind nginx, with four workers

PER_PROCESS = {
    "recipes.after_response": "it counts what this process has pending",
    "recipes.one_response": "each process has a cache",
    "recipes.parallel_events": "it counts the sockets of one process",
    "recipes.production.parallel_events": "it counts likewise",
    "recipes.websocket_logout": "each process has its sessions and sockets",
}
"""Files that keep something per process, which their dialogue shows."""

CHANGED_BY_NGINX = {
    "recipes.global_gzip": "nginx sends Content-Length before Vary",
    "recipes.production.request_data": "nginx chooses the request's id",
    "recipes.request_data": "nginx chooses the request's id",
}
"""Files whose dialogue shows what nginx does in their place."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Cluster]:
    """A cluster for the tests that break nothing."""
    with TemporaryDirectory(dir="/tmp") as folder:
        async with running_cluster(Path(folder), *JOBS) as running:
            yield running


@pytest.mark.full
@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(recipe, id=recipe.prefix.strip("/"))
        for recipe in COOKBOOK + PRODUCTION
        if recipe.module.__name__ not in {**PER_PROCESS, **CHANGED_BY_NGINX}
    ],
)
async def test_the_dialogue_is_true_behind_nginx(
    recipe: Recipe, tmp_path: Path, shared: Cluster
) -> None:
    async with dialogue_runner(shared.port, recipe.prefix, tmp_path) as shell:
        assert not await shell.play(recipe.docs.dialogue)


@pytest.mark.parametrize(
    "recipe", [each for each in COOKBOOK if each.module.__name__ in PER_PROCESS]
)
def test_an_answer_for_one_process_says_so_and_names_its_second_file(
    recipe: Recipe,
) -> None:
    text = str(recipe.module.__doc__)
    assert re.search(r"\b(one|a|this) process\b", text)
    assert f"production/{recipe.name}.py" in text


@pytest.mark.full
async def test_a_rolling_restart_under_load_fails_no_request(
    shared: Cluster,
) -> None:
    gunicorn = psutil.Process(await shared.pid_of("gunicorn"))
    old = set(workers_of(gunicorn))
    assert len(old) == 4
    failures = []
    answered = 0
    longest = 0.0
    is_over = False

    async def ask(client: ClientSession, number: int) -> None:
        nonlocal answered, longest
        while not is_over:
            began = time.monotonic()
            try:
                if number % 2:
                    asking = client.get("/database/answer")
                else:
                    asking = client.post("/route-table/post", data="tea")
                async with asking as response:
                    text = await response.text()
                    if response.status != 200:
                        failures.append(text)
            except OSError as error:
                failures.append(repr(error))
            answered += 1
            longest = max(longest, time.monotonic() - began)

    connector = TCPConnector(limit=0)
    async with ClientSession(shared.url, connector=connector) as client:
        asking = [asyncio.create_task(ask(client, n)) for n in range(20)]
        gunicorn.send_signal(signal.SIGHUP)
        async with asyncio.timeout(END_TIMEOUT):
            while old & set(workers_of(gunicorn)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            # All by the new ones.
            enough = answered + 200
            while answered < enough:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        is_over = True
        await asyncio.gather(*asking)
    assert not failures
    assert longest < LONGEST_ANSWER
    assert "[ERROR]" not in shared.log_of("gunicorn")


@pytest.mark.full
async def test_an_event_reaches_the_sockets_of_all_workers_once(
    shared: Cluster,
) -> None:
    path = "/production/parallel-events"
    channel = secrets.token_hex(8)
    async with (
        asyncio.timeout(START_TIMEOUT),
        ClientSession(shared.url, connector=TCPConnector(limit=0)) as client,
        AsyncExitStack() as stack,
    ):
        sockets = [
            await stack.enter_async_context(
                client.ws_connect(f"{path}/ws?channel={channel}")
            )
            for _ in range(40)
        ]
        for ws in sockets:
            assert (await ws.receive_json())["type"] == "ready"
        for text in ("first", "second"):
            url = f"{path}/channels/{channel}"
            async with client.post(url, data=text) as response:
                assert response.status == 200
        ids = set()
        for ws in sockets:
            first = await ws.receive_json()
            second = await ws.receive_json()
            assert (first["data"], second["data"]) == ("first", "second")
            ids.add((first["id"], second["id"]))
        # Whichever worker resumes it, a client gets what it has not seen.
        [(seen, unseen)] = ids
        for _ in range(8):
            url = f"{path}/ws?channel={channel}&after={seen}"
            async with client.ws_connect(url) as ws:
                assert (await ws.receive_json())["type"] == "ready"
                assert (await ws.receive_json())["id"] == unseen


@pytest.mark.full
async def test_a_logout_closes_the_sockets_on_all_workers(
    shared: Cluster,
) -> None:
    path = "/production/websocket-logout"
    async with (
        asyncio.timeout(START_TIMEOUT),
        ClientSession(shared.url, connector=TCPConnector(limit=0)) as client,
        AsyncExitStack() as stack,
    ):
        user = {"user": secrets.token_hex(8)}
        async with client.post(f"{path}/login", json=user) as response:
            assert response.status == 200
        sockets = [
            await stack.enter_async_context(client.ws_connect(f"{path}/echo"))
            for _ in range(10)
        ]
        for ws in sockets:
            await ws.send_str("hi")
            assert await ws.receive_str() == "hi"
        async with client.post(f"{path}/logout") as response:
            assert response.status == 200
        for ws in sockets:
            # Not its `close_code`: that is 1006 where the connection has ended
            # before we answer the goodbye.
            message = await ws.receive(timeout=TIMEOUT)
            assert message.data == 4001


@pytest.mark.full
async def test_the_death_of_a_worker_costs_what_it_had_in_hand(
    shared: Cluster,
) -> None:
    gunicorn = psutil.Process(await shared.pid_of("gunicorn"))
    killed, *_ = workers_of(gunicorn)
    statuses = []

    async def ask(client: ClientSession) -> None:
        for _ in range(50):
            async with client.get("/database/answer") as response:
                statuses.append(response.status)
            if len(statuses) == 100:
                killed.kill()

    async with (
        asyncio.timeout(END_TIMEOUT),
        ClientSession(shared.url) as client,
    ):
        await asyncio.gather(*(ask(client) for _ in range(8)))
        # Each has one in hand. Before nginx has seen its answer, that is a
        # 502; a GET on a kept connection is sent again.
        assert set(statuses) <= {200, 502}
        assert statuses.count(502) <= 8
        while len(workers_of(gunicorn)) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.full
async def test_nginx_chooses_the_id_of_a_request(shared: Cluster) -> None:
    headers = {"X-Request-ID": "forged"}
    async with (
        ClientSession(shared.url) as client,
        client.get("/request-data/", headers=headers) as response,
    ):
        chosen = response.headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", chosen)
    log = shared.log_of("gunicorn")
    assert chosen in log
    assert "forged" not in log
