"""Proofs for cookbook/mount.py: a recipe's failure stays its own."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from cookbook.guard import protect
from cookbook.mount import Waits, mount
from recipes import database, subapp_database
from tests.conftest import Serve
from tests.servers import (
    PATIENCE,
    ROOT,
    TIMEOUT,
    Server,
    exchange,
    running,
)

Event = tuple[str, str]

IMPATIENT = Waits(signal=0.2, first_pause=0.02, longest_pause=0.1)
"""Waits of a fraction of a second."""


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


def put(
    root: web.Application,
    prefix: str,
    app: web.Application,
    waits: Waits | None = None,
) -> None:
    mount(
        root, prefix, lambda: app, page="/recipes/page", waits=waits or Waits()
    )


async def fail(app: web.Application) -> None:
    raise ValueError("a secret")


async def hang(app: web.Application) -> None:
    await asyncio.Event().wait()


async def get(server: Server, path: str) -> tuple[int, str]:
    url = server.url.join(URL(path))
    async with ClientSession() as client, client.get(url) as response:
        return response.status, await response.text()


async def until_served(server: Server, path: str) -> None:
    """Wait until a recipe has come back."""
    async with asyncio.timeout(TIMEOUT):
        # Nothing tells of it.
        while (await get(server, path))[0] == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class Fickle:
    """A start that fails for as long as it is told to."""

    def __init__(self, *, fails: bool = True) -> None:
        self.fails = fails
        self.tries: list[float] = []
        self.tried = asyncio.Condition()

    async def start(self, app: web.Application) -> None:
        async with self.tried:
            self.tries.append(asyncio.get_running_loop().time())
            self.tried.notify_all()
        if self.fails:
            raise OSError("a secret")

    async def until(self, tries: int) -> None:
        async with asyncio.timeout(TIMEOUT), self.tried:
            await self.tried.wait_for(lambda: len(self.tries) >= tries)


async def test_what_is_opened_last_is_closed_first(
    root: web.Application, events: list[Event], serve: Serve
) -> None:
    @asynccontextmanager
    async def inner(app: web.Application) -> AsyncIterator[None]:
        events.append(("open", "inner"))
        yield
        events.append(("close", "inner"))

    recipe = make_recipe("outer", events)
    recipe.cleanup_ctx.append(inner)
    put(root, "/one", recipe)
    server = await serve(root)
    assert await get(server, "/one/") == (200, '{"recipe": "outer"}')
    await server.stop()
    assert events == [
        ("open", "outer"),
        ("open", "inner"),
        ("shut down", "outer"),
        ("close", "inner"),
        ("close", "outer"),
    ]


async def test_recipes_start_and_close_at_the_same_time(
    root: web.Application, serve: Serve
) -> None:
    starts = asyncio.Barrier(3)
    ends = asyncio.Barrier(3)

    async def meet(app: web.Application) -> AsyncIterator[None]:
        # One after another, the first would wait for ever.
        await starts.wait()
        yield
        await ends.wait()

    for name in ("one", "two", "three"):
        recipe = web.Application()
        recipe.cleanup_ctx.append(meet)
        put(root, f"/{name}", recipe)
    async with asyncio.timeout(TIMEOUT / 2):
        server = await serve(root)
        assert (await get(server, "/one/"))[0] == 404
        await server.stop()
    assert not starts.n_waiting
    assert not ends.n_waiting


async def test_recipes_that_hang_cost_the_start_one_time_limit(
    root: web.Application, events: list[Event], serve: Serve
) -> None:
    waits = Waits(signal=0.5)
    # One after another, they would take three times as long as this test.
    for number in range(60):
        recipe = make_recipe(str(number), events)
        recipe.on_startup.append(hang)
        put(root, f"/{number}", recipe, waits)
    put(root, "/good", make_recipe("good", events))
    async with asyncio.timeout(TIMEOUT):
        server = await serve(root)
    for number in range(60):
        assert (await get(server, f"/{number}/"))[0] == 503
    assert (await get(server, "/good/"))[0] == 200


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
    assert sorted(events) == [
        ("close", "broken"),
        ("open", "broken"),
        ("open", "good"),
    ]
    reason = "/broken could not be started: the server's log tells why"
    assert await get(server, "/broken/") == (503, f'{{"error": "{reason}"}}')
    assert await get(server, "/good/") == (200, '{"recipe": "good"}')
    await server.stop()
    assert events[3:] == [("shut down", "good"), ("close", "good")]


async def test_a_recipe_that_hangs_is_given_up(
    root: web.Application, events: list[Event], serve: Serve
) -> None:
    at_start, at_end = make_recipe("1", events), make_recipe("2", events)
    at_start.on_startup.append(hang)
    at_end.on_cleanup.append(hang)
    put(root, "/start", at_start, IMPATIENT)
    put(root, "/end", at_end, IMPATIENT)
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
    closed = {name for event, name in events if event == "close"}
    assert closed == {"one", "two", "three"}
    for name in closed:
        assert caplog.text.count(f"/{name} failed to close") == 2


# A start that is tried again


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process that writes, as far as SQLite knows."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


@pytest.mark.slow("it waits for a lock")
@pytest.mark.parametrize(
    ("recipe", "path"), [(database, "/x/answer"), (subapp_database, "/x/sub/")]
)
@pytest.mark.usefixtures("plain_sqlite_errors")
async def test_a_recipe_that_starts_under_a_foreign_lock_is_served_after_it(
    root: web.Application,
    serve: Serve,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    handler_cancellation: bool,
    recipe: ModuleType,
    path: str,
) -> None:
    before = set(threading.enumerate())
    file = tmp_path / "file.db"
    put(
        root,
        "/x",
        recipe.create_app(database=file),
        IMPATIENT._replace(signal=5),
    )
    with locked(file):
        server = await serve(root, handler_cancellation=handler_cancellation)
        assert (await get(server, path))[0] == 503
        async with asyncio.timeout(TIMEOUT):
            while len(messages(caplog)) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await get(server, path))[0] == 503
    await until_served(server, path)
    assert (await get(server, path))[0] == 200
    first, *others, last = messages(caplog)
    assert first == (
        "/x could not be started; the other recipes are served without it"
    )
    cause = "OperationalError('database is locked')"
    assert set(others) == {f"/x could not be started: {cause}"}
    assert last == "/x is served after all"
    assert caplog.text.count("Traceback") == 1
    await server.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "cookbook.mount"
    ]


async def test_each_failed_try_closes_what_it_has_opened(
    root: web.Application, events: list[Event], serve: Serve
) -> None:
    fickle = Fickle()
    recipe = make_recipe("one", events)
    recipe.on_startup.append(fickle.start)
    put(root, "/one", recipe, IMPATIENT)
    server = await serve(root)
    await fickle.until(3)
    fickle.fails = False
    await until_served(server, "/one/")
    pair = [("open", "one"), ("close", "one")]
    assert events == pair * (len(fickle.tries) - 1) + pair[:1]
    await server.stop()
    assert events[-2:] == [("shut down", "one"), ("close", "one")]
    assert events.count(("close", "one")) == len(fickle.tries)


async def test_the_pause_between_two_tries_grows_to_a_limit(
    root: web.Application, serve: Serve
) -> None:
    fickle = Fickle()
    recipe = web.Application()
    recipe.on_startup.append(fickle.start)
    put(root, "/one", recipe, Waits(1, 0.05, 0.1))
    await serve(root)
    # Doubled without a limit, the pauses would be 25 s together.
    await fickle.until(10)
    pauses = [after - before for before, after in pairwise(fickle.tries)]
    assert pauses[0] >= 0.05
    assert all(pause >= 0.1 for pause in pauses[1:])


async def test_a_recipe_that_could_not_be_built_is_not_tried_again(
    root: web.Application, serve: Serve
) -> None:
    builds = 0

    def create_app() -> web.Application:
        nonlocal builds
        builds += 1
        raise ValueError("a secret")

    fickle = Fickle()
    recipe = web.Application()
    recipe.on_startup.append(fickle.start)
    mount(root, "/unbuilt", create_app, page="/", waits=IMPATIENT)
    put(root, "/other", recipe, IMPATIENT)
    server = await serve(root)
    await fickle.until(3)
    assert builds == 1
    status, body = await get(server, "/unbuilt/")
    assert (status, "could not be built" in body) == (503, True)


async def test_the_end_does_not_wait_for_a_pause(
    root: web.Application, serve: Serve
) -> None:
    fickle = Fickle()
    recipe = web.Application()
    recipe.on_startup.append(fickle.start)
    put(root, "/one", recipe, Waits(first_pause=PATIENCE))
    server = await serve(root)
    async with asyncio.timeout(TIMEOUT):
        await server.stop()
    assert len(fickle.tries) == 1


async def test_the_end_interrupts_a_try(
    root: web.Application,
    events: list[Event],
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hanging = asyncio.Event()

    async def fail_and_hang(app: web.Application) -> None:
        if len(events) == 1:
            raise OSError("a secret")
        hanging.set()
        await asyncio.Event().wait()

    recipe = make_recipe("one", events)
    recipe.on_startup.append(fail_and_hang)
    put(root, "/one", recipe, Waits(first_pause=0.01, signal=PATIENCE))
    server = await serve(root)
    async with asyncio.timeout(TIMEOUT):
        await hanging.wait()
    async with asyncio.timeout(TIMEOUT):
        await server.stop()
    assert events == [("open", "one"), ("close", "one")] * 2
    assert len(messages(caplog)) == 1


async def test_a_start_of_the_cookbook_that_is_given_up_closes_its_recipes(
    root: web.Application, events: list[Event]
) -> None:
    hanging = asyncio.Event()

    async def announce_and_hang(app: web.Application) -> None:
        hanging.set()
        await asyncio.Event().wait()

    slow = make_recipe("slow", events)
    slow.on_startup.append(announce_and_hang)
    put(root, "/good", make_recipe("good", events))
    put(root, "/slow", slow, Waits(signal=60))
    runner = web.AppRunner(root)
    starting = asyncio.create_task(runner.setup())
    async with asyncio.timeout(TIMEOUT):
        await hanging.wait()
        starting.cancel()
        await asyncio.wait([starting])
        await runner.cleanup()
    assert events[:2] == [("open", "good"), ("open", "slow")]
    assert sorted(events[2:]) == [("close", "good"), ("close", "slow")]


async def test_a_503_sends_no_signal_of_the_recipe_that_did_not_start(
    root: web.Application, events: list[Event], serve: Serve
) -> None:
    async def note(request: web.Request, response: web.StreamResponse) -> None:
        events.append(("prepare", request.path))

    fickle = Fickle()
    inner = make_recipe("inner", [])
    inner.on_response_prepare.append(note)
    recipe = web.Application()
    recipe.on_startup.append(fickle.start)
    recipe.on_response_prepare.append(note)
    recipe.add_subapp("/inner", inner)
    put(root, "/one", recipe, IMPATIENT)
    server = await serve(root)
    for path in ("/one/", "/one/inner/", "/one/a%0Ab", "/one//"):
        assert (await get(server, path))[0] == 503
    assert not events
    fickle.fails = False
    await until_served(server, "/one/inner/")
    events.clear()
    assert await get(server, "/one/inner/") == (200, '{"recipe": "inner"}')
    assert events == [("prepare", "/one/inner/")] * 2


# Addresses


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


@pytest.mark.slow("it starts a program")
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
