"""How to test a middleware, and who is logged in."""

import pytest
from cryptography.fernet import Fernet
from pytest_aiohttp import AiohttpClient
from request_data import create_app

pytestmark = pytest.mark.asyncio
KEY = Fernet.generate_key().decode()


async def test_a_handler_reads_what_the_middleware_stored(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(key=KEY))
    response = await client.get("/", headers={"X-Request-ID": "proxy-7"})
    assert await response.json() == {"request_id": "proxy-7"}
    assert response.headers["X-Request-ID"] == "proxy-7"


async def test_a_cookie_of_our_own_making_is_refused(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(key=KEY))
    forged = 'REQUEST_DATA={"created": 9e9, "session": {"user": "ann"}}'
    response = await client.get("/me", headers={"Cookie": forged})
    assert response.status == 401
