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
from collections.abc import Iterator
from contextlib import (
    AsyncExitStack,
    closing,
)
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from typing import Any, NamedTuple

import click
import psutil
import pytest
from aiohttp import ClientSession, TCPConnector, hdrs, web
from click.testing import CliRunner
from yarl import URL

from app import COOKBOOK, PRODUCTION
from cookbook import cluster
from cookbook.recipe import Recipe
from cookbook.runner import dialogue_runner
from tests import test_contract
from tests.behind_nginx import (
    BY_ADDRESS,
    CANNOT_HOLD,
    NOT_BEHIND_NGINX,
    OF_ONE_PROCESS,
    PLAIN,
    WITHIN,
    asks_by_address,
    others_of,
)
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
    Server,
    serving_in_thread,
    until_it_is_empty,
)
from tests.test_contract import (
    WEBSOCKETS,
    is_production,
    make,
    shake_hands,
    stall,
    websocket_of,
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


@pytest.mark.unmeasured("the cluster has processes of its own")
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
                await asyncio.sleep(0.1)
        # A part that dies is there again.
        valkey = await running.pid_of("valkey")
        os.kill(valkey, signal.SIGKILL)
        async with asyncio.timeout(START_TIMEOUT):
            while await running.pid_of("valkey") in (0, valkey):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            while not await asyncio.to_thread(  # noqa: ASYNC110
                cluster.is_ready, f"{running.url}/readyz"
            ):
                await asyncio.sleep(0.1)
        processes = running.processes()
        assert len(processes) >= 10
        assert await running.end(signal.SIGINT) == 0
        await until_they_are_gone(processes)
    await until_it_is_empty(short_folder)


@pytest.mark.full("it starts a cluster")
async def test_one_worker_has_all_of_an_answer_and_ends_where_its_command_dies(
    short_folder: Path, tmp_path: Path
) -> None:
    async with (
        running_cluster(
            short_folder, "--workers", "1", *JOBS, **UNMEASURED
        ) as running,
        ClientSession() as client,
        AsyncExitStack() as stack,
    ):
        for recipe in FILES:
            if recipe.module.__name__ in PER_PROCESS:
                await play(recipe, running, tmp_path)
        # Whoever is connected: WebSockets whose peers read, or have stalled.
        for recipe in FILES:
            if recipe.name in WEBSOCKETS:
                base = URL(running.url) / recipe.prefix.removeprefix("/")
                await client.ws_connect(await websocket_of(recipe, base))
                target = await websocket_of(recipe, base)
                await stall(stack.enter_context(await shake_hands(target)))
        processes = running.processes()
        # A file that is open outlives its folder.
        log = stack.enter_context(
            (running.folder / "log" / "gunicorn.log").open()
        )
        assert await running.end(signal.SIGKILL) == -signal.SIGKILL
        await until_they_are_gone(processes)
        # By itself, with its connections: one that is killed says nothing.
        assert "Worker exiting" in log.read()
    await until_it_is_empty(short_folder)


@pytest.mark.unmeasured("the cluster has processes of its own")
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


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    free = cluster.free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        ports = [taken, free]
        assert {cluster.free_port(ports) for _ in range(20)} == {free}
        with pytest.raises(click.ClickException, match="no port"):
            cluster.free_port([taken])


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

ASKED_OF_A_CLUSTER = {
    "test_a_production_file_has_all_endpoints_of_its_answer": (
        "test_each_endpoint_answers_behind_nginx_as_without"
    ),
    "test_a_recipe_whose_port_is_taken_says_so_in_one_line": (
        "test_a_port_that_is_taken_is_one_line"
    ),
    "test_sigterm_ends_the_cookbook_whoever_is_connected": (
        "test_one_worker_has_all_of_an_answer_and_ends_where_its_command_dies"
    ),
    "test_the_dialogue_is_true_where_the_recipe_is_mounted": (
        "test_the_dialogue_is_true_behind_nginx"
    ),
    "test_the_tests_of_an_answer_run_on_its_production_file": (
        "test_what_asks_a_recipe_runs_behind_nginx_or_has_a_reason"
    ),
}
"""The checks of the contract that ask a server, and those that ask nginx."""

NOT_ASKED_OF_A_CLUSTER = {
    "it reads files, or calls `create_app`: nobody has to serve it": {
        "test_a_copied_recipe_hides_no_module_of_the_standard_library",
        "test_a_file_reads_calmly",
        "test_a_recipe_has_tests_of_its_own_name",
        "test_a_recipe_hides_no_finding_about_security",
        "test_a_recipe_imports_no_more_than_published_packages",
        "test_an_answer_has_three_to_six_things_that_are_good_to_know",
        "test_create_app_comes_last_and_has_no_logic",
        "test_create_app_makes_independent_applications",
        "test_every_file_of_recipes_is_in_the_cookbook",
        "test_every_handler_has_a_line_for_the_page",
        "test_importing_a_recipe_outside_a_loop_warns_of_nothing",
        "test_the_answer_comes_in_the_first_half_of_the_code",
        "test_the_docstring_answers_and_shows",
        "test_the_environment_is_read_where_the_file_is_run",
        "test_the_files_together_read_calmly",
        "test_the_first_line_is_the_question_of_the_faq",
        "test_the_header_allows_the_versions_that_are_tested",
        "test_the_header_names_what_the_file_imports",
        "test_the_lines_that_answer_are_marked",
        "test_the_machinery_knows_no_recipe",
        "test_the_prefix_is_the_name_of_the_module",
        "test_the_readme_lists_the_recipes",
        "test_the_recipes_are_in_the_order_of_the_faq",
    },
    "it is about the file alone, as a reader copies it": {
        "test_a_starter_test_passes_beside_a_copy_of_the_answer",
        "test_sigterm_ends_a_recipe_whose_peers_stalled_before_a_heartbeat",
        "test_the_dialogue_is_true_of_a_copy_in_an_empty_folder",
        "test_the_dialogue_is_true_where_the_recipe_runs_alone",
    },
    "a cluster drains for longer: nginx has to notice first": {
        "test_sigterm_ends_the_cookbook_within_2_s_whoever_is_connected",
    },
}
"""The other checks, by the reason why they make no sense there."""


def test_each_check_of_the_contract_is_asked_of_a_cluster_or_has_a_reason() -> (
    None
):
    checks = [name for name in vars(test_contract) if name.startswith("test_")]
    others = [
        name for names in NOT_ASKED_OF_A_CLUSTER.values() for name in names
    ]
    assert sorted(checks) == sorted([*ASKED_OF_A_CLUSTER, *others])
    assert set(ASKED_OF_A_CLUSTER.values()) <= set(globals())


FILES = COOKBOOK + PRODUCTION

PER_PROCESS = {
    "recipes.after_response": "it counts what this process has pending",
    "recipes.one_response": "each process has a cache",
    "recipes.parallel_events": "it counts the sockets of one process",
    "recipes.production.parallel_events": "it counts likewise",
    "recipes.websocket_logout": "each process has its sessions and sockets",
}
"""Files that keep something per process, which their dialogue shows."""

CHANGED_BY_NGINX = {
    "gzip;q=0": "nginx sends Content-Length before Vary",
}
"""Parts of the lines of dialogues that show what nginx does in their place."""


async def play(recipe: Recipe, running: Cluster, folder: Path) -> None:
    """Play what nginx leaves of a dialogue."""
    steps = [
        step
        for step in recipe.docs.dialogue
        if not any(part in step.text for part in CHANGED_BY_NGINX)
    ]
    async with dialogue_runner(
        running.port, recipe.prefix, folder, step_timeout=START_TIMEOUT
    ) as shell:
        assert not await shell.play(steps)


@pytest.mark.full
@test_contract.parametrize(
    [each for each in FILES if each.module.__name__ not in PER_PROCESS]
)
async def test_the_dialogue_is_true_behind_nginx(
    recipe: Recipe, tmp_path: Path, shared: Cluster
) -> None:
    await play(recipe, shared, tmp_path)


def test_nginx_changes_lines_that_are_there() -> None:
    lines = [step.text for each in FILES for step in each.docs.dialogue]
    for part in CHANGED_BY_NGINX:
        assert any(part in line for line in lines)


OF_THE_CONNECTION = {hdrs.CONNECTION, hdrs.DATE, hdrs.SERVER}
"""Headers of who sends an answer, or of when."""

OF_THE_ANSWER = {
    *(hdrs.CONTENT_LENGTH, hdrs.ETAG, hdrs.SET_COOKIE),
    *("Server-Timing", "X-Request-ID"),
}
"""Headers whose values two answers to the same request need not share."""


class Answer(NamedTuple):
    """What a client sees; of a JSON object, its names."""

    status: int
    headers: list[tuple[str, str]]
    names: list[str]


async def ask(client: ClientSession, method: str, url: str) -> Answer:
    async with client.request(method, url, allow_redirects=False) as response:
        body = await response.read()
        headers = [
            (name.title(), "" if name in OF_THE_ANSWER else value)
            for name, value in response.headers.items()
            if name not in OF_THE_CONNECTION
        ]
        is_json = body and response.content_type == "application/json"
        names = sorted(await response.json()) if is_json else []
    return Answer(response.status, sorted(headers), names)


@pytest.fixture
def requests(recipe: Recipe) -> list[tuple[str, str]]:
    """Method and path of all that can be asked of a recipe, and more.

    That is its page, a path that it does not have, and for each that it has a
    method that is not allowed. A part that can be chosen is `0`.
    """
    requests = {(hdrs.METH_GET, recipe.page)}
    requests.add((hdrs.METH_GET, f"{recipe.prefix}/nowhere"))
    for route in make(recipe).router.routes():
        if route.resource:
            pattern = r"\{[^{}]*(\{[^{}]*\})?[^{}]*\}"
            path = re.sub(pattern, "0", route.resource.canonical)
            method = route.method.replace(hdrs.METH_ANY, hdrs.METH_POST)
            requests.add((method, recipe.prefix + path))
            requests.add((hdrs.METH_PATCH, recipe.prefix + path))
    return sorted(requests)


@pytest.mark.full
@test_contract.every_file
async def test_each_endpoint_answers_behind_nginx_as_without(
    requests: list[tuple[str, str]], shared: Cluster, cookbook_server: Server
) -> None:
    direct = str(cookbook_server.url.origin())
    async with ClientSession() as client, asyncio.timeout(START_TIMEOUT):
        for method, path in requests:
            behind = await ask(client, method, shared.url + path)
            without = await ask(client, method, direct + path)
            assert behind == without, (method, path)
            # Nothing is away.
            assert behind.status not in (502, 503, 504), (method, path)


def functions_of(recipe: Recipe) -> Iterator[Any]:
    """Yield the test functions of a recipe, and of its production file."""
    modules = [f"tests.test_{recipe.name}"]
    if is_production(recipe):
        modules.append(f"tests.production.test_{recipe.name}")
    for module in modules:
        for name, test in vars(import_module(module)).items():
            if name.startswith("test_") and isfunction(test):
                yield test


def test_what_asks_a_recipe_runs_behind_nginx_or_has_a_reason() -> None:
    within = set[str]().union(*WITHIN.values())
    assert not PLAIN & within
    for test in [test for recipe in FILES for test in functions_of(recipe)]:
        others = others_of(test)
        if others & BY_ADDRESS and not asks_by_address(test):
            assert others - PLAIN <= within, test.__name__


def test_what_cannot_hold_behind_nginx_are_tests_that_ask() -> None:
    tests = [test for recipe in FILES for test in functions_of(recipe)]
    asking = {test.__name__ for test in tests if asks_by_address(test)}
    assert {name.partition("[")[0] for name in CANNOT_HOLD} <= asking
    # The others are columns of one table.
    assert len(CANNOT_HOLD) == sum(map(len, NOT_BEHIND_NGINX.values()))


@pytest.mark.parametrize("module", OF_ONE_PROCESS)
def test_what_an_answer_keeps_in_a_process_is_asked_of_its_second_file(
    module: str,
) -> None:
    assert module in PER_PROCESS
    [recipe] = [each for each in PRODUCTION if module.endswith(f".{each.name}")]
    asked = {
        test.__name__
        for test in functions_of(recipe)
        if asks_by_address(test) and "answer_only" not in marks_of(test)
    }
    assert asked >= OF_ONE_PROCESS[module]


def marks_of(test: Any) -> set[str]:
    return {mark.name for mark in getattr(test, "pytestmark", [])}


@pytest.mark.parametrize(
    "recipe", [each for each in COOKBOOK if each.module.__name__ in PER_PROCESS]
)
def test_an_answer_for_one_process_says_so_and_names_its_second_file(
    recipe: Recipe,
) -> None:
    text = str(recipe.module.__doc__)
    assert re.search(r"\b(one|a|this) process\b", text)
    assert f"production/{recipe.name}.py" in text


@pytest.mark.parametrize(
    "recipe",
    [each for each in PRODUCTION if each.module.__name__ in PER_PROCESS],
)
def test_a_production_file_says_what_it_counts_in_one_worker(
    recipe: Recipe,
) -> None:
    assert "of the worker that answers" in str(recipe.module.__doc__)


@pytest.mark.full
async def test_a_rolling_restart_under_load_fails_no_request(
    shared: Cluster,
) -> None:
    gunicorn = psutil.Process(await shared.pid_of("gunicorn"))
    old = set(workers_of(gunicorn))
    assert len(old) == 4
    log = shared.log_of("gunicorn")
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
    assert "[ERROR]" not in shared.log_of("gunicorn")[len(log) :]


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
@pytest.mark.parametrize(
    "path", ["/request-data/", "/production/request-data/"]
)
async def test_both_logs_have_the_id_of_a_request(
    shared: Cluster, path: str
) -> None:
    own = secrets.token_hex(8)
    ids = []
    async with ClientSession(shared.url) as client:
        for sent in (own, f'{own}"forged'):
            headers = {"X-Request-ID": sent}
            async with client.get(path, headers=headers) as response:
                ids.append(response.headers["X-Request-ID"])
    assert ids[0] == own
    assert re.fullmatch("[0-9a-f]{32}", ids[1])
    for part in ("nginx", "gunicorn"):
        # A thread of the worker writes it.
        async with asyncio.timeout(TIMEOUT):
            while not set(ids) <= set(shared.log_of(part).split()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert "forged" not in shared.log_of(part)
