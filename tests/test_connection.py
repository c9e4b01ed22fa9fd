"""Proofs for cookbook/connection.py: slow peers, and what no handler sees.

What it leans on in aiohttp differs between aiohttp's two parsers: the last test
runs these again with the one in Python.
"""

import asyncio
import gc
import logging
import os
import re
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from cookbook.connection import Runner, _Connection
from cookbook.guard import ENDING, protect
from tests.conftest import Serve
from tests.servers import PATIENCE, ROOT, TIMEOUT, Server, exchange

SHORT = 0.3
"""Seconds of the limit that a test exceeds; the others are long."""

LARGE = 2**24
"""Bytes that no socket takes while its peer does not read."""

HOST = b"Host: localhost\r\n"
CHUNKED = HOST + b"Transfer-Encoding: chunked\r\n\r\n"
IGNORED = b"GET /ignore HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def read(request: web.Request) -> web.Response:
    return web.json_response({"read": len(await request.read())})


async def read_late(request: web.Request) -> web.Response:
    await asyncio.sleep(5 * SHORT)
    return await read(request)


async def recover(request: web.Request) -> web.Response:
    await asyncio.sleep(5 * SHORT)
    try:
        return await read(request)
    except web.RequestPayloadError:
        return web.Response(status=400)


async def ignore(request: web.Request) -> web.Response:
    return web.Response(text="ignored")


async def send_much(request: web.Request) -> web.Response:
    return web.Response(body=bytes(LARGE))


async def stream_much(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(LARGE // 2**16):
        await response.write(bytes(2**16))
    return response


async def stream_forever(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"more")
        await asyncio.sleep(0)


async def send_forever(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    while True:
        await ws.send_str("more")
        await asyncio.sleep(0)


async def fail_in_the_middle(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"began")
    raise ValueError("a mistake")


async def echo(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(message.data)
    return ws


async def stream_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"began")
    async for part in request.content.iter_any():
        await response.write(part)
    return response


@pytest.fixture
def application(tmp_path: Path) -> web.Application:
    async def send_file(request: web.Request) -> web.FileResponse:
        return web.FileResponse(large)

    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(LARGE)
    app = web.Application(client_max_size=2 * LARGE)
    protect(app)
    app.router.add_get("/file", send_file)
    for handler in [
        *(read, read_late, recover, ignore, stream_body),
        *(send_much, stream_much, echo),
        *(stream_forever, send_forever, fail_in_the_middle),
    ]:
        app.router.add_route("*", f"/{handler.__name__}", handler)
    return app


ServeWith = Callable[..., Awaitable[Server]]


@pytest.fixture
def serve_with(serve: Serve, application: web.Application) -> ServeWith:
    """A function that serves with these limits."""

    async def serve_with(**limits: float) -> Server:
        return await serve(application, runner_class=Runner, **limits)

    return serve_with


async def trickle(server: Server, start: bytes, drop: bytes) -> bytes:
    """Send `start`, then `drop` again and again, until the server closes."""

    async def go_on() -> None:
        while not writer.is_closing():
            writer.write(drop)
            await asyncio.sleep(SHORT / 10)

    answer = b""
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(start)
        dripping = asyncio.create_task(go_on())
        try:
            while part := await reader.read(2**16):
                answer += part
        except ConnectionResetError:
            # The last drop came after the end.
            pass
        finally:
            dripping.cancel()
            writer.close()
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(part[2:5]) for part in answer.split(b"HTTP/1.")[1:]]


def access_log(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "aiohttp.access"
    ]


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b""),
        (b"G", b""),
        (b"GET / HTTP/1.1\r\n" + HOST, b"X: y\r\n"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: ", b"y"),
        (b"GET /echo HTTP/1.1\r\n" + HOST + UPGRADE, b"X: y\r\n"),
    ],
    ids=["silent", "one-byte", "lines", "bytes", "websocket"],
)
async def test_headers_that_do_not_end_in_time_end_the_connection(
    serve_with: ServeWith, start: bytes, drop: bytes
) -> None:
    server = await serve_with(headers_timeout=SHORT)
    assert await trickle(server, start, drop) == b""


async def test_a_keep_alive_connection_has_as_long_for_its_next_headers(
    serve_with: ServeWith,
) -> None:
    server = await serve_with(headers_timeout=SHORT)
    first = b"GET /ignore HTTP/1.1\r\n" + HOST + b"\r\n"
    answer = await trickle(server, first + b"GET ", b"a")
    assert statuses(answer) == [200]


