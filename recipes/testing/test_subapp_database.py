"""How to test a sub-application inside its parent, and alone."""

import asyncio
from pathlib import Path

import aiosqlite
import pytest
from pytest_aiohttp import AiohttpClient
from subapp_database import DATABASE, SCHEMA, TURN, create_app, create_sub

pytestmark = pytest.mark.asyncio


async def test_parent_and_sub_count_in_one_database(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(create_app(database=tmp_path / "visits.db"))
    response = await client.get("/")
    assert await response.json() == {"app": "main", "visits": 1}
    response = await client.get("/sub/")
    assert await response.json() == {"app": "sub", "visits": 2}
    response = await client.post("/sub/")
    assert response.status == 405


async def test_a_sub_runs_alone_with_a_database_of_the_test(
    aiohttp_client: AiohttpClient,
) -> None:
    async with aiosqlite.connect(":memory:", isolation_level=None) as database:
        await database.executescript(SCHEMA)
        sub = create_sub("alone")
        sub[DATABASE] = database
        sub[TURN] = asyncio.Lock()
        client = await aiohttp_client(sub)
        response = await client.get("/")
        assert await response.json() == {"app": "alone", "visits": 1}
