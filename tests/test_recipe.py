"""Proofs for cookbook/recipe.py: what belongs to a recipe bears its name."""

from pathlib import Path

import pytest
from aiohttp import ClientSession, web

import app
from cookbook.recipe import Recipe, Settings
from recipes import database, route_table
from recipes.production import request_data
from tests.conftest import Serve
from tests.servers import ROOT

SETTINGS = Settings(
    redis_url="redis://redis.example",
    postgres_url="postgresql://postgres.example/notes",
    data_dir=Path("/data"),
    session_key="a key",
    proxies=("10.0.0.0/8",),
)


def test_the_files_of_an_answer_bear_its_name() -> None:
    recipe = Recipe(database, "/database")
    assert recipe.name == "database"
    assert recipe.page == "/recipes/database"
    assert recipe.file == ROOT / "recipes" / "database.py"
    assert recipe.source.encode() == recipe.file.read_bytes()
    assert recipe.tests == ROOT / "tests" / "test_database.py"
    production = ROOT / "tests" / "production" / "test_database.py"
    assert recipe.production_tests == production
    starter = ROOT / "recipes" / "testing" / "test_database.py"
    assert recipe.starter_test == starter


def test_the_name_of_a_production_file_is_its_prefix() -> None:
    recipe = Recipe.of_production(request_data)
    assert recipe.prefix == "/production/request-data"
    assert recipe.page == "/recipes/request_data"
    tests = ROOT / "tests" / "production" / "test_request_data.py"
    assert recipe.tests == tests
    assert recipe.traps == []


def test_the_traps_of_an_answer_are_sorted_and_read_once() -> None:
    recipe = Recipe(route_table, "/route-table")
    names = [trap.name for trap in recipe.traps]
    assert names
    assert names == sorted(names)
    assert recipe.traps is recipe.traps


@pytest.mark.parametrize(
    ("prefix", "options"),
    [
        ("/route-table", {"token": "ann-demo-token"}),
        ("/nested-apps", {}),
        ("/database", {"database": Path("/data/notes.db")}),
        ("/request-data", {"key": "a key"}),
        (
            "/production/request-data",
            {
                "redis_url": "redis://redis.example",
                "trusted_proxies": ("10.0.0.0/8",),
            },
        ),
        ("/parallel-events", {"redis_url": "redis://redis.example"}),
        (
            "/production/database",
            {"postgres_url": "postgresql://postgres.example/notes"},
        ),
        (
            "/production/after-response",
            {
                "postgres_url": "postgresql://postgres.example/notes",
                "work_here": True,
            },
        ),
    ],
)
def test_a_recipe_takes_of_the_settings_what_it_needs(
    prefix: str, options: dict[str, object]
) -> None:
    recipes = app.COOKBOOK + app.PRODUCTION
    (recipe,) = [each for each in recipes if each.prefix == prefix]
    assert recipe.options(SETTINGS) == options


def test_an_application_is_built_with_the_options() -> None:
    recipe = Recipe(
        route_table, "/route-table", lambda settings: {"token": "a token"}
    )
    assert isinstance(recipe.create_app(SETTINGS), web.Application)
    unknown = Recipe(route_table, "/x", lambda settings: {"unknown": 1})
    with pytest.raises(TypeError, match="unknown"):
        unknown.create_app(SETTINGS)


@pytest.mark.parametrize(
    ("proxies", "is_taken"), [(["127.0.0.1/32"], True), (["10.0.0.0/8"], False)]
)
async def test_the_id_of_a_request_is_taken_from_the_proxies_of_the_server(
    serve: Serve, proxies: list[str], is_taken: bool
) -> None:
    server = await serve(app.create_app(trust_proxy=True, proxies=proxies))
    headers = {"X-Request-ID": "proxy-7"}
    url = server.url / "production/request-data/missing"
    async with (
        ClientSession() as client,
        client.get(url, headers=headers) as response,
    ):
        taken = response.headers["X-Request-ID"]
    assert (taken == "proxy-7") is is_taken
