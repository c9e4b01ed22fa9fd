"""How to test what happens after the answer."""

import asyncio

import pytest
from after_response import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio


async def test_the_work_is_done_after_the_answer(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    response = await client.post("/ping", params={"work": "0.1"})
    assert await response.json() == {"message": "PONG"}
    answer = {"count": 0, "pending": 1}
    async with asyncio.timeout(5):
        while answer["pending"]:
            response = await client.get("/count")
            answer = await response.json()
    assert answer == {"count": 1, "pending": 0}


async def test_work_that_takes_too_long_is_refused(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    response = await client.post("/ping", params={"work": "60"})
    assert response.status == 400
