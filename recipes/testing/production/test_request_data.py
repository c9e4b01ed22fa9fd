"""How to test sessions in Redis; REDIS_URL says where one runs."""

import os

import pytest
from pytest_aiohttp import AiohttpClient
from request_data import create_app

pytestmark = pytest.mark.asyncio
REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost")


async def test_a_logout_everywhere_ends_a_session(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(redis_url=REDIS_URL))
    await client.post("/login", json={"user": "ann"})
    response = await client.get("/me")
    assert await response.json() == {"user": "ann"}
    await client.post("/logout-everywhere")
    response = await client.get("/me")
    assert response.status == 401


async def test_nobody_logs_in_while_redis_is_away(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(redis_url="redis://localhost:1"))
    response = await client.post("/login", json={"user": "ann"})
    assert response.status == 503
    assert "error" in await response.json()
