"""Proofs for cookbook/health.py: who asks is told what is away, in time."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession, web

from cookbook.guard import ENDING, protect
from cookbook.health import Health, add_health
from tests.conftest import NO_POSTGRES, KillableRedis, Serve
from tests.servers import TIMEOUT, Server

NO_REDIS = "unix:///nonexistent/redis.sock"


@pytest.fixture
def serve_health(serve: Serve) -> Any:
    async def serve_it(
        redis_url: str, postgres_url: str, **limits: float
    ) -> Server:
        app = web.Application()
        protect(app)
        add_health(
            app, redis_url=redis_url, postgres_url=postgres_url, **limits
        )
        return await serve(app)

    return serve_it


async def get(server: Server, path: str) -> tuple[int, Any]:
    async with (
        ClientSession() as client,
        client.get(server.url / path) as response,
    ):
        assert (response.status == 503) == ("Retry-After" in response.headers)
        return response.status, await response.json()


async def test_a_process_is_ready_whose_engines_answer(
    serve_health: Any, redis_url: str, postgres_url: str
) -> None:
    server = await serve_health(redis_url, postgres_url)
    assert await get(server, "readyz") == (200, {"status": "ready"})
    assert await get(server, "healthz") == (200, {"status": "alive"})


@pytest.mark.parametrize("redis", [NO_REDIS, "nonsense"])
async def test_engines_that_are_away_are_named_and_the_process_lives(
    serve_health: Any, redis: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve_health(redis, NO_POSTGRES)
    answer = {"error": "away: redis, postgres"}
    assert await get(server, "readyz") == (503, answer)
    assert await get(server, "healthz") == (200, {"status": "alive"})
    assert "redis is away: " in caplog.text
    assert "postgres is away: " in caplog.text
    messages = [record.getMessage() for record in caplog.records]
    assert not any("\n" in message for message in messages)


async def test_an_engine_that_does_not_answer_is_away_in_bounded_time(
    serve_health: Any, postgres_url: str
) -> None:
    async def be_silent(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(be_silent, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    server = await serve_health(
        f"redis://127.0.0.1:{port}", postgres_url, timeout=0.2
    )
    async with asyncio.timeout(TIMEOUT):
        status, answer = await get(server, "readyz")
    assert status == 503
    # On a busy machine, the other one may take as long.
    assert answer["error"].startswith("away: redis")
    silent.close()
    await silent.wait_closed()


async def test_an_engine_has_as_long_as_it_is_given(
    serve_health: Any, redis_url: str, postgres_url: str
) -> None:
    server = await serve_health(redis_url, postgres_url, timeout=0)
    answer = {"error": "away: redis, postgres"}
    assert await get(server, "readyz") == (503, answer)


async def test_an_engine_that_is_back_is_seen(
    serve_health: Any, killable_redis: KillableRedis, postgres_url: str
) -> None:
    server = await serve_health(killable_redis.url, postgres_url, valid_for=0)
    killable_redis.stop()
    assert (await get(server, "readyz"))[0] == 503
    killable_redis.start()
    assert (await get(server, "readyz"))[0] == 200


async def test_many_who_ask_cost_one_look() -> None:
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)

    asked = Health({"engine": look})
    await asyncio.gather(*(asked.find_missing() for _ in range(50)))
    await asked.find_missing()
    assert looks == 1


async def test_a_process_that_ends_is_not_ready(
    serve_health: Any, redis_url: str, postgres_url: str
) -> None:
    server = await serve_health(redis_url, postgres_url)
    server.runner.app[ENDING].set()
    answer = {"error": "this process is ending"}
    assert await get(server, "readyz") == (503, answer)


async def test_a_check_that_runs_ends_with_the_process() -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.sleep(60)

    asked = Health({"engine": wait})
    asking = asyncio.create_task(asked.find_missing())
    await begun.wait()
    await asked.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
