"""Proofs for recipes/production/request_data.py, beside those of the answer."""

import asyncio
import io
import json
import logging
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSMsgType, web
from aiohttp.typedefs import Handler

from recipes.production import request_data
from tests.conftest import Serve
from tests.servers import (
    ROOT,
    TIMEOUT,
    Server,
    exchange,
    forked,
    run_to_its_end,
)
from tests.test_request_data import (
    KEY,
    id_of,
    send,
    send_and_leave,
    status_of,
    token,
    whom,
)

UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture
def application() -> web.Application:
    return request_data.create_app(key=KEY)


# Errors


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "missing", 404, "Not Found"),
        ("DELETE", "", 405, "Method Not Allowed"),
        ("HEAD", "ws", 405, ""),
        ("GET", "ws", 400, "ask for a WebSocket"),
    ],
)
async def test_errors_are_json_and_have_the_id(
    client: ClientSession, method: str, path: str, status: int, reason: str
) -> None:
    sent = {"X-Request-ID": "abc-123"}
    async with client.request(method, path, headers=sent) as response:
        assert response.status == status
        assert response.headers.getall("X-Request-ID") == ["abc-123"]
        assert response.content_type == "application/json"
        if method != "HEAD":
            assert await response.json() == {"error": reason}
        assert ("Allow" in response.headers) == (status == 405)


async def test_a_body_beyond_the_limit_is_refused_in_json(
    client: ClientSession,
) -> None:
    body = io.BytesIO(b"x" * (2**20 + 1))
    async with client.post("login", data=body) as response:
        assert response.status == 413
        # Python 3.13 has another phrase for it than 3.11.
        reason = HTTPStatus.REQUEST_ENTITY_TOO_LARGE.phrase
        assert await response.json() == {"error": reason}


async def test_the_traceback_of_a_failure_has_the_id(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    sent = {"X-Request-ID": "abc-123"}
    async with client.get("error", headers=sent) as response:
        assert response.status == 500
        assert response.headers["X-Request-ID"] == "abc-123"
        assert "on purpose" not in await response.text()
    [record] = [record for record in caplog.records if record.exc_info]
    text = logging.Formatter().format(record)
    assert text.endswith("fails on purpose\nin request abc-123")


async def test_the_log_line_of_a_login_has_the_id(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sent = {"X-Request-ID": "abc-123"}
    async with client.post("login", json={"user": "ann"}, headers=sent):
        pass
    assert "request abc-123: 'ann' logs in" in caplog.messages


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("path", ["stream", "ws", "login"])
async def test_a_client_that_disconnects_at_any_moment_costs_no_traceback(
    serve: Serve,
    application: web.Application,
    handler_cancellation: bool,
    path: str,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    server = await serve(application, handler_cancellation=handler_cancellation)
    requests = {
        "stream": b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "ws": b"GET /ws HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % UPGRADE,
        "login": b"POST /login HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 100\r\n\r\n{",
    }
    for _ in range(20):
        await send_and_leave(server, requests[path], how)
    # Their turn comes before that of a connection that is made later.
    assert status_of(await send(server, b"")) == 200
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("path", ["stream", "ws"])
async def test_a_handler_that_writes_after_a_disconnect_costs_one_line(
    serve: Serve,
    application: web.Application,
    path: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    has_started = asyncio.Event()
    has_ended = asyncio.Event()

    @web.middleware
    async def outlast(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        has_started.set()
        while request.transport:  # noqa: ASYNC110 - nothing tells of its end
            await asyncio.sleep(0)
        try:
            return await handler(request)
        finally:
            has_ended.set()

    application.middlewares.insert(0, outlast)
    server = await serve(application)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    upgrade = UPGRADE if path == "ws" else b""
    writer.write(b"GET /%b HTTP/1.1\r\n" % path.encode())
    writer.write(b"Host: localhost\r\nX-Request-ID: abc-123\r\n")
    writer.write(upgrade + b"\r\n")
    async with asyncio.timeout(TIMEOUT):
        await has_started.wait()
        writer.close()
        await has_ended.wait()
    assert "request abc-123: the client has left" in caplog.messages
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_connection_error_of_our_own_is_a_500(serve: Serve) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise ConnectionRefusedError("an upstream is away")

    app = request_data.create_app(key=KEY)
    app.router.add_get("/fail", fail)
    assert status_of(await send(await serve(app), b"fail")) == 500


# The WebSocket


async def test_a_websocket_gets_the_id_and_is_closed(
    client: ClientSession,
) -> None:
    sent = {"X-Request-ID": "abc-123"}
    async with client.ws_connect("ws", headers=sent) as ws:
        assert await ws.receive_str(timeout=TIMEOUT) == "abc-123"
        end = await ws.receive(timeout=TIMEOUT)
    assert (end.type, end.data) == (WSMsgType.CLOSE, 1000)


async def test_the_upgrade_has_the_id(server: Server) -> None:
    # A peer that never answers the close frame is left after a second.
    path = server.url.raw_path.encode()
    answer = await exchange(
        server,
        b"GET %bws HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (path, UPGRADE),
    )
    assert status_of(answer) == 101
    _, _, frames = answer.partition(b"\r\n\r\n")
    assert frames == b"\x81\x20%b\x88\x02\x03\xe8" % id_of(answer).encode()


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        b"Upgrade: h2c\r\n",
        b"Upgrade: \xff\r\n",
        UPGRADE.replace(b"Version: 13", b"Version: 99"),
        UPGRADE.replace(b"Version: 13", b"Version: \xff"),
        UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
        UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"\xff"),
        UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"\xc3\xa9"),
        UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b""),
    ],
)
async def test_a_bad_upgrade_is_refused(server: Server, headers: bytes) -> None:
    answer = await send(server, b"ws", headers)
    assert status_of(answer) == 400
    _, _, body = answer.partition(b"\r\n\r\n")
    assert body == b'{"error": "ask for a WebSocket"}'


