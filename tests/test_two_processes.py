"""Proofs of what a second process knows: the reason for production files.

Two applications in one process share no more than two processes do.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar

import recipes.after_response
import recipes.one_response
import recipes.production.after_response
import recipes.production.one_response
import recipes.production.websocket_logout
import recipes.websocket_logout
from tests.conftest import Serve
from tests.servers import TIMEOUT


@asynccontextmanager
async def two_processes(
    serve: Serve, module: Any, **options: Any
) -> AsyncIterator[tuple[ClientSession, ClientSession]]:
    """Serve a recipe twice; one client of both has one jar of cookies."""
    jar = CookieJar(unsafe=True)
    one = await serve(module.create_app(**options))
    other = await serve(module.create_app(**options))
    async with (
        ClientSession(one.url, cookie_jar=jar) as first,
        ClientSession(other.url, cookie_jar=jar) as second,
    ):
        yield first, second


@pytest.mark.parametrize(
    ("module", "status"),
    [
        (recipes.websocket_logout, 401),
        (recipes.production.websocket_logout, 200),
    ],
    ids=["answer", "production"],
)
async def test_a_login_is_known_to_another_process_in_production_alone(
    serve: Serve, redis_url: str, module: Any, status: int
) -> None:
    options = {"redis_url": redis_url} if status == 200 else {}
    async with two_processes(serve, module, **options) as (first, second):
        async with first.post("login", json={"user": "ann"}) as response:
            assert response.status == 200
        async with second.post("logout") as response:
            assert response.status == status


@pytest.mark.slow("it starts processes")
@pytest.mark.parametrize(
    ("module", "counted"),
    [(recipes.after_response, 0), (recipes.production.after_response, 1)],
    ids=["answer", "production"],
)
async def test_a_count_is_known_to_another_process_in_production_alone(
    serve: Serve, postgres_url: str, module: Any, counted: int
) -> None:
    options: dict[str, Any] = {}
    if counted:
        options = {"postgres_url": postgres_url, "work_here": True}
    async with two_processes(serve, module, **options) as (first, second):
        async with first.post("ping?work=0") as response:
            assert response.status == 200

        async def count(client: ClientSession) -> int:
            async with client.get("count") as response:
                return int((await response.json())["count"])

        async with asyncio.timeout(TIMEOUT):
            while await count(first) != 1:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.02)
        assert await count(second) == counted


@pytest.mark.parametrize(
    ("module", "cache"),
    [(recipes.one_response, "miss"), (recipes.production.one_response, "hit")],
    ids=["answer", "production"],
)
async def test_an_answer_is_kept_for_another_process_in_production_alone(
    serve: Serve, redis_url: str, module: Any, cache: str
) -> None:
    options = {"redis_url": redis_url} if cache == "hit" else {}
    # A proxy calls both by the name that the client calls.
    headers = {"Host": f"{secrets.token_hex(8)}.example"}
    async with two_processes(serve, module, **options) as (first, second):
        async with first.get("greeting?name=ann", headers=headers) as response:
            assert response.headers["X-Cache"] == "miss"
        async with second.get("greeting?name=ann", headers=headers) as response:
            assert response.headers["X-Cache"] == cache
