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
from aiohttp import ClientSession, UnixConnector, web
from yarl import URL

from recipes import event_loop
from tests.conftest import Serve
from tests.servers import ROOT, TIMEOUT, forked, run_to_its_end, serving

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


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        (URL("http://127.0.0.1:1/"), "ClientConnectorError"),
        (URL("nowhere"), "ClientResponseError: 404"),
    ],
    ids=["refused", "an-error"],
)
async def test_an_upstream_that_fails_is_a_502_and_logged(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    url: URL,
    cause: str,
) -> None:
    def upstream_url(request: web.Request) -> URL:
        return request.url.join(url)

    monkeypatch.setattr(event_loop, "upstream_url", upstream_url)
    server = await serve(event_loop.create_app())
    async with (
        ClientSession(server.url) as client,
        client.get("fetch") as response,
    ):
        assert response.status == 502
        assert await response.json() == {"error": "the upstream failed"}
    assert f"the upstream failed: {cause}" in caplog.text
    assert not any(record.exc_info for record in caplog.records)


async def test_the_port_of_the_host_header_is_not_called(
    client: ClientSession,
) -> None:
    headers = {"Host": "localhost:1"}
    async with client.get("fetch", headers=headers) as response:
        assert await response.json() == GREETING


async def test_a_unix_socket_has_no_port_and_is_a_502(
    short_folder: Path,
) -> None:
    path = str(short_folder / "socket")
    runner = web.AppRunner(event_loop.create_app())
    await runner.setup()
    try:
        await web.UnixSite(runner, path).start()
        async with (
            ClientSession(
                "http://localhost/", connector=UnixConnector(path)
            ) as client,
            client.get("fetch") as response,
        ):
            assert response.status == 502
    finally:
        await runner.cleanup()


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
    # The first loop of a process may keep something for those after it.
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(visit())
    before = descriptors(), threading.active_count()
    starts = 10
    for _ in range(starts):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(visit())
    # The cookbook that all tests share may open some of its own meanwhile.
    assert descriptors() < before[0] + starts
    assert threading.active_count() < before[1] + starts


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


def test_an_application_serves_one_loop_only() -> None:
    app = event_loop.create_app()

    async def serve() -> None:
        async with serving(app):
            pass

    asyncio.run(serve())
    with pytest.raises(RuntimeError, match="different loop"):
        asyncio.run(serve())


async def test_run_app_serves_in_the_uvloop_that_it_is_given(
    tmp_path: Path,
) -> None:
    script = tmp_path / "served_by_uvloop.py"
    script.write_text(
        "import asyncio, os, uvloop\n"
        "from aiohttp import web\n"
        "from recipes.event_loop import create_app\n"
        "\n"
        "async def show_loop(request):\n"
        "    loop = asyncio.get_running_loop()\n"
        "    return web.json_response(type(loop).__module__)\n"
        "\n"
        "app = create_app()\n"
        "app.router.add_get('/loop', show_loop)\n"
        "web.run_app(app, host='127.0.0.1', port=int(os.environ['PORT']),\n"
        "            loop=uvloop.new_event_loop())\n"
    )
    async with (
        forked(script, cwd=tmp_path) as process,
        ClientSession(f"http://127.0.0.1:{process.port}/") as client,
    ):
        assert await get(client, "loop") == "uvloop"
        assert await get(client, "fetch") == GREETING
        assert await get(client, "demonstration") == MISTAKES
        assert await process.end() == 0
    assert "Traceback" not in process.log.read_text()


MODULES = {
    "a module": "import aiohttp\nsession = aiohttp.ClientSession()\n",
    "a class": "import aiohttp\nclass A:\n session = aiohttp.ClientSession()\n",
    "a connector": "import aiohttp\naiohttp.TCPConnector()\n",
    "a cookie jar": "import aiohttp\naiohttp.DummyCookieJar()\n",
    "a resolver": "import aiohttp\naiohttp.ThreadedResolver()\n",
}


@pytest.mark.parametrize("program", MODULES.values(), ids=MODULES)
async def test_made_while_a_module_is_imported_it_raises(
    program: str, tmp_path: Path
) -> None:
    script = tmp_path / "module.py"
    script.write_text(program)
    code, errors = await run_to_its_end(script)
    assert code == 1
    assert errors.endswith(f"{OUTSIDE}\n")


async def test_what_needs_no_loop_is_made_without_one(tmp_path: Path) -> None:
    script = tmp_path / "module.py"
    script.write_text(
        "from aiohttp import TraceConfig, web\n"
        "TraceConfig()\n"
        "web.Application()\n"
    )
    assert await run_to_its_end(script) == (0, "")


@pytest.mark.slow("it starts an interpreter")
def test_importing_any_recipe_creates_nothing_of_a_loop() -> None:
    program = """
import gc, pkgutil, importlib, asyncio, aiohttp, recipes
from aiohttp.abc import AbstractCookieJar, AbstractResolver

modules = [*pkgutil.walk_packages(recipes.__path__, "recipes.")]
assert any(".production." in module.name for module in modules)
for module in modules:
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


@pytest.mark.slow("it starts an interpreter")
def test_a_whole_life_is_clean_in_development_mode() -> None:
    program = """
import asyncio
from tests.test_event_loop import visit

async def main():
    # A step that is slow on a busy machine would be in the log.
    asyncio.get_running_loop().slow_callback_duration = 60
    return await visit()

for _ in range(2):
    assert len(asyncio.run(main())) == 2
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
