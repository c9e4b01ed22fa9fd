"""Proofs for cookbook/internals.py: aiohttp is still what the house leans on.

A test that fails here on a new aiohttp names the part that has changed. These
run on the newest release and on upstream's branches: see .github/workflows.
"""

import asyncio
import logging
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from importlib.metadata import distribution
from pathlib import Path

import pytest
from aiohttp import web, web_fileresponse

from cookbook import internals
from tests.conftest import Serve
from tests.servers import PARSERS, ROOT, TIMEOUT, Server, exchange

HOST = b"Host: localhost\r\n"
END = HOST + b"Connection: close\r\n\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Connection(internals.Connection):
    """Notes what it is asked for."""

    notes: list[str]

    def refuse(self, status: int, reason: str) -> web.Response:
        self.notes.append(f"refuse {status} {reason}")
        response = web.Response(status=status, text=reason)
        response.force_close()
        return response

    def complete(self, response: web.StreamResponse) -> None:
        self.notes.append(f"complete {response.status}")
        response.force_close()

    def log_unfinished(self, request: web.BaseRequest) -> None:
        size = internals.written_size(request.writer)
        self.notes.append(f"unfinished {request.path} {size > 0}")


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def reading() -> asyncio.Event:
    """Set as soon as a handler waits for a body."""
    return asyncio.Event()


@pytest.fixture
def shutting_down() -> asyncio.Event:
    """Set when the server reads no further request."""
    return asyncio.Event()


@pytest.fixture
async def server(
    serve: Serve,
    notes: list[str],
    reading: asyncio.Event,
    shutting_down: asyncio.Event,
) -> Server:
    async def read(request: web.Request) -> web.Response:
        reading.set()
        body = await request.read()
        size = internals.received_size(request.content)
        return web.json_response([len(body), size])

    async def wait_for_a_broken_body(request: web.Request) -> web.Response:
        connection = request.protocol
        assert isinstance(connection, internals.Connection)
        assert not internals.is_broken(request.content)
        loop = asyncio.get_running_loop()
        error = web.RequestPayloadError("too slow")
        loop.call_soon(connection.break_off, request.content, error)
        return await read(request)

    async def fail(request: web.Request) -> web.Response:
        raise ValueError

    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"began")
        raise ValueError

    class Noting(Connection):
        pass

    Noting.notes = notes

    async def shut_down(app: web.Application) -> None:
        shutting_down.set()

    app = web.Application()
    app.on_shutdown.append(shut_down)
    app.router.add_post("/read", read)
    app.router.add_post("/broken", wait_for_a_broken_body)
    app.router.add_get("/fail", fail)
    app.router.add_get("/break_off", break_off)
    runner_class = partial(internals.Runner, connect=Noting)
    return await serve(app, runner_class=runner_class)


async def test_the_rest_of_a_body_is_read_when_the_server_shuts_down(
    server: Server, reading: asyncio.Event, shutting_down: asyncio.Event
) -> None:
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /read HTTP/1.1\r\nContent-Length: 4\r\n" + END)
        writer.write(b"te")
        await reading.wait()
        ending = asyncio.create_task(server.stop())
        await shutting_down.wait()
        writer.write(b"a\n")
        assert (await reader.read()).endswith(b"[4, 4]")
        writer.close()
        await ending


