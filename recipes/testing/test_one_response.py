"""How to test a middleware: ask twice, and once for what it must not keep."""

import pytest
from one_response import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio


async def test_a_kept_answer_is_sent_again(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    for cache in ("miss", "hit", "hit"):
        response = await client.get("/greeting?name=ann")
        assert await response.json() == {"greeting": "Hello, ann!"}
        assert response.headers["X-Cache"] == cache


async def test_an_error_is_answered_each_time(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    for _ in range(2):
        response = await client.get("/greeting?name=")
        assert response.status == 400
