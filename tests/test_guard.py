"""Proofs for cookbook/guard.py: what is refused, added and logged."""

import asyncio
import gc
import logging
import weakref

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from cookbook.connection import Runner
from cookbook.guard import OBSERVERS, Sites, protect
from tests.conftest import Serve
from tests.servers import TIMEOUT, Server, exchange


@pytest.fixture
async def guarded(serve: Serve) -> Server:
    async def echo(request: web.Request) -> web.StreamResponse:
        websocket = web.WebSocketResponse(timeout=0.1)
        if not websocket.can_prepare(request):
            return web.Response(text=request.path)
        await websocket.prepare(request)
        await websocket.close()
        return websocket

    async def fail(request: web.Request) -> web.Response:
        raise ValueError("a secret")

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Referrer-Policy": "origin"})
        await response.prepare(request)
        return response

    app = web.Application()
    protect(app, ["Cookbook.example"])
    app.router.add_get("/", echo)
    app.router.add_get("/fail", fail)
    app.router.add_get("/stream", stream)
    app.router.add_route("*", "/any", echo)
    return await serve(app, runner_class=Runner)


async def ask(
    server: Server, line: str, host: str = "localhost", more: str = ""
) -> str:
    request = f"{line}\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n"
    answer = await exchange(server, request.encode("latin-1"))
    return answer.decode("latin-1")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:80",
        "127.0.0.1:8080",
        "[::1]:8080",
        "cookbook.EXAMPLE",
    ],
)
async def test_a_known_host_is_served(guarded: Server, host: str) -> None:
    answer = await ask(guarded, "GET / HTTP/1.1", host)
    assert answer.startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil@localhost",
        "localhost:80:80",
        "127.0.0.2",
        "",
        "[::1",
        "::1]",
    ],
)
async def test_an_unknown_host_is_misdirected(
    guarded: Server, host: str
) -> None:
    answer = await ask(guarded, "GET / HTTP/1.1", host)
    assert answer.startswith(("HTTP/1.1 421 ", "HTTP/1.0 400 "))
    assert "evil" not in answer
    assert "421 " not in answer or "--allow-host NAME" in answer


async def test_an_absolute_target_beats_the_host_header(
    guarded: Server,
) -> None:
    evil = await ask(guarded, "GET http://evil.example/ HTTP/1.1")
    assert evil.startswith("HTTP/1.1 421 ")
    good = await ask(guarded, "GET http://localhost/ HTTP/1.1", "evil.example")
    assert good.startswith("HTTP/1.1 200 ")


async def test_an_upgrade_for_an_unknown_host_is_refused_before_101(
    guarded: Server,
) -> None:
    upgrade = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    answer = await ask(guarded, "GET / HTTP/1.1", "evil.example", upgrade)
    assert answer.startswith("HTTP/1.1 421 ")
    answer = await ask(guarded, "GET / HTTP/1.1", "localhost", upgrade)
    assert answer.startswith("HTTP/1.1 101 ")
    assert "X-Content-Type-Options: nosniff" in answer


@pytest.mark.parametrize("path", ["/", "/any", "/nowhere"])
async def test_trace_is_not_allowed_anywhere(
    guarded: Server, path: str
) -> None:
    answer = await ask(guarded, f"TRACE {path} HTTP/1.1")
    assert answer.startswith("HTTP/1.1 405 ")
    allow = next(x for x in answer.splitlines() if x.startswith("Allow: "))
    assert "TRACE" not in allow
    assert "GET" in allow


async def test_connect_is_not_allowed(guarded: Server) -> None:
    port = guarded.port
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        # The parser in Python takes all that follows for a body.
        assert (await reader.readline()).startswith(b"HTTP/1.1 405 ")
        writer.close()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET / HTTP/1.1", 200),
        ("GET /nowhere HTTP/1.1", 404),
        ("POST / HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("GET /fail HTTP/1.1", 500),
        ("B[EW / HTTP/1.1", 400),
        ("GET / HTTP/9", 400),
        ("GET http://evil.example/ HTTP/1.1", 421),
    ],
)
async def test_every_answer_has_the_headers(
    guarded: Server, line: str, status: int
) -> None:
    answer = await ask(guarded, line)
    assert answer.split()[1] == str(status)
    assert "X-Content-Type-Options: nosniff\r\n" in answer
    assert "Referrer-Policy: no-referrer\r\n" in answer
    assert "Server: aiohttp-cookbook\r\n" in answer
    assert "Python" not in answer


async def test_a_header_of_the_recipe_is_left_alone(guarded: Server) -> None:
    answer = await ask(guarded, "GET /stream HTTP/1.1")
    assert "Referrer-Policy: origin" in answer
    assert "no-referrer" not in answer


async def test_a_malformed_request_gets_a_reason_and_none_of_its_bytes(
    guarded: Server,
) -> None:
    answer = await ask(guarded, "B[EW /secret HTTP/1.1")
    assert answer.endswith("\r\n\r\nBadHttpMethod")
    assert "secret" not in await ask(guarded, "GET /fail HTTP/1.1")