async def test_little_of_a_websocket_comes_at_a_time(serve: Serve) -> None:
    sizes = list[int]()

    class Measuring(Connection):
        def data_received(self, data: bytes) -> None:
            sizes.append(len(data))
            super().data_received(data)

    async def answer_pings(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.receive()
        return ws

    app = web.Application()
    app.router.add_get("/", answer_pings)
    runner_class = partial(internals.Runner, connect=Measuring)
    server = await serve(app, runner_class=runner_class)
    pings = 4000 * (b"\x89\xfd" + bytes(4) + bytes(125))
    close = b"\x88\x80" + bytes(4)
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(pings + close)
        answers = await reader.read()
        writer.close()
    assert answers.count(b"\x8a\x7d") == 4000
    assert max(sizes) <= 2**17


@pytest.mark.parametrize(
    ("request_line", "answer", "note"),
    [
        (b"B[EW / HTTP/1.1", b"400 Bad Request", "refuse 400 BadHttpMethod"),
        (b"GET http://xn--a/ HTTP/1.1", b"400 ", "refuse 400 Bad Request"),
        (b"GET / HTTP/1.1\r\nExpect: \xff", b"417 ", "refuse 417 "),
        (b"GET /fail HTTP/1.1", b"500 ", "complete 500"),
        (b"GET /break_off HTTP/1.1", b"200 ", "unfinished /break_off True"),
    ],
)
async def test_a_connection_is_asked_for_what_no_application_answers(
    server: Server,
    notes: list[str],
    request_line: bytes,
    answer: bytes,
    note: str,
) -> None:
    got = await exchange(server, request_line + b"\r\n" + END)
    assert got.partition(b" ")[2].startswith(answer)
    assert len(notes) == 1
    assert notes[0].startswith(note)


def test_each_parser_that_is_installed_is_tested() -> None:
    program = (
        "from aiohttp import http_parser as it;"
        "print(it.HttpRequestParser is not it.HttpRequestParserPy)"
    )
    for parser, value in PARSERS.items():
        chosen = subprocess.check_output(
            [sys.executable, "-c", program],
            env={**os.environ, "AIOHTTP_NO_EXTENSIONS": value},
            text=True,
        )
        assert chosen.strip() == str(parser == "c")
    # A release has both. What is built of a branch says where it is from, and
    # may have the version of the last release.
    is_built = distribution("aiohttp").read_text("direct_url.json")
    assert len(PARSERS) == 2 or is_built


async def test_gunicorn_finds_how_many_requests_came(server: Server) -> None:
    counter = server.runner.server
    assert counter is not None
    assert counter.requests_count == 0
    for _ in range(2):
        await exchange(server, b"GET / HTTP/1.1\r\n" + END)
    assert counter.requests_count == 2


async def test_the_bytes_of_a_body_are_counted(server: Server) -> None:
    head = b"POST /read HTTP/1.1\r\nContent-Length: 3\r\n"
    answer = await exchange(server, head + END + b"abc")
    assert answer.endswith(b"[3, 3]")


@pytest.mark.parametrize(
    "chunk", [b"zz\r\n", b"3\r\nabcdef\r\n"], ids=["size", "end"]
)
async def test_a_handler_answers_for_a_body_that_cannot_be_parsed(
    server: Server, notes: list[str], reading: asyncio.Event, chunk: bytes
) -> None:
    head = b"POST /read HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head + END)
        await reading.wait()
        writer.write(chunk)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
    assert notes == ["complete 400"]


async def test_who_waits_for_a_body_is_woken_when_it_breaks(
    server: Server, notes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /broken HTTP/1.1\r\nContent-Length: 3\r\n"
    answer = await exchange(server, head + END)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert notes == ["complete 400"]
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_an_error_of_ours_is_logged_as_ever(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await exchange(server, b"GET /fail HTTP/1.1\r\n" + END)
    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.name == "aiohttp.server"


async def test_a_file_is_sent_without_sendfile(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(request: web.Request) -> web.FileResponse:
        return web.FileResponse(file)

    async def count(*args: object, **options: object) -> None:
        calls.append(args)

    calls: list[object] = []
    file = tmp_path / "file"
    file.write_bytes(bytes(2**16))
    monkeypatch.setattr(web_fileresponse, "NOSENDFILE", False)
    monkeypatch.setattr(asyncio.get_running_loop(), "sendfile", count)
    app = web.Application()
    app.router.add_get("/", send)
    server = await serve(app)
    await exchange(server, b"GET / HTTP/1.1\r\n" + END)
    assert len(calls) == 1
    internals.disable_sendfile()
    answer = await exchange(server, b"GET / HTTP/1.1\r\n" + END)
    assert answer.endswith(bytes(2**16))
    assert len(calls) == 1


async def test_callbacks_that_are_taken_start_and_close_the_contexts() -> None:
    async def context(app: web.Application) -> AsyncIterator[None]:
        seen.append("open")
        yield
        seen.append("close")

    async def start(app: web.Application) -> None:
        seen.append("start")

    seen: list[str] = []
    app = web.Application()
    app.on_startup.append(start)
    app.cleanup_ctx.append(context)
    startup = internals.take_callbacks(app.on_startup)
    cleanup = internals.take_callbacks(app.on_cleanup)
    app.freeze()
    await app.startup()
    await app.cleanup()
    assert not seen
    for callback in [*startup, *cleanup]:
        await callback(app)
    assert seen == ["open", "start", "close"]


async def test_an_application_that_is_thawed_takes_state_again(
    serve: Serve,
) -> None:
    key = web.AppKey("key", str)
    root, outer, inner = [web.Application() for _ in range(3)]
    outer.add_subapp("/inner", inner)
    root.add_subapp("/outer", outer)
    await serve(root)
    assert inner.frozen
    internals.thaw(outer)
    outer[key] = inner[key] = "late"
    outer.freeze()
    assert outer.frozen
    assert inner.frozen


async def test_a_request_knows_its_applications_and_what_the_router_found(
    serve: Serve,
) -> None:
    @web.middleware
    async def observe(
        request: web.Request, handler: object
    ) -> web.StreamResponse:
        apps = internals.applications_of(request)
        prefixes = [internals.prefix_of(root, app) for app in apps[1:]]
        refused = internals.is_method_not_allowed(request)
        return web.json_response([apps[0] is root, prefixes, refused])

    async def handler(request: web.Request) -> web.Response:
        raise NotImplementedError

    root, inner = web.Application(middlewares=[observe]), web.Application()
    inner.router.add_get("/found", handler)
    root.add_subapp("/other", web.Application())
    root.add_subapp("/inner", inner)
    server = await serve(root)
    for line, seen in [
        (b"GET /inner/found", b'[true, ["/inner"], false]'),
        (b"POST /inner/found", b'[true, ["/inner"], true]'),
        (b"GET /nowhere", b"[true, [], false]"),
    ]:
        answer = await exchange(server, line + b" HTTP/1.1\r\n" + END)
        assert answer.endswith(seen)


async def test_no_frame_is_left_of_an_error_that_was_answered(
    serve: Serve,
) -> None:
    errors: list[Exception] = []

    async def refuse(request: web.Request) -> web.Response:
        errors.append(web.HTTPForbidden())
        raise errors[-1]

    async def forget(
        request: web.Request, response: web.StreamResponse
    ) -> None:
        unmatched = request.match_info.http_exception
        if unmatched is not None:
            assert unmatched.__traceback__ is not None
            errors.append(unmatched)
        internals.forget_traceback(request, response)

    app = web.Application()
    app.router.add_get("/refuse", refuse)
    app.on_response_prepare.append(forget)
    server = await serve(app)
    async with asyncio.timeout(TIMEOUT):
        for path in (b"/nowhere", b"/nowhere", b"/refuse"):
            await exchange(server, b"GET " + path + b" HTTP/1.1\r\n" + END)
    *unmatched, refused = errors
    assert len(unmatched) == 2
    assert [error.__traceback__ for error in unmatched] == [None, None]
    # In 4.0 it is no response, and nothing keeps it.
    is_response = isinstance(refused, web.StreamResponse)
    assert (refused.__traceback__ is None) == is_response


UNDOCUMENTED = re.compile(
    r"\.(?:apps|http_exception|output_size|request_factory"
    r"|request_handler|set_exception|total_raw_bytes)\b"
    r"|\b(?:_ErrInfo|_frozen|handle_error|log_exception|web_fileresponse)\b"
    r"|from aiohttp\S* import .*\b_"
)
"""What aiohttp does not document, and the house needs."""


@pytest.mark.parametrize(
    "file",
    [
        file.relative_to(ROOT)
        for file in sorted((ROOT / "cookbook").rglob("*.py"))
    ],
    ids=str,
)
def test_only_the_internals_name_what_aiohttp_does_not_document(
    file: Path,
) -> None:
    code = (ROOT / file).read_text()
    named = {match[0] for match in UNDOCUMENTED.finditer(code)}
    assert bool(named) == (file.name == "internals.py")
