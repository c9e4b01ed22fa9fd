"""How to hold a program to what will stay: a warning is an error here."""

import asyncio

import pytest
from aiohttp import web
from api_stability import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = [
    pytest.mark.asyncio,
    # For all tests: filterwarnings = error::DeprecationWarning in pytest.ini.
    # Then pytest-asyncio needs a line too, because its own warning is an error:
    # asyncio_default_fixture_loop_scope = function
    pytest.mark.filterwarnings("error::DeprecationWarning"),
]


async def test_the_policy_names_the_next_releases(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    response = await client.get("/policy/3.14.5")
    policy = await response.json()
    assert policy["bugfix"]["version"] == "3.14.6"
    response = await client.get("/policy/newest")
    assert response.status == 400


async def test_what_is_deprecated_is_an_error() -> None:
    with pytest.raises(DeprecationWarning, match="loop argument"):
        web.Application(loop=asyncio.get_running_loop())