@pytest.mark.slow("it waits for a deadline")
@pytest.mark.parametrize("path", [b"read", b"read_late"])
@pytest.mark.parametrize(
    "start",
    [
        HOST + b"Content-Length: 10\r\n\r\nabc",
        HOST + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        CHUNKED + b"5\r\nab",
        CHUNKED + b"5;",
    ],
    ids=["length", "continue", "chunked", "extension"],
)
async def test_a_body_of_which_nothing_comes_is_a_408(
    serve_with: ServeWith, path: bytes, start: bytes
) -> None:
    server = await serve_with(silence_timeout=SHORT)
    # What extends a chunk is no byte of the body.
    drop = b"x" if start.endswith(b";") else b""
    request = b"POST /" + path + b" HTTP/1.1\r\n" + start
    answer = await trickle(server, request, drop)
    assert [each for each in statuses(answer) if each != 100] == [408]
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b'{"error": "the body does not come"}')


@pytest.mark.slow("it waits for a deadline")
async def test_each_body_of_a_connection_has_its_own_time(
    serve_with: ServeWith,
) -> None:
    limits = {"silence_timeout": 3 * SHORT, "body_timeout": 4 * SHORT}
    server = await serve_with(**limits)
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(2):
            # Each is looked at when it has three bytes.
            writer.write(b"POST /read HTTP/1.1\r\n" + HOST)
            writer.write(b"Content-Length: 6\r\n\r\nabc")
            await asyncio.sleep(SHORT)
            writer.write(b"def")
            answer = await reader.readuntil(b"}")
            assert statuses(answer) == [200]
            # From the first byte on, it is longer than a body may take.
            await asyncio.sleep(4 * SHORT)
        writer.close()


async def test_a_body_that_trickles_has_an_end(serve_with: ServeWith) -> None:
    server = await serve_with(body_timeout=SHORT)
    start = b"POST /read HTTP/1.1\r\n" + HOST + b"Content-Length: 9999\r\n\r\n"
    assert statuses(await trickle(server, start, b"a")) == [408]


