"""How to test jobs in PostgreSQL; POSTGRES_URL says where one runs."""

import asyncio
import os

import pytest
from after_response import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio
POSTGRES_URL = os.environ.get("POSTGRES_URL", "")
needs_postgres = pytest.mark.skipif(
    not POSTGRES_URL, reason="POSTGRES_URL names no PostgreSQL"
)


@needs_postgres
async def test_the_work_is_done_after_the_answer(
    aiohttp_client: AiohttpClient,
) -> None:
    app = create_app(postgres_url=POSTGRES_URL, work_here=True)
    client = await aiohttp_client(app)
    before = await (await client.get("/count")).json()
    response = await client.post("/ping", params={"work": "0.1"})
    assert await response.json() == {"message": "PONG"}
    count = before["count"]
    async with asyncio.timeout(20):
        while count == before["count"]:
            count = (await (await client.get("/count")).json())["count"]


async def test_it_answers_503_while_its_database_is_away(
    aiohttp_client: AiohttpClient,
) -> None:
    nowhere = "postgresql://localhost:1/jobs"
    client = await aiohttp_client(create_app(postgres_url=nowhere))
    response = await client.post("/ping", params={"work": "0.1"})
    assert response.status == 503
