"""Proofs for what measures the recipes beside their peers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import cast

import psutil
import pytest
from aiohttp import web
from blockbuster import BlockBuster
from click.testing import CliRunner
from yarl import URL

import app
from benchmarks import compare, measure
from benchmarks.compare import Curve, Requests, Subject
from benchmarks.fan_out import FanOut, Logout
from benchmarks.recipes import __main__ as bench
from benchmarks.recipes import parallel_events, websocket_logout
from benchmarks.wrk import Request, find_wrk
from tests.conftest import Serve
from tests.servers import ROOT

HELLO = Subject("hello", ("-m", "benchmarks.peers.hello"))

# It starts servers of its own, pinned to a core that other tests use.
starts_servers = pytest.mark.full("it starts servers and loads them")


@pytest.fixture(autouse=True)
def may_block(blockbuster: BlockBuster) -> Iterator[None]:
    """Let engines be started while a loop runs, which serves nobody here."""
    blockbuster.deactivate()
    yield
    blockbuster.activate()


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of results that is empty."""
    file = tmp_path / "results.json"
    file.write_text("{}")
    monkeypatch.setattr(measure, "RESULTS", file)
    monkeypatch.setattr(bench, "RESULTS", file)
    return file


def cores_of(process: psutil.Process) -> list[int]:
    return cast(list[int], process.as_dict(["cpu_affinity"])["cpu_affinity"])


def hello(**options: object) -> Requests:
    values = {"count": 50, "rounds": 2, "clients": 4, **options}
    return Requests("Hello", [HELLO], Request("/hello"), **values)  # type: ignore[arg-type]


async def test_requests_are_counted_in_rounds_that_take_turns() -> None:
    steps = []
    comparison = hello(size=len('{"hello": "world"}'))
    rounds = await comparison.run(lambda: steps.append(1))
    assert len(steps) == comparison.steps
    assert rounds.keys() == {"hello"}
    for what in ("cpu", "p50", "p99", "rate"):
        assert len(rounds["hello"][what]) == 2
        assert min(rounds["hello"][what]) > 0


@starts_servers
@pytest.mark.skipif(len(measure.CORES) < 2, reason="it takes two cores")
def test_a_server_and_its_load_have_a_core_each() -> None:
    this = psutil.Process()
    measure.pin(this, -1)
    try:
        with measure.serving(*HELLO.command) as server:
            assert cores_of(server.process) == measure.CORES[:1]
        with measure.serving(*HELLO.command, pinned=False) as server:
            assert cores_of(server.process) == measure.CORES
    finally:
        measure.release(this)


@starts_servers
async def test_an_answer_that_is_not_expected_stops_the_measurement() -> None:
    with pytest.raises(AssertionError):
        await hello(status=201).run(lambda: None)
    with pytest.raises(AssertionError):
        await hello(size=5).run(lambda: None)


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_an_answer_may_be_longer_than_the_one_before(
    serve: Serve, is_chunked: bool
) -> None:
    numbers = count(8)

    async def tell_number(request: web.Request) -> web.Response:
        response = web.Response(text=str(next(numbers)))
        if is_chunked:
            response.enable_chunked_encoding()
        return response

    app = web.Application()
    app.add_routes([web.get("/", tell_number)])
    server = await serve(app)
    assert len(await measure.load(server.url, 4, clients=1)) == 4
    assert next(numbers) == 12


@starts_servers
async def test_wrk_sends_what_our_own_load_sends() -> None:
    if find_wrk() is None:
        pytest.skip("no wrk here: it is used where it is installed")
    rounds = await hello(count=0, rounds=1).run(lambda: None)
    assert rounds["hello"]["rate"][0] > 100


@starts_servers
async def test_a_curve_has_a_point_for_each_comparison() -> None:
    curve = Curve("Hello", "times", {1: [hello()], 2: [hello()]})
    points = await curve.run(lambda: None)
    assert [x for x, _ in points["hello"]] == [1, 2]