async def test_a_handler_that_ignores_a_silent_body_answers(
    serve_with: ServeWith, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve_with(silence_timeout=SHORT)
    start = b"POST /ignore HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\n"
    # aiohttp itself would wait for 10 s, and this test not as long.
    async with asyncio.timeout(TIMEOUT / 2):
        assert statuses(await trickle(server, start, b"")) == [200]
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_a_refusal_does_not_wait_for_a_body_that_was_announced(
    serve_with: ServeWith, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aiohttp.access")
    server = await serve_with()
    body = b"Content-Length: 9\r\n\r\n"
    requests = {
        403: b"POST /read HTTP/1.1\r\nOrigin: null\r\n" + HOST + body,
        421: b"POST /read HTTP/1.1\r\nHost: a.example\r\n" + body,
        404: b"POST /nowhere HTTP/1.1\r\n" + HOST + body,
        405: b"PUT /file HTTP/1.1\r\n" + HOST + body,
    }
    # aiohttp would wait for ten seconds.
    async with asyncio.timeout(TIMEOUT / 2):
        answers = await asyncio.gather(
            *(exchange(server, request) for request in requests.values())
        )
    for status, answer in zip(requests, answers, strict=True):
        assert statuses(answer) == [status]
        assert b"Connection: close\r\n" in answer
    assert len(access_log(caplog)) == len(requests)


async def test_a_refusal_of_a_body_that_came_keeps_the_connection(
    serve_with: ServeWith,
) -> None:
    server = await serve_with()
    length = b"Content-Length: 3\r\n\r\nabc"
    refused = b"POST /nowhere HTTP/1.1\r\n" + HOST + length
    assert statuses(await exchange(server, refused, IGNORED)) == [404, 200]


async def test_a_body_waits_for_a_handler_that_reads_late(
    serve_with: ServeWith,
) -> None:
    server = await serve_with(silence_timeout=SHORT, body_timeout=3 * SHORT)
    head = b"POST /read_late HTTP/1.1\r\n%bConnection: close\r\n" % HOST
    length = b"Content-Length: %d\r\n\r\n" % LARGE
    answer = await exchange(server, head, length, bytes(LARGE))
    assert statuses(answer) == [200]
    assert answer.endswith(b'{"read": %d}' % LARGE)


async def connect(server: Server, request: bytes) -> socket.socket:
    """Send a request from a socket that nobody reads."""
    peer = socket.create_connection(("127.0.0.1", server.port))
    await asyncio.to_thread(peer.sendall, request)
    return peer


def is_reset(peer: socket.socket, seconds: float) -> bool:
    """Tell whether the other side aborts the connection in time."""
    poll = select.poll()
    poll.register(peer, 0)
    return bool(poll.poll(seconds * 1000))


@pytest.mark.parametrize("path", [b"send_much", b"stream_much", b"file"])
@pytest.mark.parametrize("end", [b"", b"Connection: close\r\n"])
async def test_a_peer_that_accepts_nothing_of_its_answer_is_cut_off(
    serve_with: ServeWith, path: bytes, end: bytes
) -> None:
    limits = {"unread_timeout": SHORT, "shutdown_timeout": PATIENCE}
    server = await serve_with(**limits)
    request = b"GET /" + path + b" HTTP/1.1\r\n" + HOST + end + b"\r\n"
    with await connect(server, request) as peer:
        assert await asyncio.to_thread(is_reset, peer, TIMEOUT)
    async with asyncio.timeout(TIMEOUT):
        await server.stop()


async def test_who_reads_slowly_gets_it_all(serve_with: ServeWith) -> None:
    limit = 3 * SHORT
    server = await serve_with(unread_timeout=limit)
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        request = b"GET /send_much HTTP/1.1\r\n%bConnection: close\r\n\r\n"
        writer.write(request % HOST)
        await reader.readuntil(b"\r\n\r\n")
        received = 0
        # Longer than the limit, in steps that are shorter.
        for _ in range(10):
            received += len(await reader.readexactly(LARGE // 10))
            await asyncio.sleep(limit / 4)
        received += len(await reader.read())
        assert received == LARGE
        writer.close()


async def test_an_open_websocket_may_be_idle(serve_with: ServeWith) -> None:
    server = await serve_with(
        headers_timeout=SHORT,
        silence_timeout=SHORT,
        body_timeout=SHORT,
        unread_timeout=SHORT,
    )
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /echo HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert statuses(answer) == [101]
        await asyncio.sleep(4 * SHORT)
        writer.write(b"\x81\x82\0\0\0\0hi")
        assert await reader.readexactly(4) == b"\x81\x02hi"
        writer.close()


@pytest.mark.parametrize("method", [b"GET", b"POST", b"BREW"])
async def test_a_target_whose_host_cannot_be_decoded_is_a_400(
    serve_with: ServeWith, caplog: pytest.LogCaptureFixture, method: bytes
) -> None:
    caplog.set_level(logging.INFO, "aiohttp.access")
    server = await serve_with()
    request = method + b" http://xn--a/ HTTP/1.1\r\n" + HOST + b"\r\n"
    answer = await exchange(server, request)
    assert statuses(answer) == [400]
    assert b"Connection: close\r\n" in answer or b"HTTP/1.0" in answer
    assert b"X-Content-Type-Options: nosniff\r\n" in answer
    assert len(access_log(caplog)) == 1


@pytest.mark.parametrize("expect", [b"\xff", b"secret", b"100-continue, x"])
async def test_an_expectation_nobody_can_meet_is_a_417_without_its_bytes(
    serve_with: ServeWith, expect: bytes
) -> None:
    server = await serve_with()
    request = (
        b"POST /read HTTP/1.%d\r\n%bExpect: %b\r\nConnection: close\r\n\r\n"
    )
    answer = await exchange(server, request % (1, HOST, expect))
    assert statuses(answer) == [417]
    assert answer.endswith(b"Expectation Failed")
    # HTTP/1.0 knows no expectations (RFC 9110, 10.1.1).
    answer = await exchange(server, request % (0, HOST, expect))
    assert statuses(answer) == [200]


async def test_an_expectation_of_the_rest_is_met(
    serve_with: ServeWith,
) -> None:
    server = await serve_with()
    head = b"POST /read HTTP/1.1\r\n%bExpect: 100-Continue\r\n" % HOST
    answer = await exchange(
        server, head, b"Connection: close\r\nContent-Length: 2\r\n\r\nab"
    )
    assert statuses(answer) == [100, 200]


BROKEN = {
    "size": b"zz\r\n",
    "no-ascii": b"\xff\r\n",
    "negative": b"-3\r\nabc",
    "no-cr": b"3\nabc",
    "second-size": b"3\r\nabc\r\nzz\r\n",
    "no-end": b"3\r\nabcdef\r\n",
    "trailer": b"0\r\nbad trailer\r\n\r\n",
    "many-trailers": b"0\r\n" + b"a: b\r\n" * 300 + b"\r\n",
}
"""Chunks that no parser takes."""


async def send_in_parts(server: Server, *parts: bytes) -> bytes:
    """Send each part once the one before it must have been handled."""
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for part in parts:
            writer.write(part)
            # Another connection's answer comes after all that came before.
            await exchange(server, IGNORED)
        answer = await reader.read()
        writer.close()
        return answer


@pytest.mark.parametrize("chunks", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("begun", [False, True], ids=["at-once", "later"])
async def test_a_chunked_body_that_breaks_is_a_400(
    serve_with: ServeWith,
    caplog: pytest.LogCaptureFixture,
    chunks: bytes,
    begun: bool,
) -> None:
    caplog.set_level(logging.INFO, "aiohttp.access")
    server = await serve_with()
    head = b"POST /read HTTP/1.1\r\n" + CHUNKED
    # The last part would be a request, if the connection were not lost.
    smuggled = b"0\r\n\r\nGET /ignore HTTP/1.1\r\n" + HOST + b"\r\n"
    parts = [head, chunks, smuggled] if begun else [head + chunks, smuggled]
    answer = await send_in_parts(server, *parts)
    assert statuses(answer) == [400]
    assert b"zz" not in answer
    lines = [line for line in access_log(caplog) if "/ignore" not in line]
    assert len(lines) == 1
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_what_follows_a_broken_body_is_no_request(
    serve_with: ServeWith,
) -> None:
    server = await serve_with()
    head = b"POST /recover HTTP/1.1\r\n" + CHUNKED
    smuggled = b"0\r\n\r\n" + IGNORED
    answer = await send_in_parts(server, head, b"zz\r\n", smuggled)
    assert statuses(answer) == [400]


async def test_a_broken_body_ends_an_answer_that_has_begun(
    serve_with: ServeWith, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve_with()
    head = b"POST /stream_body HTTP/1.1\r\n" + CHUNKED
    answer = await send_in_parts(server, head, b"3\r\nabc\r\n", b"zz\r\n")
    assert statuses(answer) == [200]
    assert answer.endswith(b"3\r\nabc\r\n")
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_a_body_that_breaks_behind_another_request_is_a_400(
    serve_with: ServeWith,
) -> None:
    server = await serve_with()
    first = b"POST /read_late HTTP/1.1\r\n%bContent-Length: 0\r\n\r\n" % HOST
    second = b"POST /read HTTP/1.1\r\n" + CHUNKED
    answer = await send_in_parts(server, first + second, b"zz\r\n")
    assert statuses(answer) == [200, 400]


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
async def test_a_body_that_cannot_be_decoded_is_a_400(
    serve_with: ServeWith, caplog: pytest.LogCaptureFixture, coding: bytes
) -> None:
    server = await serve_with()
    answer = await exchange(
        server,
        b"POST /read HTTP/1.1\r\n%bContent-Encoding: %b\r\n" % (HOST, coding),
        b"Content-Length: 3\r\n\r\nabc",
    )
    assert statuses(answer) == [400]
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "line",
    [
        b"secret",
        b"secret / HTTP/1.1",
        b"GET secret HTTP/1.1",
        b"GET /\x01secret HTTP/1.1",
        b"GET /\xffsecret: HTTP/1.1",
        b"GET / secret/1.1",
        b"GET / HTTP/1.1\r\nsecret",
        b"GET / HTTP/1.1\r\nsecret\xff: \0",
        b"GET / HTTP/1.1\r\nContent-Length: secret",
        b"GET /" + b"secret" * 2000 + b" HTTP/1.1",
        b"GET / HTTP/1.1\r\nX: " + b"secret" * 2000,
    ],
)
async def test_what_cannot_be_parsed_is_refused_without_its_bytes(
    serve_with: ServeWith, line: bytes
) -> None:
    server = await serve_with()
    end = b"\r\n%bConnection: close\r\n\r\n" % HOST
    answer = await exchange(server, line + end)
    [status] = statuses(answer)
    assert status in {400, 404, 405}
    assert b"secret" not in answer
    assert b"Server: aiohttp-cookbook\r\n" in answer


@pytest.mark.slow("it repeats")
@pytest.mark.unmeasured("it repeats")
@pytest.mark.parametrize("path", [b"read", b"echo", b"stream_much", b"file"])
@pytest.mark.parametrize("how", ["reset", "close", "half-close"])
async def test_a_client_that_leaves_costs_no_traceback(
    serve_with: ServeWith,
    caplog: pytest.LogCaptureFixture,
    path: bytes,
    how: str,
) -> None:
    caplog.set_level(logging.INFO)
    server = await serve_with()
    request = b"POST /" + path + b" HTTP/1.1\r\n" + CHUNKED + b"5\r\nabc"
    if path != b"read":
        request = b"GET /" + path + b" HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n"
    cuts = range(1, len(request) + 1)
    for cut in cuts:
        with await connect(server, request[:cut]) as peer:
            if how == "reset":
                at_once = struct.pack("ii", 1, 0)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            elif how == "half-close":
                peer.shutdown(socket.SHUT_WR)
    await exchange(server, IGNORED)
    await server.stop()
    assert "Traceback" not in caplog.text
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(caplog.records) <= len(cuts) + 1
    assert not [line for line in access_log(caplog) if '" 500 ' in line]


@pytest.mark.parametrize(
    ("path", "status"),
    [(b"stream_forever", 200), (b"send_forever", 101)],
)
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_an_answer_that_breaks_off_is_logged_once(
    serve_with: ServeWith,
    caplog: pytest.LogCaptureFixture,
    path: bytes,
    status: int,
    how: str,
) -> None:
    caplog.set_level(logging.INFO)
    server = await serve_with()
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        request = b"GET /" + path + b" HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n"
        writer.write(request)
        assert await reader.readuntil(b"more")
        if how == "reset":
            writer.transport.abort()
        writer.close()
        while not access_log(caplog):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    await server.stop()
    line = rf'127\.0\.0\.1 "GET /\w+" {status} [1-9]\d+ 0\.\d+s unfinished'
    [record] = caplog.records
    assert re.fullmatch(line, record.getMessage())


async def test_a_mistake_in_the_middle_of_an_answer_is_logged(
    serve_with: ServeWith, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = await serve_with()
    request = b"GET /fail_in_the_middle HTTP/1.1\r\n" + HOST + b"\r\n"
    assert b"began" in await exchange(server, request)
    [line] = access_log(caplog)
    assert line.endswith("s unfinished")
    assert "ValueError: a mistake" in caplog.text


async def test_a_connection_that_has_ended_is_not_looked_at_any_more(
    serve_with: ServeWith,
) -> None:
    server = await serve_with()
    await exchange(server, IGNORED)
    await server.stop()
    gc.collect()
    # A timer would keep it.
    kept = [each for each in gc.get_objects() if isinstance(each, _Connection)]
    assert not kept


PARSER_IN_PYTHON = "AIOHTTP_NO_EXTENSIONS"


@pytest.mark.full("the same tests with the other parser")
@pytest.mark.skipif(PARSER_IN_PYTHON in os.environ, reason="this is it")
def test_all_this_is_so_with_the_parser_in_python() -> None:
    files = [
        "tests/test_connection.py",
        "tests/test_guard.py",
        "tests/test_internals.py",
    ]
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *files,
        ],
        env={**os.environ, PARSER_IN_PYTHON: "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stdout


async def test_a_kept_connection_is_served_while_the_server_drains(
    serve: Serve,
) -> None:
    app = web.Application()
    protect(app)
    app.router.add_get("/", read)
    server = await serve(app, runner_class=Runner, drain_timeout=PATIENCE)
    request = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    async with asyncio.timeout(TIMEOUT):
        kept = await asyncio.open_connection("127.0.0.1", server.port)
        kept[1].write(request)
        first = await kept[0].readuntil(b"}")
        assert b"Connection: close" not in first
        ending = asyncio.create_task(server.stop())
        await asyncio.wait_for(app[ENDING].wait(), TIMEOUT)
        # A new one is refused, not left to wait.
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        assert not ending.done()
        kept[1].write(request)
        last = await kept[0].read()
        assert last.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in last
        kept[1].close()
        # Nobody is left: the rest of the time is not waited for.
        await ending


async def test_draining_ends_where_a_client_stays(serve: Serve) -> None:
    app = web.Application()
    protect(app)
    server = await serve(app, runner_class=Runner, drain_timeout=SHORT)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(TIMEOUT):
        writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await reader.readline()
        await server.stop()
        await reader.read()
    writer.close()


async def test_a_server_without_a_guard_ends_too(serve: Serve) -> None:
    server = await serve(web.Application(), runner_class=Runner)
    await server.stop()
    assert server.stopped
