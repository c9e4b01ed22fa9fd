"""How to test an application with a database of its own."""

from pathlib import Path

import pytest
from database import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio


async def test_a_batch_is_stored(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(create_app(database=tmp_path / "notes.db"))
    batch = {"notes": [{"text": "tea"}, {"text": "milk"}]}
    response = await client.post("/notes/batch", json=batch)
    assert response.status == 201
    response = await client.get("/notes")
    notes = (await response.json())["notes"]
    assert [note["text"] for note in notes] == ["milk", "tea"]


async def test_a_bad_note_undoes_its_batch(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(create_app(database=tmp_path / "notes.db"))
    batch = {"notes": [{"text": "tea"}, {"text": ""}]}
    response = await client.post("/notes/batch", json=batch)
    assert response.status == 400
    response = await client.get("/notes")
    assert await response.json() == {"notes": []}
