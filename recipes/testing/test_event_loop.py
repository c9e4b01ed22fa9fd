"""How to test with a session: each test has a loop of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from event_loop import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def session() -> AsyncIterator[ClientSession]:
    # Async, and of function scope: it is made in the loop of its test.
    async with ClientSession() as session:
        yield session


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_each_test_has_a_session_of_its_loop(
    aiohttp_client: AiohttpClient, session: ClientSession, turn: str
) -> None:
    client = await aiohttp_client(create_app())
    async with session.get(client.make_url("/fetch")) as response:
        answer = await response.json()
    assert answer == {"upstream": "made and used in one loop"}


async def test_a_post_is_refused(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(create_app())
    response = await client.post("/fetch")
    assert response.status == 405
