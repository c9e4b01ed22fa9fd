"""Proofs that after a connection to Redis was reset, a recipe goes on.

uvloop raises a RuntimeError where a connection is written to that is closed
already. asyncio's own loop does not, and redis-py takes it for a mistake.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import uvloop
from aiohttp import ClientSession, web
from yarl import URL

from recipes import parallel_events
from recipes.production import one_response, request_data, websocket_logout
from recipes.production import parallel_events as events
from tests.faults import Network, faulty_network
from tests.servers import TIMEOUT, serving


class Case(NamedTuple):
    """A recipe, and a request that writes to Redis."""

    create_app: Callable[..., web.Application]
    method: str
    path: str
    body: str = ""


CASES = {
    "parallel_events": Case(
        parallel_events.create_app, "POST", "channels/resets", "tea"
    ),
    "production/parallel_events": Case(
        events.create_app, "POST", "channels/resets", "tea"
    ),
    "production/request_data": Case(
        request_data.create_app, "POST", "login", '{"user": "ann"}'
    ),
    "production/websocket_logout": Case(
        websocket_logout.create_app, "POST", "login", '{"user": "ann"}'
    ),
    "production/one_response": Case(
        one_response.create_app, "GET", "greeting?name=ann"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_after_a_reset_of_its_connections_to_redis_it_goes_on(
    name: str, redis_url: str
) -> None:
    uvloop.run(go_on(CASES[name], Path(URL(redis_url).path)))


async def go_on(case: Case, redis: Path) -> None:
    async with (
        faulty_network(redis) as network,
        serving(
            case.create_app(redis_url=f"redis://{network.address}")
        ) as server,
        ClientSession(server.url) as client,
        asyncio.timeout(TIMEOUT),
    ):
        await until_it_works(client, case)
        await reset(network)
        assert await ask(client, case) in (200, 503)
        await until_it_works(client, case)


@pytest.mark.parametrize("recipe", [events, websocket_logout])
async def test_a_mistake_that_looks_like_a_reset_has_its_traceback_in_the_log(
    recipe: ModuleType, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def err(request: web.Request) -> web.Response:
        raise RuntimeError("a mistake")

    app = recipe.create_app(redis_url=redis_url)
    app.router.add_get("/mistake", err)
    async with (
        serving(app) as server,
        ClientSession(server.url) as client,
        client.get("mistake") as response,
    ):
        assert response.status == 503
    [record] = [each for each in caplog.records if "a mistake" in each.message]
    assert record.exc_info
    assert record.exc_info[0] is RuntimeError


async def until_it_works(client: ClientSession, case: Case) -> None:
    while await ask(client, case) != 200:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


async def ask(client: ClientSession, case: Case) -> int:
    async with client.request(
        case.method, case.path, data=case.body or None
    ) as response:
        return response.status


async def reset(network: Network) -> None:
    """Reset all connections, until the clients have noticed."""
    network.reset()
    while network.open:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
