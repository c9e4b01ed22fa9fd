"""The contract of all recipes; the names of these tests are the style guide."""

import ast
import inspect
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

import app
from cookbook.player import player
from cookbook.recipe import Recipe, answer, dialogue, question
from tests.servers import ROOT, Process, running

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
    "aiohttp",
    "aiohttp_session",
    "aiojobs",
    "aiosqlite",
    "cryptography",
    "multidict",
    "packaging",
    "redis",
    "yarl",
}
# Modules of the standard library since 3.11, whatever runs the tests.
STANDARD_LIBRARY = sys.stdlib_module_names | {"annotationlib", "compression"}

every_recipe = pytest.mark.parametrize(
    ("prefix", "recipe"),
    app.COOKBOOK.items(),
    ids=lambda value: value.strip("/") if isinstance(value, str) else "",
)


def path_of(recipe: Recipe) -> Path:
    return Path(str(recipe.__file__))


def source_of(recipe: Recipe) -> str:
    return path_of(recipe).read_text()


def imports_of(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
    return {module.partition(".")[0] for module in modules}


def test_every_file_of_recipes_is_in_the_cookbook() -> None:
    files = {path.stem for path in (ROOT / "recipes").glob("[!_]*.py")}
    assert files == {path_of(recipe).stem for recipe in app.COOKBOOK.values()}


@every_recipe
def test_the_prefix_is_the_name_of_the_module(
    prefix: str, recipe: Recipe
) -> None:
    assert prefix == "/" + path_of(recipe).stem.replace("_", "-")


@every_recipe
def test_the_first_line_is_the_question_of_the_faq(
    prefix: str, recipe: Recipe
) -> None:
    assert question(recipe) == FAQ[prefix]


def test_the_recipes_are_in_the_order_of_the_faq() -> None:
    order = [prefix for prefix in FAQ if prefix in app.COOKBOOK]
    assert list(app.COOKBOOK) == order


@every_recipe
def test_the_docstring_answers_and_shows_within_35_lines(
    prefix: str, recipe: Recipe
) -> None:
    assert len(inspect.cleandoc(recipe.__doc__ or "").splitlines()) <= 35
    assert 2 <= len(answer(recipe).splitlines()) <= 7
    assert dialogue(recipe)


@every_recipe
def test_a_recipe_fits_a_page(prefix: str, recipe: Recipe) -> None:
    lines = source_of(recipe).splitlines()
    assert 40 <= len(lines) <= 160
    assert max(map(len, lines)) <= 80


@every_recipe
def test_a_recipe_imports_no_more_than_published_packages(
    prefix: str, recipe: Recipe
) -> None:
    foreign = imports_of(path_of(recipe)) - sys.stdlib_module_names
    assert foreign <= PACKAGES


@every_recipe
def test_a_copied_recipe_hides_no_module_of_the_standard_library(
    prefix: str, recipe: Recipe
) -> None:
    assert path_of(recipe).stem not in STANDARD_LIBRARY


def test_the_machinery_knows_no_recipe() -> None:
    for path in (ROOT / "cookbook").rglob("*.py"):
        assert not imports_of(path) & {"app", "recipes", "tests"}, path


@every_recipe
def test_create_app_comes_last_and_has_no_logic(
    prefix: str, recipe: Recipe
) -> None:
    *_, factory, main = ast.parse(source_of(recipe)).body
    assert isinstance(factory, ast.FunctionDef)
    assert factory.name == "create_app"
    assert not factory.args.args
    assert isinstance(main, ast.If)
    logic = (ast.If, ast.For, ast.While, ast.Try, ast.With)
    assert not any(isinstance(node, logic) for node in ast.walk(factory))


@every_recipe
def test_every_handler_has_a_line_for_the_page(
    prefix: str, recipe: Recipe
) -> None:
    routes = list(recipe.create_app().router.routes())
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


@every_recipe
def test_create_app_makes_independent_applications(
    prefix: str, recipe: Recipe
) -> None:
    one, other = recipe.create_app(), recipe.create_app()
    assert one is not other
    assert one.router is not other.router


@every_recipe
def test_importing_a_recipe_outside_a_loop_warns_of_nothing(
    prefix: str, recipe: Recipe, tmp_path: Path
) -> None:
    # It opens nothing either: no thread, no descriptor, no file.
    program = (
        "import os, runpy, sys, threading, aiohttp_session, aiosqlite\n"
        "before = os.listdir('/dev/fd')\n"
        "runpy.run_path(sys.argv[1])['create_app']()\n"
        "assert os.listdir('/dev/fd') == before\n"
        "assert threading.active_count() == 1\n"
        "assert not os.listdir()\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(path_of(recipe))],
        cwd=tmp_path,
        check=True,
        timeout=30,
    )


@every_recipe
async def test_the_dialogue_is_true_where_the_recipe_runs_alone(
    prefix: str, recipe: Recipe, tmp_path: Path, redis_url: str
) -> None:
    await play_alone(recipe, path_of(recipe), tmp_path, redis_url)


@every_recipe
async def test_the_dialogue_is_true_of_a_copy_in_an_empty_folder(
    prefix: str, recipe: Recipe, tmp_path: Path, redis_url: str
) -> None:
    copy = shutil.copy(path_of(recipe), tmp_path)
    await play_alone(recipe, Path(copy), tmp_path, redis_url)


async def play_alone(
    recipe: Recipe, script: Path, folder: Path, redis_url: str
) -> None:
    async with running(script, cwd=folder, REDIS_URL=redis_url) as process:
        async with player(process.port, "", folder) as shell:
            assert not await shell.play(dialogue(recipe))
        assert await process.end() == 0
        assert "Traceback" not in process.log.read_text()


@pytest.fixture
async def cookbook(tmp_path: Path, redis_url: str) -> AsyncIterator[Process]:
    """The whole cookbook, in a process of its own."""
    script = ROOT / "app.py"
    async with running(script, cwd=tmp_path, REDIS_URL=redis_url) as process:
        yield process


@every_recipe
async def test_the_dialogue_is_true_where_the_recipe_is_mounted(
    prefix: str, recipe: Recipe, tmp_path: Path, cookbook: Process
) -> None:
    async with player(cookbook.port, prefix, tmp_path) as shell:
        assert not await shell.play(dialogue(recipe))


@every_recipe
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_recipe_ends_when_it_is_told_to(
    prefix: str,
    recipe: Recipe,
    number: signal.Signals,
    tmp_path: Path,
    redis_url: str,
) -> None:
    script = path_of(recipe)
    async with running(script, cwd=tmp_path, REDIS_URL=redis_url) as process:
        assert await process.end(number) == 0


def test_the_readme_lists_the_recipes() -> None:
    rows = [
        f"| {question(recipe)} "
        f"| [recipes/{path_of(recipe).name}](recipes/{path_of(recipe).name}) "
        f"| [{prefix}](http://localhost:8080{prefix}) |"
        for prefix, recipe in app.COOKBOOK.items()
    ]
    readme = (ROOT / "README.md").read_text().splitlines()
    start = readme.index("|--|--|--|") + 1
    assert readme[start : start + len(rows) + 1] == [*rows, ""]


@every_recipe
def test_a_recipe_has_tests_of_its_own_name(
    prefix: str, recipe: Recipe
) -> None:
    assert (ROOT / "tests" / f"test_{path_of(recipe).stem}.py").exists()


@every_recipe
def test_a_recipe_is_an_application_on_its_own(
    prefix: str, recipe: Recipe
) -> None:
    assert isinstance(recipe.create_app(), web.Application)
