"""How to test events from Redis; REDIS_URL says where one runs."""

import os

import pytest
from parallel_events import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio
REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost")


async def test_an_event_reaches_a_websocket(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(redis_url=REDIS_URL))
    async with client.ws_connect("/ws?channel=starter") as ws:
        # What is published before `ready` is not sent to this socket.
        assert (await ws.receive_json(timeout=5))["type"] == "ready"
        await client.post("/channels/starter", data="It rains.")
        event = await ws.receive_json(timeout=5)
        assert event["data"] == "It rains."


async def test_it_refuses_events_while_redis_is_away(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(redis_url="redis://localhost:1"))
    response = await client.post("/channels/starter", data="It rains.")
    assert response.status == 503
    assert "error" in await response.json()
