"""The contract of all recipes; the names of these tests are the style guide."""

import ast
import asyncio
import inspect
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from cryptography.fernet import Fernet
from packaging.requirements import Requirement
from yarl import URL

import app
from cookbook.recipe import Recipe
from cookbook.runner import dialogue_runner
from cookbook.sandbox import DEMO_SECRETS
from cookbook.source import read_answer, read_header
from tests.conftest import new_database
from tests.programs import NO_PLUGINS, Outcome, Programs
from tests.readability import Readability, read_source
from tests.readme import with_table
from tests.servers import (
    PATIENCE,
    ROOT,
    START_TIMEOUT,
    TIMEOUT,
    UNMEASURED,
    Process,
    forked,
    patient_copy,
    run_to_its_end,
    running,
)

pytestmark = pytest.mark.unmeasured("each recipe has tests of its own")

FAQ = {
    "/route-table": "Are there plans for an @app.route decorator like in "
    "Flask?",
    "/nested-apps": 'Does aiohttp have a concept like Flask\'s "blueprint" or '
    'Django\'s "app"?',
    "/prefix-sink": "How do I create a route that matches urls with a given "
    "prefix?",
    "/database": "Where do I put my database connection so handlers can "
    "access it?",
    "/request-data": "How can middleware store data for web handlers to use?",
    "/parallel-events": "Can a handler receive incoming events from different "
    "sources in parallel?",
    "/websocket-logout": "How do I programmatically close a WebSocket "
    "server-side?",
    "/source-address": "How do I make a request from a specific IP address?",
    "/api-stability": "What is the API stability and deprecation policy?",
    "/global-gzip": "How do I enable gzip compression globally for my entire "
    "application?",
    "/client-session": "How do I manage a ClientSession within a web server?",
    "/subapp-database": "How do I access database connections from a "
    "subapplication?",
    "/after-response": "How do I perform operations in a request handler after "
    "sending the response?",
    "/one-response": "How do I make sure my custom middleware response will "
    "behave correctly?",
    "/event-loop": "Why is creating a ClientSession outside of an event loop "
    "dangerous?",
}
PACKAGES = {
    "aiohttp": "aiohttp",
    "aiohttp_session": "aiohttp-session",
    "aiojobs": "aiojobs",
    "aiosqlite": "aiosqlite",
    "cryptography": "cryptography",
    "multidict": "multidict",
    "packaging": "packaging",
    "procrastinate": "procrastinate",
    "psycopg": "psycopg",
    "psycopg_pool": "psycopg",  # by an extra of it
    "redis": "redis",
    "yarl": "yarl",
}
"""The packages that a recipe may import, by the names of their modules."""

OF_AIOHTTP = {"multidict", "yarl"}
"""Packages that aiohttp itself needs: a header may leave them out."""

# Modules of the standard library since 3.11, whatever runs the tests.
STANDARD_LIBRARY = sys.stdlib_module_names | {"annotationlib", "compression"}

OPTIONS: dict[str, dict[str, Any]] = {
    "/request-data": {"key": Fernet.generate_key().decode()},
    "/production/database": {"postgres_url": "postgresql://postgres.example"},
    "/production/after-response": {
        "postgres_url": "postgresql://postgres.example"
    },
}
"""What `create_app` cannot do without, by prefixes."""

MAX_LINES = {
    "global_gzip": 110,
    # Publishing has 16 lines and `/stats` 5. Being ready again after an outage,
    # and a 503 until then, has 25.
    "parallel_events": 124,
    # Telling of a taken port in one line has 3.
    "websocket_logout": 103,
}
"""Answers that may have more than 100 lines: their endpoints need them."""

HIDDEN = {
    # A pause at random is no secret.
    "/production/database": ["S311"],
    "/production/client-session": ["S311"],
}
"""What the linter would find about security, by prefixes."""

FILES = app.COOKBOOK + app.PRODUCTION

WEBSOCKETS = {"parallel_events": "ws", "websocket_logout": "echo"}
"""The endpoints that open a WebSocket, by the names of their recipes."""


