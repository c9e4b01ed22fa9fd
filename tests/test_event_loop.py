"""Proofs for recipes/event_loop.py."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import ClientSession, web
from yarl import URL

from recipes import event_loop
from tests.conftest import Serve
from tests.servers import ROOT, TIMEOUT, serving

OUTSIDE = "RuntimeError: no running event loop"
SECOND_LOOP = "RuntimeError: Event loop is closed"
GREETING = {"upstream": "made and used in one loop"}
MISTAKES = {"outside": OUTSIDE, "second_loop": SECOND_LOOP}

every_loop = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop]
)
NewLoop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture
def application() -> web.Application:
    return event_loop.create_app()


async def get(client: ClientSession, path: str) -> Any:
    async with asyncio.timeout(TIMEOUT), client.get(path) as response:
        assert response.status == 200
        return await response.json()


async def visit() -> list[Any]:
    """Start the recipe, ask it all there is to ask, and stop it."""
    async with (
        serving(event_loop.create_app()) as server,
        ClientSession(server.url) as client,
    ):
        return [await get(client, path) for path in ("fetch", "demonstration")]


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


# Two in a row, in either order: each test has a loop of its own.
@pytest.mark.parametrize("turn", ["first", "second"])
async def test_a_session_made_inside_the_loop_works(
    client: ClientSession, turn: str
) -> None:
    assert await get(client, "fetch") == GREETING


async def test_both_mistakes_fail_at_once_and_do_not_hang(
    client: ClientSession,
) -> None:
    assert await get(client, "demonstration") == MISTAKES


async def test_demonstrations_do_not_disturb_each_other(
    client: ClientSession,
) -> None:
    answers = await asyncio.gather(
        *(get(client, "demonstration") for _ in range(20))
    )
    assert answers == [MISTAKES] * 20
    assert await get(client, "fetch") == GREETING


async def test_a_demonstration_leaves_nothing_open(
    client: ClientSession,
) -> None:
    await get(client, "demonstration")
    before = descriptors()
    for _ in range(10):
        await get(client, "demonstration")
    assert descriptors() == before


async def test_a_client_that_leaves_disturbs_nobody(
    serve: Serve, handler_cancellation: bool
) -> None:
    server = await serve(
        event_loop.create_app(), handler_cancellation=handler_cancellation
    )
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /demonstration HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await writer.drain()
        writer.transport.abort()
    async with ClientSession(server.url) as client:
        assert await get(client, "demonstration") == MISTAKES


async def test_an_upstream_that_is_away_is_a_bad_gateway(
    serve: Serve,
) -> None:
    async def move_upstream(app: web.Application) -> None:
        app[event_loop.UPSTREAM] = URL("http://127.0.0.1:1/")

    app = event_loop.create_app()
    app.on_startup.append(move_upstream)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        client.get("fetch") as response,
    ):
        assert response.status == 502
        assert await response.json() == {"error": "the upstream did not answer"}


async def test_the_session_is_closed_at_the_end(serve: Serve) -> None:
    app = event_loop.create_app()
    server = await serve(app)
    session = app[event_loop.SESSION]
    async with ClientSession(server.url) as client:
        await get(client, "fetch")
        await server.stop()
    assert session.closed


@every_loop
def test_it_works_in_one_loop_after_another(new_loop: NewLoop) -> None:
    for _ in range(2):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            assert runner.run(visit()) == [GREETING, MISTAKES]


@every_loop
def test_ten_starts_leave_no_descriptor_and_no_thread(
    new_loop: NewLoop,
) -> None:
    before = descriptors(), threading.active_count()
    for _ in range(10):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(visit())
    assert (descriptors(), threading.active_count()) == before


@every_loop
def test_a_session_of_a_loop_that_lives_on_fails_in_another(
    new_loop: NewLoop,
) -> None:
    async def make() -> ClientSession:
        return ClientSession()

    async def use(session: ClientSession) -> None:
        async with asyncio.timeout(TIMEOUT):
            await session.get("http://127.0.0.1:1/")

    with (
        asyncio.Runner(loop_factory=new_loop) as one,
        asyncio.Runner(loop_factory=new_loop) as other,
    ):
        session = one.run(make())
        with pytest.raises(RuntimeError, match="should be used inside a task"):
            other.run(use(session))
        one.run(session.close())


MODULES = {
    "a module": "import aiohttp\nsession = aiohttp.ClientSession()\n",
    "a class": "import aiohttp\nclass A:\n session = aiohttp.ClientSession()\n",
    "a connector": "import aiohttp\naiohttp.TCPConnector()\n",
    "a cookie jar": "import aiohttp\naiohttp.DummyCookieJar()\n",
    "a resolver": "import aiohttp\naiohttp.ThreadedResolver()\n",
}


@pytest.mark.parametrize("program", MODULES.values(), ids=MODULES)
def test_made_while_a_module_is_imported_it_raises(program: str) -> None:
    completed = run("-c", program)
    assert completed.returncode == 1
    assert completed.stderr.endswith(f"{OUTSIDE}\n")


def test_what_needs_no_loop_is_made_without_one() -> None:
    program = "from aiohttp import TraceConfig, web\n"
    program += "TraceConfig()\nweb.Application()\n"
    assert run("-c", program).stderr == ""


def test_importing_any_recipe_creates_nothing_of_a_loop() -> None:
    program = """
import gc, pkgutil, importlib, asyncio, aiohttp, recipes
from aiohttp.abc import AbstractCookieJar, AbstractResolver

for module in pkgutil.iter_modules(recipes.__path__, "recipes."):
    importlib.import_module(module.name)
kinds = (
    aiohttp.ClientSession,
    aiohttp.BaseConnector,
    AbstractCookieJar,
    AbstractResolver,
    asyncio.AbstractEventLoop,
    asyncio.Future,
)
made = [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
assert not made, made
"""
    assert run("-c", program).stderr == ""


def test_a_whole_life_is_clean_in_development_mode() -> None:
    program = """
import asyncio
from tests.test_event_loop import visit

for _ in range(2):
    assert len(asyncio.run(visit())) == 2
"""
    completed = run("-X", "dev", "-c", program)
    assert completed.stderr == ""
    assert completed.returncode == 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