async def test_head_is_never_upgraded_to_a_websocket(server: Server) -> None:
    answer = await send(server, b"ws", UPGRADE, method=b"HEAD")
    assert status_of(answer) == 405


async def test_a_websocket_of_a_foreign_origin_is_refused(
    server: Server,
) -> None:
    origin = b"Origin: http://evil.example\r\n"
    answer = await send(server, b"ws", UPGRADE, origin)
    assert status_of(answer) == 403
    _, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body)["error"].startswith("the Origin is foreign")


async def test_a_silent_websocket_does_not_hold_up_the_shutdown(
    serve: Serve, application: web.Application, handler_cancellation: bool
) -> None:
    server = await serve(
        application,
        handler_cancellation=handler_cancellation,
        shutdown_timeout=60,
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % UPGRADE)
    async with asyncio.timeout(TIMEOUT):
        await reader.readuntil(b"\x88\x02\x03\xe8")
        await server.stop()
    writer.close()


# The session


@pytest.mark.full("the same at length", server="mounted")
async def test_a_cookie_with_any_non_ascii_byte_is_nobody(
    server: Server,
) -> None:
    good = token(user="ann")
    for byte in range(0x80, 0x100):
        char = bytes([byte]).decode(errors="surrogateescape")
        for cookie in (char, good[:50] + char + good[50:]):
            assert await whom(server, request_data.COOKIE, cookie) is None


@pytest.mark.parametrize("cookie", ["é", "\u2028", "\U0001f40d"])
async def test_a_cookie_with_a_non_ascii_character_is_nobody(
    server: Server, cookie: str
) -> None:
    assert await whom(server, request_data.COOKIE, cookie) is None


async def test_behind_https_the_cookie_is_secure(serve: Serve) -> None:
    server = await serve(request_data.create_app(key=KEY, secure=True))
    name = request_data.COOKIE
    async with ClientSession(server.url) as client:
        async with client.post("login", json={"user": "ann"}) as response:
            assert response.cookies[name]["secure"]
        # Hence no name with `__Host-`, which a client would not delete so.
        async with client.post("logout") as response:
            assert not response.cookies[name]["secure"]


async def test_a_key_that_is_none_fails_the_start_with_one_line(
    tmp_path: Path,
) -> None:
    script = ROOT / "recipes" / "production" / "request_data.py"
    environment = {"SESSION_KEY": "not-a-key"}
    code, errors = await run_to_its_end(script, cwd=tmp_path, **environment)
    assert code == 1
    assert errors.startswith("SESSION_KEY is no key: ")
    assert errors.count("\n") == 1
    assert "not-a-key" not in errors
    async with forked(script, cwd=tmp_path, SESSION_KEY=KEY) as process:
        assert await process.end() == 0