def test_the_cpu_of_a_server_is_that_of_its_workers_too() -> None:
    script = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    while time.process_time() < 0.05:\n"
        "        pass\n"
        "    print('done', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", script],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"done\n"
            server = measure.Server(psutil.Process(process.pid), URL())
            own = measure.cpu_time(server.process)
            assert compare.cpu_of(server) - own >= 0.05
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@starts_servers
async def test_an_event_reaches_all_sockets_of_each_subject() -> None:
    subjects = parallel_events.COMPARISONS["1,000"].subjects
    fan_out = FanOut(
        "Few", subjects, 5, 2, rounds=1, by_http=parallel_events.BY_HTTP
    )
    rounds = await fan_out.run(lambda: None)
    assert rounds.keys() == {each.name for each in subjects}
    for figures in rounds.values():
        assert min(figures["cpu"]) > 0


@starts_servers
async def test_a_logout_closes_all_sockets_of_each_subject() -> None:
    subjects = websocket_logout.COMPARISONS["1,000"].subjects
    logout = Logout("Few", subjects, sockets=15, rounds=1)
    rounds = await logout.run(lambda: None)
    for subject in subjects:
        [gone] = rounds[subject.name]["gone"]
        assert gone > 0


@starts_servers
@pytest.mark.parametrize("name", bench.NAMES)
async def test_each_peer_answers_as_the_recipe_does(name: str) -> None:
    module = __import__(f"benchmarks.recipes.{name}", fromlist=["COMPARISONS"])
    for comparison in module.COMPARISONS.values():
        if isinstance(comparison, Requests):
            with compare.serving_all(comparison.subjects) as running:
                for server, _ in running.values():
                    await comparison.check(server)


def test_each_benchmark_is_named_after_a_recipe() -> None:
    recipes = {recipe.name for recipe in app.COOKBOOK}
    assert set(bench.NAMES) <= recipes
    for name in bench.NAMES:
        folder = measure.ROOT / "benchmarks" / "peers" / name
        assert list(folder.glob("[!_]*.py")), name


def test_what_is_measured_is_measured_again_when_a_file_has_changed(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    async def note(name: str) -> None:
        measured.append(name)
        files = bench.files_of(name)
        measure.record("recipes", {"files": files}, part=name)

    monkeypatch.setattr(bench, "measure", note)
    monkeypatch.setattr(bench, "pin", lambda process, core: None)
    run = CliRunner().invoke
    name, other = bench.NAMES[:2]
    assert run(bench.main, [name]).exit_code == 0
    assert "measured before" in run(bench.main, [name]).output
    assert measured == [name]
    run(bench.main, [name, "--again"])
    assert measured == [name, name]
    values = json.loads(results.read_text())
    values["recipes"][name]["files"]["recipes/__init__.py"] = "another"
    results.write_text(json.dumps(values))
    run(bench.main, [name, other])
    assert measured == [name, name, name, other]
    assert json.loads(results.read_text())["recipes"].keys() == {name, other}


def test_one_that_fails_does_not_keep_the_others_from_being_measured(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    async def fail_first(name: str) -> None:
        measured.append(name)
        if len(measured) == 1:
            raise TimeoutError("it is too busy")

    monkeypatch.setattr(bench, "measure", fail_first)
    monkeypatch.setattr(bench, "pin", lambda process, core: None)
    run = CliRunner().invoke(bench.main, bench.NAMES[:2])
    assert measured == bench.NAMES[:2]
    assert run.exit_code == 1
    assert "it is too busy" in run.stderr


def test_the_values_of_rounds_stand_on_one_line(results: Path) -> None:
    measure.record("house", {"rounds": [1.5, 2e-05, -3]})
    assert '"rounds": [1.5, 2e-05, -3]' in results.read_text()
    assert json.loads(results.read_text())["house"]["commit"]


@pytest.mark.full("mypy reads all of schemathesis and matplotlib")
@pytest.mark.timeout(300)
def test_what_mypy_does_not_follow_is_called_by_its_types(
    tmp_path: Path,
) -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    skip = 'follow_imports = "skip"'
    assert settings.count(skip) == 1
    config = tmp_path / "pyproject.toml"
    config.write_text(settings.replace(skip, 'follow_imports = "normal"'))
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", config),
            *("--cache-dir", tmp_path, "-p", "benchmarks"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout
