"""Proofs for cookbook/xray.py: it shows, and it is not in the way."""

import asyncio
import json
import logging
import os
import socket
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.typedefs import Handler

from cookbook import xray
from cookbook.guard import OBSERVERS, protect
from cookbook.mount import mount
from tests.conftest import Serve
from tests.servers import TIMEOUT, Server

logger = logging.getLogger("recipe")


def create_recipe() -> web.Application:
    routes = web.RouteTableDef()

    @web.middleware
    async def pass_on(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        return await handler(request)

    @routes.get("/hello/{name}")
    async def greet(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    @routes.get("/missing")
    async def miss(request: web.Request) -> web.Response:
        raise web.HTTPGone

    @routes.get("/broken")
    async def fail(request: web.Request) -> web.Response:
        raise ValueError("on purpose")

    @routes.get("/log")
    async def log(request: web.Request) -> web.Response:
        logger.warning("of the handler")
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
        await asyncio.to_thread(logger.warning, "of a thread")
        await asyncio.create_task(log_an_error())
        return web.Response()

    @routes.get("/flood")
    async def flood(request: web.Request) -> web.Response:
        for number in range(2 * xray.MAX_PENDING):
            logger.warning("line %s", number)
        await asyncio.sleep(0)
        return web.Response()

    @routes.view("/view")
    class View(web.View):
        async def get(self) -> web.Response:
            return web.Response()

    @routes.get("/ws")
    async def echo(request: web.Request) -> web.WebSocketResponse:
        kept = [web.WebSocketResponse()]  # it is no local variable
        await kept[0].prepare(request)
        async for message in kept[0]:
            await kept[0].send_str(message.data)
        return kept[0]

    app = web.Application(middlewares=[pass_on])
    app.add_routes(routes)
    return app


async def log_an_error() -> None:
    try:
        raise LookupError(__file__)
    except LookupError:
        logger.exception("of a task")


@pytest.fixture
async def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    """A server whose X-ray has the limits that `limited` names."""
    root = web.Application()
    protect(root)
    recipe = create_recipe()
    mount(root, "/recipe", lambda: recipe, page="/")
    mount(root, "/other", create_recipe, page="/")
    x_ray = xray.XRay(root, **getattr(request, "param", {}))

    async def stream(request: web.Request) -> web.StreamResponse:
        return await x_ray.stream(request, recipe, Path(__file__))

    root.router.add_get("/x-ray", stream)
    return await serve(root, shutdown_timeout=TIMEOUT)


def limited(**limits: float) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "server", [limits], ids=["limited"], indirect=True
    )


@pytest.fixture
async def client(server: Server) -> AsyncIterator[ClientSession]:
    async with ClientSession(server.url) as session:
        yield session


Events = AsyncIterator[dict[str, Any]]


@asynccontextmanager
async def watching(client: ClientSession) -> AsyncIterator[Events]:
    async def read() -> Events:
        async for line in response.content:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    async with asyncio.timeout(TIMEOUT), client.get("x-ray") as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        events = read()
        assert (await anext(events))["kind"] == "process"
        yield events


async def tell(events: Events, kind: str, count: int = 1) -> list[Any]:
    """Return the next events of a kind."""
    told: list[Any] = []
    async for event in events:
        if event["kind"] == kind:
            told.append(event)
            if len(told) == count:
                break
    return told


async def tell_open_websockets(events: Events, count: int) -> Any:
    """Return the next look at the process that counts so many WebSockets."""
    while True:
        (process,) = await tell(events, "process")
        if process["recipe"]["websockets"] == count:
            break
    return (await tell(events, "process"))[0]


async def nobody_looks(server: Server) -> None:
    """Wait until the server has noticed that a reader left."""
    async with asyncio.timeout(TIMEOUT):
        while server.runner.app[OBSERVERS]:  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)


async def test_a_request_is_told_with_all_that_it_passes(
    client: ClientSession,
) -> None:
    async with watching(client) as events:
        async with client.get("recipe/hello/ann?ticket=secret"):
            pass
        (request,) = await tell(events, "request")
        (end,) = await tell(events, "end")
    assert request == {
        "kind": "request",
        "id": 1,
        "method": "GET",
        "path": "/recipe/hello/ann",
        "facts": {
            "route": "/recipe/hello/{name}",
            "handler": "greet in tests/test_xray.py",
            "match_info": {"name": "ann"},
            "applications": ["the root", "/recipe"],
            "middlewares": [
                "gate in cookbook/guard.py",
                "pass_on in tests/test_xray.py",
            ],
        },
    }
    assert end["id"] == 1
    assert end["outcome"] == "answered 200"
    assert end["ms"] >= 0


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("missing", "answered 410"),
        ("broken", "raised ValueError"),
        ("nowhere", "answered 404"),
    ],
)
async def test_an_outcome_is_told_in_words(
    client: ClientSession, path: str, outcome: str
) -> None:
    async with watching(client) as events:
        async with client.get(f"recipe/{path}"):
            pass
        (end,) = await tell(events, "end")
    assert end["outcome"] == outcome


async def test_a_class_based_view_is_told_by_its_name(
    client: ClientSession,
) -> None:
    async with watching(client) as events:
        async with client.get("recipe/view"):
            pass
        (request,) = await tell(events, "request")
    assert request["facts"]["handler"] == "View"


