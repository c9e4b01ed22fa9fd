"""Proofs for recipes/messages.toml: what people paste finds its recipe."""

import ast
import asyncio
import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from socket import create_server
from traceback import format_exception_only
from typing import Any

import aiohttp
import aiohttp_session
import aiosqlite
import cryptography
import frozenlist
import pytest
import redis
from aiohttp import ClientSession, web

import app
from cookbook.messages import read_messages
from tests.conftest import Serve, create_cookbook
from tests.servers import ROOT
from tests.test_pages import get, links_of

MESSAGES = read_messages(ROOT / "recipes" / "messages.toml")


def bare_method() -> None:
    class Handlers:
        def get(self, request: web.Request) -> None: ...

    Handlers.get(object())  # type: ignore[call-arg, arg-type]


def locked_database() -> None:
    one, other = (sqlite3.connect("x.db", timeout=0) for _ in range(2))
    try:
        one.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
    finally:
        one.close()
        other.close()


def begun_twice() -> None:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("BEGIN")
        connection.execute("BEGIN")
    finally:
        connection.close()


def closed_database() -> None:
    connection = sqlite3.connect(":memory:")
    connection.close()
    connection.execute("SELECT 1")


def changed_set() -> None:
    live = {1}
    for each in live:
        live.add(each + 1)


def address_as_text() -> None:
    async def fetch() -> None:
        source: Any = "127.0.0.1"
        connector = aiohttp.TCPConnector(local_addr=source)
        async with ClientSession(connector=connector) as session:
            await session.get("http://127.0.0.1:1")

    asyncio.run(fetch())


def middleware_without_handler() -> None:
    def middleware(request: None, next_handler: None) -> None: ...

    middleware(None, handler=None)  # type: ignore[call-arg]


def called_response() -> None:
    response: Any = web.Response
    asyncio.run(asyncio.to_thread(lambda: response()()))


def missing_key() -> None:
    web.Application()[web.AppKey("DATABASE", int)]


def no_await() -> None:
    coroutine = web.WebSocketResponse().send_str("")
    with pytest.warns(RuntimeWarning) as caught:
        del coroutine
    raise caught[0].message  # type: ignore[misc]


def await_outside() -> None:
    compile("def ping_handler():\n    await x", "faq.py", "exec")


def error_of(number: int) -> Callable[[], None]:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


def taken_port() -> None:
    async def listen(port: int) -> None:
        runner = web.AppRunner(web.Application())
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        finally:
            await runner.cleanup()

    with create_server(("127.0.0.1", 0)) as other:
        asyncio.run(listen(other.getsockname()[1]))


def session_after_its_end() -> None:
    async def fetch() -> None:
        async with ClientSession() as session:
            pass
        await session.get("http://127.0.0.1:1")

    asyncio.run(fetch())


def connection_closed_when_reused() -> None:
    async def answer_once(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def fetch() -> None:
        server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        async with server, ClientSession() as session:
            for _ in range(2):
                async with session.post(f"http://{host}:{port}"):
                    pass

    asyncio.run(fetch())


def family_mismatch() -> None:
    async def fetch() -> None:
        connector = aiohttp.TCPConnector(local_addr=("::1", 0))
        async with ClientSession(connector=connector) as session:
            await session.get("http://127.0.0.1:1")

    asyncio.run(fetch())


PROVOKED: dict[str, Callable[[], None]] = {
    "missing 1 required positional argument: 'request'": bare_method,
    "database is locked": locked_database,
    "cannot start a transaction within a transaction": begun_twice,
    "Cannot operate on a closed database": closed_database,
    "send_str' was never awaited": no_await,
    "Set changed size during iteration": changed_set,
    "cannot assign requested address": error_of(errno.EADDRNOTAVAIL),
    "address already in use": taken_port,
    "ssl:default [None]": family_mismatch,
    "'str' object cannot be interpreted as an integer": address_as_text,
    "Session is closed": session_after_its_end,
    "Too many open files": error_of(errno.EMFILE),
    "KeyError: <AppKey(": missing_key,
    "Server disconnected": connection_closed_when_reused,
    "'await' outside async function": await_outside,
    "unexpected keyword argument 'handler'": middleware_without_handler,
    "'Response' object is not callable": called_response,
}
"""Programs that get a message, most by the cause that its meaning names."""


def texts_of(package: Path) -> str:
    """Return all text that a package could print."""
    nodes = (
        node
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_bytes()))
    )
    return "\n".join(
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@pytest.fixture(scope="module")
def printed() -> str:
    packages = (
        aiohttp,
        aiohttp_session,
        aiosqlite,
        asyncio,
        cryptography,
        frozenlist,
        redis.asyncio,
    )
    return "\n".join(
        texts_of(Path(str(package.__file__)).parent) for package in packages
    )


@pytest.fixture
async def client(
    serve: Serve, tmp_path: Path, redis_url: str
) -> AsyncIterator[ClientSession]:
    cookbook = create_cookbook(tmp_path, redis_url)
    server = await serve(cookbook)
    async with ClientSession(server.url) as session:
        yield session


def test_every_recipe_explains_messages() -> None:
    names = {recipe.name for recipe in app.COOKBOOK}
    assert {message.recipe for message in MESSAGES} - {None} == names


def test_a_message_leads_to_one_place() -> None:
    texts = [message.text.lower() for message in MESSAGES]
    assert len(texts) == len(set(texts))


def test_a_message_is_what_a_program_prints(printed: str) -> None:
    for message in MESSAGES:
        if message.kind not in ("symptom", "browser"):
            assert message.text in PROVOKED or message.text in printed


@pytest.mark.parametrize("message", PROVOKED)
def test_a_message_is_what_its_program_gets(
    message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of many types
        PROVOKED[message]()
    said = "".join(format_exception_only(raised.value))
    assert message.lower() in said.lower()


def test_no_program_is_for_a_message_that_is_gone() -> None:
    assert set(PROVOKED) <= {message.text for message in MESSAGES}


async def test_every_message_finds_its_recipe_first(
    client: ClientSession,
) -> None:
    for message in MESSAGES:
        if message.recipe:
            params = {"q": message.text}
            async with client.get("/", params=params) as response:
                page = await response.text()
            found = links_of(page)[0]
            assert found == f"/recipes/{message.recipe}", message.name


@pytest.mark.parametrize(
    ("pasted", "module"),
    [
        ("RuntimeError: no running event loop", "event_loop"),
        (
            "Unclosed client session\nclient_session: "
            "<aiohttp.client.ClientSession object at 0x7f3a54b1c2d0>",
            "client_session",
        ),
        (
            "RuntimeError: Concurrent call to receive() is not allowed",
            "parallel_events",
        ),
        ("sqlite3.OperationalError: database is locked", "database"),
        (
            "aiohttp.client_exceptions.ClientConnectionResetError: "
            "Cannot write to closing transport",
            "after_response",
        ),
        (
            "/app/main.py:9: RuntimeWarning: coroutine "
            "'WebSocketResponse.send_str' was never awaited\n  ws.send_str(x)",
            "websocket_logout",
        ),
        (
            "OSError: [Errno 99] error while attempting to bind on address "
            "('192.0.2.1', 0): cannot assign requested address",
            "source_address",
        ),
        (
            "redis.exceptions.MaxConnectionsError: Too many connections",
            "parallel_events",
        ),
        ("TypeError: 'Response' object is not callable", "one_response"),
        (
            "ValueError: no active connection\n"
            '  File "aiosqlite/core.py", line 141, in _execute',
            "subapp_database",
        ),
        (
            "RuntimeError: Task <Task pending name='Task-5' coro=<main()>> got "
            "Future <Future pending> attached to a different loop",
            "event_loop",
        ),
        (
            "RuntimeError: Cannot register a resource into frozen router.",
            "route_table",
        ),
        (
            "TypeError: Handlers.get() missing 1 required positional "
            "argument: 'request'",
            "route_table",
        ),
        ("AppKey", "database"),
        ("RequestKey", "request_data"),
        ("write_eof", "after_response"),
        ("add_subapp", "nested_apps"),
        ("local_addr", "source_address"),
        ("blueprint", "nested_apps"),
        ("connector_owner", "client_session"),
        ("Content-Encoding", "global_gzip"),
    ],
)
async def test_what_people_paste_finds_the_recipe_first(
    client: ClientSession, pasted: str, module: str
) -> None:
    async with client.get("/", params={"q": pasted}) as response:
        page = await response.text()
    assert links_of(page)[0] == f"/recipes/{module}"


async def test_hangs_finds_what_hangs(client: ClientSession) -> None:
    found = links_of(await get(client, "/?q=hangs"))
    hanging = {"one_response", "websocket_logout", "event_loop"}
    assert {f"/recipes/{each}" for each in hanging} <= set(found)
