"""Proofs for cookbook/mount.py: a recipe's failure stays its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from cookbook import mount as mounting
from cookbook.guard import protect
from cookbook.mount import mount
from tests.conftest import Serve
from tests.servers import ROOT, TIMEOUT, Server, exchange, running

Event = tuple[str, str]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def root() -> web.Application:
    root = web.Application()
    protect(root)
    return root


def make_recipe(
    name: str, events: list[Event], path: str = "/"
) -> web.Application:
    """A recipe that works, and writes down what happens to it."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"recipe": name})

    async def note_shutdown(app: web.Application) -> None:
        events.append(("shut down", name))

    @asynccontextmanager
    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        events.append(("open", name))
        try:
            yield
        finally:
            events.append(("close", name))

    app = web.Application()
    app.router.add_get(path, answer)
    app.cleanup_ctx.append(lifetime)
    app.on_shutdown.append(note_shutdown)
    return app


def put(root: web.Application, prefix: str, app: web.Application) -> None:
    mount(root, prefix, lambda: app, page="/recipes/page")


async def fail(app: web.Application) -> None:
    raise ValueError("a secret")


async def hang(app: web.Application) -> None:
    await asyncio.Event().wait()


async def get(server: Server, path: str) -> tuple[int, str]:
    url = server.url.join(URL(path))
    async with ClientSession() as client, client.get(url) as response:
        return response.status, await response.text()


async def test_what_is_started_last_is_closed_first(
    root: web.Application, events: list[Event], serve: Serve
) -> None:
    for name in ("one", "two"):
        put(root, f"/{name}", make_recipe(name, events))
    server = await serve(root)
    assert await get(server, "/two/") == (200, '{"recipe": "two"}')
    await server.stop()
    assert events == [
        ("open", "one"),
        ("open", "two"),
        ("shut down", "one"),
        ("shut down", "two"),
        ("close", "two"),
        ("close", "one"),
    ]


async def test_a_recipe_that_cannot_be_built_answers_503(
    root: web.Application, events: list[Event], serve: Serve
) -> None:
    def create_app() -> web.Application:
        raise ValueError("a secret")

    mount(root, "/broken", create_app, page="/recipes/page")
    put(root, "/good", make_recipe("good", events))
    server = await serve(root)
    reason = "/broken could not be built: the server's log tells why"
    assert await get(server, "/broken/x") == (503, f'{{"error": "{reason}"}}')
    assert await get(server, "/good/") == (200, '{"recipe": "good"}')


async def test_a_recipe_that_cannot_start_answers_503_and_is_closed(
    root: web.Application, events: list[Event], serve: Serve
) -> None:
    broken = make_recipe("broken", events)
    broken.on_startup.append(fail)
    put(root, "/broken", broken)
    put(root, "/good", make_recipe("good", events))
    server = await serve(root)
    assert events == [("open", "broken"), ("close", "broken"), ("open", "good")]
    reason = "/broken could not be started: the server's log tells why"
    assert await get(server, "/broken/") == (503, f'{{"error": "{reason}"}}')
    assert await get(server, "/good/") == (200, '{"recipe": "good"}')
    await server.stop()
    assert events[3:] == [("shut down", "good"), ("close", "good")]


async def test_a_recipe_that_hangs_is_given_up(
    root: web.Application,
    events: list[Event],
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mounting, "SIGNAL_TIMEOUT", 0.01)
    at_start, at_end = make_recipe("1", events), make_recipe("2", events)
    at_start.on_startup.append(hang)
    at_end.on_cleanup.append(hang)
    put(root, "/start", at_start)
    put(root, "/end", at_end)
    server = await serve(root)
    assert (await get(server, "/start/"))[0] == 503
    assert (await get(server, "/end/"))[0] == 200
    async with asyncio.timeout(TIMEOUT):
        await server.stop()


async def test_a_recipe_that_fails_to_close_keeps_no_other_open(
    root: web.Application,
    events: list[Event],
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("one", "two", "three"):
        recipe = make_recipe(name, events)
        recipe.on_shutdown.insert(0, fail)
        recipe.on_cleanup.insert(0, fail)
        put(root, f"/{name}", recipe)
    server = await serve(root)
    await server.stop()
    assert [name for event, name in events if event == "shut down"] == [
        "one",
        "two",
        "three",
    ]
    assert [name for event, name in events if event == "close"] == [
        "three",
        "two",
        "one",
    ]
    assert caplog.text.count("a recipe failed to close") == 6


async def test_the_bare_prefix_leads_to_the_recipe(
    root: web.Application, events: list[Event], serve: Serve
) -> None:
    put(root, "/home", make_recipe("home", events))
    put(root, "/homeless", make_recipe("homeless", events, "/x"))
    server = await serve(root)
    async with ClientSession(server.url) as client:
        for path, location in [
            ("home?a=1", "/home/?a=1"),
            ("homeless", "/recipes/page"),
        ]:
            async with client.post(path, allow_redirects=False) as response:
                assert response.status == 308
                assert response.headers["Location"] == location


async def test_a_redirect_holds_bytes_above_127_that_a_parser_lets_in(
    tmp_path: Path, redis_url: str
) -> None:
    environment = {
        "AIOHTTP_NO_EXTENSIONS": "1",
        "COOKBOOK_REDIS_URL": redis_url,
    }
    async with running(ROOT / "app.py", cwd=tmp_path, **environment) as process:
        answer = await exchange(
            process,
            b"GET /request-data?a=\xff HTTP/1.1\r\nHost: localhost\r\n",
            b"Connection: close\r\n\r\n",
        )
    assert answer.startswith(b"HTTP/1.1 308 ")
    assert b"\r\nLocation: /request-data/?a=" in answer
    assert answer.isascii()


def test_a_prefix_is_mounted_once(
    root: web.Application, events: list[Event]
) -> None:
    put(root, "/one", make_recipe("one", events))
    with pytest.raises(ValueError, match="/one is mounted twice"):
        put(root, "/one", make_recipe("another", events))


def test_an_application_is_mounted_once(
    root: web.Application, events: list[Event]
) -> None:
    recipe = make_recipe("one", events)
    put(root, "/one", recipe)
    with pytest.raises(RuntimeError):
        put(root, "/two", recipe)