async def test_who_leaves_within_a_body_is_no_error(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    reading, left = asyncio.Event(), asyncio.Event()

    async def read(request: web.Request) -> web.Response:
        reading.set()
        try:
            return web.Response(text=await request.text())
        finally:
            left.set()

    app = web.Application()
    protect(app)
    app.router.add_post("/", read)
    server = await serve(app, runner_class=Runner)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\n")
    writer.write(b"Content-Length: 3\r\n\r\na")
    async with asyncio.timeout(TIMEOUT):
        await reading.wait()
        writer.transport.abort()
        await left.wait()
    await server.stop()
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_an_error_of_ours_is_logged(
    guarded: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await ask(guarded, "GET /fail HTTP/1.1")
    assert "ValueError: a secret" in caplog.text


async def test_the_end_of_a_connection_is_announced(
    guarded: Server, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await exchange(
        guarded,
        b"GET /any HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n",
        b"Content-Length: 3\r\n\r\nabc",
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close\r\n" in answer
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_a_request_is_logged_as_one_line_of_ascii(
    guarded: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aiohttp.access")
    await ask(guarded, 'GET /%0Aa"b?ticket=1 HTTP/1.1')
    await ask(guarded, "GET /\xff\xfe HTTP/1.1")
    await ask(guarded, "GET /%C3%A9?ticket=1 HTTP/1.1")
    lines = [
        record.getMessage()
        for record in caplog.records
        if record.name == "aiohttp.access"
    ]
    assert len(lines) == 3
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert not any("ticket" in line for line in lines)
    assert '"GET /%0Aa\\"b" 404' in lines[0]


@pytest.mark.parametrize(
    ("request_id", "end"),
    [("abc-123", "s abc-123"), ('a"\xe9', r"s a\"\xe9"), (None, "s")],
)
async def test_a_line_of_the_log_ends_with_the_id_of_the_answer(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    request_id: str | None,
    end: str,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        headers = {"X-Request-ID": request_id} if request_id else {}
        return web.Response(headers=headers)

    caplog.set_level(logging.INFO, "aiohttp.access")
    app = web.Application()
    protect(app)
    app.router.add_get("/", answer)
    server = await serve(app, runner_class=Runner)
    assert " 200 " in await ask(server, "GET / HTTP/1.1")
    [line] = [
        record.getMessage()
        for record in caplog.records
        if record.name == "aiohttp.access"
    ]
    assert line.endswith(end)


async def test_a_runner_of_the_guard_stops(guarded: Server) -> None:
    await guarded.stop()
    assert guarded.runner.server is None


async def test_a_404_leaves_no_request_to_the_garbage_collector(
    serve: Serve,
) -> None:
    seen = list[weakref.ref[web.Request]]()

    @web.middleware
    async def observe(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        seen.append(weakref.ref(request))
        return await handler(request)

    app = web.Application()
    protect(app)
    app[OBSERVERS].append(observe)
    server = await serve(app, runner_class=Runner)
    gc.disable()
    try:
        assert "404" in await ask(server, "GET /nowhere HTTP/1.1")
        async with asyncio.timeout(TIMEOUT):
            while seen[0]() is not None:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
    finally:
        gc.enable()


PROXY = ["127.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("forwarded", "proxies", "logged"),
    [
        (["203.0.113.7"], PROXY, "203.0.113.7"),
        (["2001:DB8::7"], PROXY, "2001:db8::7"),
        # What a client has claimed is before what the proxy has seen.
        (["192.0.2.1, 203.0.113.7"], PROXY, "203.0.113.7"),
        (["192.0.2.1", "203.0.113.7"], PROXY, "203.0.113.7"),
        (['203.0.113.7 "GET'], PROXY, "127.0.0.1"),
        (["unknown"], PROXY, "127.0.0.1"),
        ([], PROXY, "127.0.0.1"),
        # Whoever connects here is no proxy.
        (["203.0.113.7"], ["10.0.0.0/8"], "127.0.0.1"),
        (["203.0.113.7"], [], "127.0.0.1"),
    ],
)
async def test_the_log_has_the_address_that_a_trusted_proxy_tells(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    forwarded: list[str],
    proxies: list[str],
    logged: str,
) -> None:
    caplog.set_level(logging.INFO, "aiohttp.access")
    app = web.Application()
    protect(app, trust_proxy=bool(proxies), proxies=proxies)
    server = await serve(app, runner_class=Runner)
    more = "".join(f"X-Forwarded-For: {each}\r\n" for each in forwarded)
    assert " 404 " in await ask(server, "GET /any HTTP/1.1", more=more)
    assert f'{logged} "GET /any" 404' in caplog.text


def test_a_unix_socket_is_no_proxy() -> None:
    assert not Sites(frozenset(), proxies=PROXY).is_proxy("")
    assert not Sites(frozenset(), proxies=PROXY).is_proxy(None)
