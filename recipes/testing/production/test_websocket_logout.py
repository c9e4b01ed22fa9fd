"""How to test that a logout closes WebSockets; REDIS_URL names a Redis."""

import os

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError
from pytest_aiohttp import AiohttpClient
from websocket_logout import create_app

pytestmark = pytest.mark.asyncio
REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost")


async def test_a_logout_closes_the_socket(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(redis_url=REDIS_URL))
    response = await client.post("/login", json={"user": "ann"})
    ticket = (await response.json())["ticket"]
    ws = await client.ws_connect(f"/echo?ticket={ticket}")
    await ws.send_str("hi")
    assert await ws.receive_str() == "hi"
    await client.post("/logout")
    # Not ws.close_code: the client has lost it once the connection is closed.
    message = await ws.receive()
    assert (message.type, message.data) == (WSMsgType.CLOSE, 4001)


async def test_nobody_echoes_without_a_login(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(redis_url=REDIS_URL))
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect("/echo")
    assert refused.value.status == 401