async def test_what_matches_no_route_is_told_too(client: ClientSession) -> None:
    async with watching(client) as events:
        async with client.get("recipe/nowhere"):
            pass
        (request,) = await tell(events, "request")
    assert request["facts"]["route"] == "no route"
    assert request["facts"]["applications"] == ["the root", "/recipe"]


@pytest.mark.filterwarnings("always")
async def test_what_a_request_logs_is_told_of_it_alone(
    client: ClientSession,
) -> None:
    async with watching(client) as events:
        async with client.get("recipe/hello/ann"):
            logger.warning("of the test")
        async with client.get("recipe/log"):
            pass
        lines = await tell(events, "log", 4)
    assert {line["id"] for line in lines} == {2}
    texts = sorted(line["text"] for line in lines)
    # No path of this machine, neither of a traceback nor of a warning.
    assert texts[:3] == [
        "ERROR recipe: of a task (LookupError)",
        "WARNING recipe: of a thread",
        "WARNING recipe: of the handler",
    ]
    assert texts[3].startswith("test_xray.py:")
    assert "DeprecationWarning: deprecated" in texts[3]


async def test_a_request_to_another_application_is_not_told(
    client: ClientSession,
) -> None:
    async with watching(client) as events:
        for path in ("other/hello/bob", "recipe/hello/ann"):
            async with client.get(path):
                pass
        (request,) = await tell(events, "request")
    assert request["path"] == "/recipe/hello/ann"


@limited(interval=0)
async def test_open_websockets_and_tasks_are_told_by_their_file(
    client: ClientSession,
) -> None:
    echo = "echo in tests/test_xray.py"
    async with watching(client) as events:
        async with client.ws_connect("recipe/ws"):
            process = await tell_open_websockets(events, 1)
            assert process["recipe"]["tasks"][echo] == 1
        await tell(events, "end")
        process = await tell_open_websockets(events, 0)
    assert echo not in process["recipe"]["tasks"]


@limited(interval=0)
async def test_the_rest_of_the_process_is_told_apart(
    client: ClientSession,
) -> None:
    async with watching(client) as events:
        (process,) = await tell(events, "process")
    others = process["others"]
    assert others["process"] == os.getpid()
    assert others["tasks"]
    assert not others["tasks"].keys() & process["recipe"]["tasks"].keys()
    assert others["descriptors"] > 2
    assert "MainThread" in others["threads"]


# No look at the process comes in between, however long it takes.
@limited(interval=2 * TIMEOUT)
@pytest.mark.filterwarnings("always")
async def test_two_who_look_are_told_each_once(client: ClientSession) -> None:
    async with watching(client) as one, watching(client) as other:
        async with client.get("recipe/log"):
            pass
        for events in (one, other):
            kinds = [(await anext(events))["kind"] for _ in range(6)]
            assert sorted(kinds) == ["end", *4 * ["log"], "request"]


@limited(interval=0)
async def test_it_is_not_in_the_way_while_nobody_looks(
    client: ClientSession, server: Server
) -> None:
    handlers, show = list(logging.getLogger().handlers), warnings.showwarning
    assert server.runner.app[OBSERVERS] == []
    async with watching(client):
        assert len(server.runner.app[OBSERVERS]) == 1
        assert logging.getLogger().handlers != handlers
    await nobody_looks(server)
    assert logging.getLogger().handlers == handlers
    assert warnings.showwarning is show


@limited(max_watchers=1)
async def test_not_too_many_can_look(client: ClientSession) -> None:
    async with watching(client), client.get("x-ray") as response:
        assert response.status == 503
        assert await response.text() == "too many are looking"


@limited(interval=0, write_timeout=0.1)
async def test_a_reader_that_stops_is_left(
    client: ClientSession, server: Server
) -> None:
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", server.port))
        reader.sendall(b"GET /x-ray HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(TIMEOUT):
            while not server.runner.app[OBSERVERS]:  # noqa: ASYNC110 - a list
                await asyncio.sleep(0)
        assert server.runner.server is not None
        for connection in server.runner.server.connections:
            assert connection.transport is not None
            # Or the kernel takes thousands of events before one waits.
            taken = connection.transport.get_extra_info("socket")
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await nobody_looks(server)


@limited(max_pending=1)
async def test_what_is_too_much_is_left_out(client: ClientSession) -> None:
    async with watching(client) as events:
        async with client.get("recipe/log"):
            pass
        (request,) = await tell(events, "request")
    assert request["id"] == 1


@limited(interval=2 * TIMEOUT, max_pending=1)
async def test_the_end_of_the_server_ends_all_looking(
    client: ClientSession, server: Server
) -> None:
    async with watching(client) as events:
        stop = asyncio.create_task(server.stop())
        assert [event async for event in events] == []
        await stop


async def test_events_that_nobody_reads_are_bounded(serve: Serve) -> None:
    root = web.Application()
    protect(root)
    recipe = create_recipe()
    mount(root, "/recipe", lambda: recipe, page="/")
    x_ray = xray.XRay(root)
    server = await serve(root)
    with x_ray._watching(recipe) as queue:
        async with (
            ClientSession(server.url) as client,
            client.get("recipe/flood") as response,
        ):
            assert response.status == 200
        assert queue.qsize() == xray.MAX_PENDING
