"""How to test routes that decorators have added."""

from secrets import token_hex

import pytest
from pytest_aiohttp import AiohttpClient
from route_table import create_app

pytestmark = pytest.mark.asyncio


async def test_a_decorated_handler_answers(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    response = await client.post("/post", data="Hello")
    assert await response.json() == {"method": "POST", "body": "Hello"}


async def test_a_private_page_needs_the_token(
    aiohttp_client: AiohttpClient,
) -> None:
    token = token_hex()
    client = await aiohttp_client(create_app(token=token))
    response = await client.get("/private")
    assert response.status == 401
    headers = {"Authorization": f"Bearer {token}"}
    response = await client.get("/private", headers=headers)
    assert await response.json() == {"user": "ann"}
