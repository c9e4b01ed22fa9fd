"""How to test with PostgreSQL; POSTGRES_URL says where one runs."""

import os

import pytest
from database import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio
POSTGRES_URL = os.environ.get("POSTGRES_URL", "")
needs_postgres = pytest.mark.skipif(
    not POSTGRES_URL, reason="POSTGRES_URL names no PostgreSQL"
)


@needs_postgres
async def test_a_note_is_stored(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(create_app(postgres_url=POSTGRES_URL))
    response = await client.post("/notes", json={"text": "tea"})
    assert response.status == 201
    response = await client.get(response.headers["Location"])
    assert (await response.json())["text"] == "tea"


async def test_it_answers_503_while_its_database_is_away(
    aiohttp_client: AiohttpClient,
) -> None:
    nowhere = "postgresql://localhost:1/notes"
    client = await aiohttp_client(create_app(postgres_url=nowhere))
    response = await client.get("/notes")
    assert response.status == 503
    assert "error" in await response.json()