def parametrize(recipes: list[Recipe]) -> pytest.MarkDecorator:
    ids = [recipe.prefix for recipe in recipes]
    return pytest.mark.parametrize("recipe", recipes, ids=ids)


every_answer = parametrize(app.COOKBOOK)
every_production = parametrize(app.PRODUCTION)
every_file = parametrize(FILES)
every_websocket = parametrize(
    [recipe for recipe in FILES if recipe.name in WEBSOCKETS]
)


def is_production(recipe: Recipe) -> bool:
    return recipe.file.parent.name == "production"


def make(recipe: Recipe) -> web.Application:
    return recipe.module.create_app(**OPTIONS.get(recipe.prefix, {}))


def figures_of(recipe: Recipe) -> Readability:
    return read_source(recipe.source)


def imports_of(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
    return {module.partition(".")[0] for module in modules}


# The collection


@pytest.mark.parametrize(
    ("folder", "recipes"),
    [("recipes", app.COOKBOOK), ("recipes/production", app.PRODUCTION)],
)
def test_every_file_of_recipes_is_in_the_cookbook(
    folder: str, recipes: list[Recipe]
) -> None:
    files = set((ROOT / folder).glob("[!_]*.py"))
    assert files == {recipe.file for recipe in recipes}


@every_file
def test_the_prefix_is_the_name_of_the_module(recipe: Recipe) -> None:
    place = "/production/" if is_production(recipe) else "/"
    assert recipe.prefix == place + recipe.name.replace("_", "-")


def test_the_recipes_are_in_the_order_of_the_faq() -> None:
    assert [recipe.prefix for recipe in app.COOKBOOK] == list(FAQ)
    production = [
        recipe.prefix.removeprefix("/production") for recipe in app.PRODUCTION
    ]
    assert production == [prefix for prefix in FAQ if prefix in production]


def test_the_machinery_knows_no_recipe() -> None:
    for path in (ROOT / "cookbook").rglob("*.py"):
        assert not imports_of(path) & {"app", "recipes", "tests"}, path


def test_the_readme_lists_the_recipes() -> None:
    readme = (ROOT / "README.md").read_text()
    assert with_table(readme, app.COOKBOOK) == readme, "make readme"


# The header and the docstring


@every_file
def test_the_header_names_what_the_file_imports(recipe: Recipe) -> None:
    header = read_header(recipe.source)
    assert header.python == ">=3.11"
    named = {Requirement(package).name for package in header.packages}
    foreign = imports_of(recipe.file) - sys.stdlib_module_names
    imported = {PACKAGES[module] for module in foreign}
    assert imported - OF_AIOHTTP <= named
    # What is named and not imported is an extra of something that is.
    assert named <= imported | {"cryptography"}


@every_file
def test_the_header_allows_the_versions_that_are_tested(recipe: Recipe) -> None:
    pins = dict(
        re.findall(
            r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text()
        )
    )
    for package in read_header(recipe.source).packages:
        requirement = Requirement(package)
        assert str(requirement.specifier), f"{package} has no lowest version"
        assert pins[requirement.name] in requirement.specifier


@every_file
def test_the_first_line_is_the_question_of_the_faq(recipe: Recipe) -> None:
    assert recipe.docs.title == FAQ[recipe.prefix.removeprefix("/production")]


@every_file
def test_the_docstring_answers_and_shows(recipe: Recipe) -> None:
    docstring = inspect.cleandoc(recipe.module.__doc__ or "").splitlines()
    assert len(docstring) <= (60 if is_production(recipe) else 30)
    assert 2 <= len(recipe.docs.text.splitlines()) <= 7
    assert any(step.promised for step in recipe.docs.dialogue)


@every_answer
def test_an_answer_has_three_to_six_things_that_are_good_to_know(
    recipe: Recipe,
) -> None:
    heading, *rest = recipe.docs.details.splitlines()
    assert heading == "Good to know:"
    bullets = [line for line in rest if line.startswith("- ")]
    assert 3 <= len(bullets) <= 6
    if recipe.production_file.exists():
        assert f"production/{recipe.name}.py" in recipe.docs.details


# The shape of a file


@every_file
def test_the_lines_that_answer_are_marked(recipe: Recipe) -> None:
    source = recipe.source
    parts = read_answer(source)
    assert 1 <= len(parts) <= 3
    marks = re.findall(r"(?m)^[ \t]*# (?:end of )?answer$", source)
    assert marks == ["# answer", "# end of answer"] * len(parts)
    assert sum(len(part.splitlines()) for part in parts) <= (
        80 if is_production(recipe) else 40
    )


@every_answer
def test_the_answer_comes_in_the_first_half_of_the_code(recipe: Recipe) -> None:
    code = recipe.source.split('"""', 2)[2].splitlines()
    assert code.index("# answer") < len(code) / 2


@every_file
def test_a_file_reads_calmly(recipe: Recipe) -> None:
    figures = figures_of(recipe)
    if is_production(recipe):
        assert figures.lines <= 300
        assert figures.longest_function <= 35
        assert figures.deepest_nesting <= 4
    else:
        assert figures.lines <= MAX_LINES.get(recipe.name, 100)
        assert figures.longest_function <= 25
        assert figures.deepest_nesting <= 3
    assert figures.tokens_per_line <= 9.5
    assert not figures.tuple_bindings
    assert not figures.one_letter_names


@pytest.mark.parametrize(
    ("recipes", "tokens"),
    [(app.COOKBOOK, 8.9), (app.PRODUCTION, 9.0)],
)
def test_the_files_together_read_calmly(
    recipes: list[Recipe], tokens: float
) -> None:
    figures = map(figures_of, recipes)
    assert median(each.tokens_per_line for each in figures) <= tokens


@every_file
def test_a_recipe_imports_no_more_than_published_packages(
    recipe: Recipe,
) -> None:
    foreign = imports_of(recipe.file) - sys.stdlib_module_names
    assert foreign <= set(PACKAGES)


@every_answer
def test_a_copied_recipe_hides_no_module_of_the_standard_library(
    recipe: Recipe,
) -> None:
    assert recipe.file.stem not in STANDARD_LIBRARY


@every_file
def test_a_recipe_hides_no_finding_about_security(recipe: Recipe) -> None:
    found = re.findall(r"noqa.*?\b(S\d+)|(noqa)(?!:)", recipe.source)
    hidden = [rule or "all" for rule, _ in found]
    assert hidden == HIDDEN.get(recipe.prefix, [])


@every_file
def test_create_app_comes_last_and_has_no_logic(recipe: Recipe) -> None:
    *_, factory, main = ast.parse(recipe.source).body
    assert isinstance(factory, ast.FunctionDef)
    assert factory.name == "create_app"
    assert not factory.args.args
    assert isinstance(main, ast.If)
    logic = (ast.If, ast.For, ast.While, ast.Try, ast.With)
    assert not any(isinstance(node, logic) for node in ast.walk(factory))


@every_file
def test_the_environment_is_read_where_the_file_is_run(recipe: Recipe) -> None:
    source = recipe.source
    before, _, _ = source.partition('if __name__ == "__main__":')
    assert "environ" not in before


@every_file
def test_every_handler_has_a_line_for_the_page(recipe: Recipe) -> None:
    routes = list(make(recipe).router.routes())
    for route in routes:
        if isinstance(route.handler, type):
            methods = [
                getattr(route.handler, name)
                for name in ("get", "post", "put", "patch", "delete")
                if hasattr(route.handler, name)
            ]
        else:
            methods = [route.handler]
        for method in methods:
            assert method.__doc__, method
            assert "\n" not in method.__doc__, method


# What it does


@every_file
def test_create_app_makes_independent_applications(recipe: Recipe) -> None:
    one, other = make(recipe), make(recipe)
    assert isinstance(one, web.Application)
    assert one is not other
    assert one.router is not other.router


@pytest.mark.slow("each runs a program")
@every_file
def test_importing_a_recipe_outside_a_loop_warns_of_nothing(
    recipe: Recipe, programs: Programs, tmp_path: Path
) -> None:
    # It opens nothing either: no thread, no descriptor, no file.
    options = OPTIONS.get(recipe.prefix, {})
    program = (
        "import os, runpy, threading, warnings\n"
        "import aiohttp_session, aiosqlite, procrastinate, psycopg_pool\n"
        "warnings.simplefilter('error')\n"
        "before, files = os.listdir('/dev/fd'), os.listdir()\n"
        f"recipe = runpy.run_path({str(recipe.file)!r})\n"
        f"recipe['create_app'](**{options!r})\n"
        "assert os.listdir('/dev/fd') == before\n"
        "assert threading.active_count() == 1\n"
        "assert os.listdir() == files\n"
    )
    outcome = programs.run(program, tmp_path)
    assert outcome == Outcome("", 0)


@pytest.fixture
def engines(request: pytest.FixtureRequest, recipe: Recipe) -> dict[str, str]:
    """The variables of the engines that a recipe needs."""
    fixtures = {"REDIS_URL": "redis_url", "POSTGRES_URL": "postgres_url"}
    return {
        variable: request.getfixturevalue(fixture)
        for variable, fixture in fixtures.items()
        if variable in recipe.source
    }


@pytest.mark.slow("the mounted ones are played too")
@every_file
async def test_the_dialogue_is_true_where_the_recipe_runs_alone(
    recipe: Recipe, tmp_path: Path, engines: dict[str, str]
) -> None:
    copy = Path(shutil.copy(recipe.file, tmp_path))
    async with forked(copy, cwd=tmp_path, **engines) as process:
        await play_alone(recipe, process, tmp_path, signal.SIGTERM)


@pytest.mark.full("it starts an interpreter of its own")
@every_file
async def test_the_dialogue_is_true_of_a_copy_in_an_empty_folder(
    recipe: Recipe, tmp_path: Path, engines: dict[str, str]
) -> None:
    copy = Path(shutil.copy(recipe.file, tmp_path))
    environment = {**engines, **UNMEASURED}
    async with running(copy, cwd=tmp_path, **environment) as process:
        await play_alone(recipe, process, tmp_path, signal.SIGINT)


@pytest.mark.slow("each runs a program")
@every_file
async def test_a_recipe_whose_port_is_taken_says_so_in_one_line(
    recipe: Recipe, tmp_path: Path, engines: dict[str, str]
) -> None:
    environment = {**DEMO_SECRETS, **engines}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment["PORT"] = str(taken.getsockname()[1])
        code, errors = await run_to_its_end(
            recipe.file, cwd=tmp_path, **environment
        )
    assert code == 1
    [*before, line] = errors.splitlines()
    assert line.startswith("cannot start: ")
    assert line.endswith("address already in use")
    # A database is brought up to date first, and that is logged.
    assert all(each.startswith("migration ") for each in before)


async def play_alone(
    recipe: Recipe, process: Process, folder: Path, number: signal.Signals
) -> None:
    """Play the dialogue of a recipe that runs, and end it by a signal."""
    async with dialogue_runner(
        process.port, "", folder, step_timeout=START_TIMEOUT
    ) as shell:
        assert not await shell.play(recipe.docs.dialogue)
    assert await process.end(number) == 0
    assert "Traceback" not in process.log.read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cookbook(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, postgres: str
) -> AsyncIterator[Process]:
    """The whole cookbook, in a process of its own."""
    script, folder = ROOT / "app.py", tmp_path_factory.mktemp("cookbook")
    with new_database(postgres) as postgres_url:
        environment = {
            "COOKBOOK_REDIS_URL": redis_url,
            "COOKBOOK_POSTGRES_URL": postgres_url,
            **UNMEASURED,
        }
        async with running(script, cwd=folder, **environment) as process:
            yield process


@every_file
async def test_the_dialogue_is_true_where_the_recipe_is_mounted(
    recipe: Recipe, tmp_path: Path, cookbook: Process
) -> None:
    async with dialogue_runner(
        cookbook.port, recipe.prefix, tmp_path, step_timeout=START_TIMEOUT
    ) as shell:
        assert not await shell.play(recipe.docs.dialogue)


PATIENT = f"""
import runpy
from cookbook import server
server.SHUTDOWN_TIMEOUT = {PATIENCE}
runpy.run_path({str(ROOT / "app.py")!r}, run_name="__main__")
"""
"""The cookbook with more time for requests in flight than a test has."""


@pytest.mark.slow("it waits for peers that stalled")
async def test_sigterm_ends_the_cookbook_whoever_is_connected(
    tmp_path: Path, redis_url: str
) -> None:
    script = tmp_path / "patient.py"
    script.write_text(PATIENT)
    await end_with_a_crowd(script, tmp_path, redis_url)


@pytest.mark.full("it measures seconds")
async def test_sigterm_ends_the_cookbook_within_2_s_whoever_is_connected(
    tmp_path: Path, redis_url: str
) -> None:
    script = ROOT / "app.py"
    # What else runs on the machine makes some of them longer.
    times = [
        await end_with_a_crowd(script, tmp_path, redis_url) for _ in range(3)
    ]
    assert min(times) < 2


async def end_with_a_crowd(script: Path, folder: Path, redis_url: str) -> float:
    """End a cookbook to which all kinds of clients are connected.

    Return the seconds that it took.
    """
    environment = {
        "COOKBOOK_REDIS_URL": redis_url,
        "PYTHONPATH": str(ROOT),
        **UNMEASURED,
    }
    async with (
        running(script, cwd=folder, **environment) as process,
        AsyncExitStack() as stack,
    ):
        url = URL(f"http://127.0.0.1:{process.port}")
        idle = await stack.enter_async_context(ClientSession())
        open_sockets = []
        async with idle.get(url) as response:
            await response.read()
        x_ray = await idle.get(url / "recipes/database/x-ray")
        assert await x_ray.content.readline()
        for recipe in FILES:
            if recipe.name in WEBSOCKETS:
                base = url / recipe.prefix.removeprefix("/")
                address = await websocket_of(recipe, base)
                open_sockets.append(await idle.ws_connect(address))
                target = await websocket_of(recipe, base)
                await stall(stack.enter_context(await shake_hands(target)))
        started = time.monotonic()
        assert await process.end() == 0
        return time.monotonic() - started


@pytest.fixture
def with_fast_heartbeat(recipe: Recipe, tmp_path: Path) -> Path:
    """A copy of a recipe that pings after 0.2 s, and is patient at the end."""
    script = patient_copy(recipe.file, tmp_path)
    source, heartbeats = re.subn(
        r"(?i)\b(heartbeat ?= ?)\d[\d.]*", r"\g<1>0.2", script.read_text()
    )
    assert heartbeats == 1
    script.write_text(source)
    return script


@pytest.mark.slow("it waits for peers that stalled")
@every_websocket
async def test_sigterm_ends_a_recipe_whose_peers_stalled_before_a_heartbeat(
    recipe: Recipe, with_fast_heartbeat: Path, tmp_path: Path, redis_url: str
) -> None:
    script = with_fast_heartbeat
    async with forked(script, cwd=tmp_path, REDIS_URL=redis_url) as process:
        url = URL(f"http://127.0.0.1:{process.port}")
        with (
            await shake_hands(await websocket_of(recipe, url)) as stalled,
            await shake_hands(await websocket_of(recipe, url)) as silent,
        ):
            await stall(stalled)
            # It answers no ping either, but it reads: its end is seen. The
            # heartbeat of the other was missed before.
            await until_closed(silent)
            assert await process.end() == 0


async def websocket_of(recipe: Recipe, url: URL) -> URL:
    """Return the address of a WebSocket, with a ticket if it takes one."""
    target = url / WEBSOCKETS[recipe.name]
    if recipe.name != "websocket_logout":
        return target
    async with (
        ClientSession() as client,
        client.post(url / "login", json={"user": "ann"}) as response,
    ):
        return target.with_query(ticket=(await response.json())["ticket"])


async def shake_hands(target: URL) -> socket.socket:
    """Open a WebSocket that answers no ping."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(peer, (target.host, target.port))
    request = (
        f"GET {target.raw_path_qs} HTTP/1.1\r\n"
        f"Host: {target.host}:{target.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await loop.sock_sendall(peer, request.encode())
    answer = await loop.sock_recv(peer, 12)
    assert answer == b"HTTP/1.1 101"
    return peer


async def stall(peer: socket.socket) -> None:
    """Send as much as the server takes, and read no echo."""
    text = b"x" * 60_000
    frame = b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text
    loop = asyncio.get_running_loop()
    # Where the server takes no more, or has cut the peer off.
    with suppress(ConnectionError, TimeoutError):
        while True:
            async with asyncio.timeout(0.5):
                await loop.sock_sendall(peer, frame)


async def until_closed(peer: socket.socket) -> None:
    """Read until the server has closed the connection."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        async with asyncio.timeout(TIMEOUT):
            while await loop.sock_recv(peer, 2**16):
                pass


# Its tests, and its second file


@every_file
def test_a_recipe_has_tests_of_its_own_name(recipe: Recipe) -> None:
    assert recipe.tests.exists()
    assert recipe.tests.is_relative_to(ROOT / "tests")


@pytest.mark.slow("it starts a test session")
@every_answer
def test_a_starter_test_passes_beside_a_copy_of_the_answer(
    recipe: Recipe, programs: Programs, tmp_path: Path, redis_url: str
) -> None:
    starter = recipe.starter_test
    assert 15 <= len(starter.read_text().splitlines()) <= 40
    for file in (recipe.file, starter):
        shutil.copy(file, tmp_path)
    environment = {
        "PATH": "",
        "HOME": str(tmp_path),
        "REDIS_URL": redis_url,
        "PYTEST_ADDOPTS": NO_PLUGINS,
    }
    program = (
        "import os, pytest\n"
        "os.environ.clear()\n"
        f"os.environ.update({environment!r})\n"
        "ended = pytest.main(['-q', '-p', 'no:cacheprovider', '-W', "
        "'ignore::pytest.PytestDeprecationWarning'])\n"
        "assert ended == 0\n"
    )
    outcome = programs.run(program, tmp_path, timeout=60)
    assert outcome.code == 0, outcome.printed
    assert " passed" in outcome.printed


@every_production
def test_a_production_file_has_all_endpoints_of_its_answer(
    recipe: Recipe,
) -> None:
    (answer,) = [each for each in app.COOKBOOK if each.name == recipe.name]
    assert endpoints_of(answer) <= endpoints_of(recipe)


def endpoints_of(recipe: Recipe) -> set[tuple[str, str]]:
    """Return method and path of each route; a path without its patterns."""
    return {
        (route.method, re.sub(r":[^{}]*(\{[^{}]*\})?[^{}]*\}", "}", path))
        for route in make(recipe).router.routes()
        if route.resource
        for path in [route.resource.canonical]
    }


@every_production
def test_the_tests_of_an_answer_run_on_its_production_file(
    recipe: Recipe,
) -> None:
    tests = ROOT / "tests" / f"test_{recipe.name}.py"
    tree = ast.parse(tests.read_text())
    both, answer_only = 0, 0
    for node in tree.body:
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
            marks = list(map(ast.unparse, node.decorator_list))
            reasons = [mark for mark in marks if "answer_only" in mark]
            assert not any(mark.endswith("answer_only") for mark in reasons)
            if node.name.startswith("test_"):
                answer_only += bool(reasons)
                both += not reasons
    assert both > answer_only
