"""How to test an application that calls from an address of its choice."""

import pytest
from pytest_aiohttp import AiohttpClient
from source_address import create_app

pytestmark = pytest.mark.asyncio


async def test_the_upstream_sees_the_chosen_address(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    response = await client.get("/whoami", params={"source": "127.0.0.1"})
    answer = {"source": "127.0.0.1", "seen": "127.0.0.1"}
    assert await response.json() == answer


@pytest.mark.parametrize(
    ("source", "status"), [("203.0.113.9", 503), ("10.0.0.1", 400)]
)
async def test_an_address_that_cannot_be_used_is_refused(
    aiohttp_client: AiohttpClient, source: str, status: int
) -> None:
    client = await aiohttp_client(create_app())
    response = await client.get("/whoami", params={"source": source})
    assert response.status == status
    assert "error" in await response.json()
