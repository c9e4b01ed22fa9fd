"""How to test a cache in Redis; REDIS_URL says where one runs."""

import os

import pytest
from one_response import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio
REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost")


async def test_a_kept_answer_is_sent_again(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(redis_url=REDIS_URL))
    # Another test may have asked before: the cache is that of all workers.
    await client.post("/forget")
    for cache in ("miss", "hit", "hit"):
        response = await client.get("/greeting?name=ann")
        assert await response.json() == {"greeting": "Hello, ann!"}
        assert response.headers["X-Cache"] == cache


async def test_each_worker_makes_its_answers_while_redis_is_away(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(redis_url="redis://localhost:1"))
    response = await client.get("/greeting?name=ann")
    assert response.status == 200
