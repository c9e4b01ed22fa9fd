"""How to test an application that calls another service."""

import pytest
from client_session import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio


async def test_no_cookie_of_ann_goes_out_for_the_next_caller(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    response = await client.get("/login-then-fetch", params={"user": "ann"})
    assert (await response.json())["user"] == "ann"
    response = await client.get("/fetch")
    assert (await response.json())["upstream"] == "nobody"


async def test_an_upstream_that_is_away_is_a_502(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    response = await client.get("/fail", params={"how": "refused"})
    assert response.status == 502
    assert await response.json() == {"error": "the upstream failed"}


async def test_a_missing_user_is_refused(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(create_app())
    response = await client.get("/login-then-fetch")
    assert response.status == 400
