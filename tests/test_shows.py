"""Proofs for Show me: a trap and its recipe, run for whoever asks."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar, web

import app
from cookbook.pages import shows
from cookbook.traps import Trap
from tests.conftest import Serve, create_cookbook
from tests.servers import PATIENCE, TIMEOUT, Server, children

pytestmark = pytest.mark.slow("each show starts two programs")

SHOW = "/recipes/route_table/traps/decorator_above_the_route"
SLOW = "/recipes/websocket_logout/traps/waiting_for_the_peer"


@pytest.fixture(autouse=True)
def not_nice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let shows not give way: on a busy machine they would not start."""
    monkeypatch.setattr(shows, "NICENESS", 0)


@pytest.fixture
async def server(serve: Serve, tmp_path: Path, redis_url: str) -> Server:
    # A show has ended its programs before its server is gone.
    app = create_cookbook(tmp_path, redis_url)
    return await serve(app, shutdown_timeout=PATIENCE)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[ClientSession]:
    async with visitor(server) as session:
        yield session


@pytest.fixture
def slow_trap() -> Trap:
    (found,) = [
        trap
        for recipe in app.COOKBOOK
        for trap in recipe.traps
        if f"{recipe.page}/traps/{trap.name}" == SLOW
    ]
    return found


@pytest.fixture
async def impatient(
    request: pytest.FixtureRequest, serve: Serve, slow_trap: Trap
) -> AsyncIterator[ClientSession]:
    """A client of a server that shows one trap, with limits of its own."""
    root = web.Application()
    limited = shows.Shows(root, **request.param)

    async def show(request: web.Request) -> web.StreamResponse:
        return await limited.stream(request, slow_trap)

    root.router.add_post(SLOW, show)
    server = await serve(root, shutdown_timeout=PATIENCE)
    async with visitor(server) as session:
        yield session


def limits(**knobs: float) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "impatient", [knobs], ids=["limited"], indirect=True
    )


def visitor(server: Server) -> ClientSession:
    return ClientSession(server.url, cookie_jar=CookieJar(unsafe=True))


async def until_no_child_is_new(before: set[int]) -> None:
    """Wait for the end of those which were not there before.

    Of those before, one may end too: a test before this has ended it.
    """
    async with asyncio.timeout(TIMEOUT):
        # Nothing tells of the end of another's child.
        while await children() - before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def events_of(response: ClientResponse) -> list[dict[str, object]]:
    text = await response.text()
    return [json.loads(line) for line in text.splitlines() if line]


async def test_both_sides_are_shown(client: ClientSession) -> None:
    before = await children()
    async with client.post(SHOW) as response:
        assert response.status == 200
        assert response.content_type == "application/x-ndjson"
        events = await events_of(response)
    printed = {str(event["side"]): event["printed"] for event in events}
    assert printed == {
        "wrong": '{"user": "ann"}',
        "right": '{"error": "this needs a bearer token"}',
    }
    await until_no_child_is_new(before)


async def test_the_cookie_of_a_visitor_is_http_only_and_goes_nowhere_else(
    client: ClientSession,
) -> None:
    async with client.post(SHOW) as response:
        await response.read()
    cookie = response.cookies[shows.COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/recipes"


async def test_a_silence_lasts(client: ClientSession) -> None:
    path = "/recipes/one_response/traps/cached_response"
    async with client.post(path) as response:
        events = await events_of(response)
    last = [event for event in events if event["at"] == 1]
    [wrong] = [event for event in last if event["side"] == "wrong"]
    assert wrong["printed"] == "no answer"
    assert float(str(wrong["seconds"])) >= 1


async def test_a_visitor_sees_one_show_at_a_time(server: Server) -> None:
    async with visitor(server) as ann, visitor(server) as bob:
        async with ann.post(SLOW) as first:
            assert first.status == 200
            async with ann.post(SHOW) as second:
                assert second.status == 429
                assert "one at a time" in (await second.json())["error"]
            async with bob.post(SHOW) as other:
                assert other.status == 200
                await other.read()
        async with asyncio.timeout(TIMEOUT):
            while True:
                async with ann.post(SHOW) as third:
                    if third.status == 200:
                        return
                await asyncio.sleep(0.02)


async def test_four_shows_run_at_a_time(server: Server) -> None:
    before = await children()
    visitors = [visitor(server) for _ in range(shows.MAX_SHOWS + 1)]
    answers = [await each.post(SLOW) for each in visitors]
    statuses = [answer.status for answer in answers]
    assert statuses == [200] * shows.MAX_SHOWS + [503]
    assert "too many shows run" in (await answers[-1].json())["error"]
    for answer, each in zip(answers, visitors, strict=True):
        answer.close()
        await each.close()
    await until_no_child_is_new(before)


async def test_who_leaves_ends_the_show(server: Server) -> None:
    before = await children()
    async with visitor(server) as client:
        response = await client.post(SLOW)
        assert await response.content.readline()
        assert await children() - before
        response.close()
    await until_no_child_is_new(before)


async def test_the_end_of_the_server_ends_a_show(
    client: ClientSession, server: Server
) -> None:
    before = await children()
    async with client.post(SLOW) as response, asyncio.timeout(TIMEOUT):
        await server.stop()
        await response.read()
    assert not await children() - before


@limits(show_timeout=1.0)
async def test_a_show_that_takes_too_long_is_ended(
    impatient: ClientSession,
) -> None:
    before = await children()
    async with impatient.post(SLOW) as response, asyncio.timeout(TIMEOUT):
        events = await events_of(response)
    assert events[-1] == {"error": "ended after 1 s"}
    await until_no_child_is_new(before)


@limits(start_timeout=0.0)
async def test_a_show_that_fails_is_told(
    impatient: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with impatient.post(SLOW) as response:
        events = await events_of(response)
    assert events == [{"error": "it failed: the server's log tells why"}]
    assert "a show failed" in caplog.text


async def test_no_other_site_starts_a_show(client: ClientSession) -> None:
    for headers in [
        {"Sec-Fetch-Site": "cross-site"},
        # By a name that is neither https nor loopback, all that a browser says.
        {"Origin": "http://evil.example"},
    ]:
        async with client.post(SHOW, headers=headers) as response:
            assert response.status == 403
    async with client.get(SHOW) as response:
        assert response.status == 405


@pytest.mark.parametrize(
    "name", ["nothing", "..%2Froute_table%2Fdecorator_above_the_route"]
)
async def test_only_what_is_a_trap_is_shown(
    client: ClientSession, name: str
) -> None:
    async with client.post(f"/recipes/route_table/traps/{name}") as response:
        assert response.status == 404


@pytest.mark.parametrize("impatient", [{"path": "/nowhere"}], indirect=True)
async def test_a_machine_without_curl_is_told_in_a_line(
    impatient: ClientSession,
) -> None:
    async with impatient.post(SLOW) as response:
        assert response.status == 503
        assert await response.json() == {
            "error": "a show needs curl in /nowhere"
        }
