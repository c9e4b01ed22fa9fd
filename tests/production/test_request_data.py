"""Proofs for recipes/production/request_data.py, beside those of the answer."""

import asyncio
import io
import json
import logging
import os
import secrets
import signal
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar, WSMsgType, web
from aiohttp.typedefs import Handler
from redis.asyncio import Redis
from yarl import URL

from recipes.production import request_data
from tests.conftest import KillableRedis, Serve
from tests.engines import as_replica
from tests.servers import (
    PATIENCE,
    TIMEOUT,
    Server,
    exchange,
    forked,
)
from tests.test_request_data import (
    id_of,
    log_in,
    send,
    send_and_leave,
    status_of,
    whom,
)

UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

NOT_NOW = "not now: if Redis is away, `make cluster` starts one"


@pytest.fixture
def application(redis_url: str) -> web.Application:
    return request_data.create_app(redis_url=redis_url)


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


@pytest.fixture
def adding_ids(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The filter that the program adds to its handlers, on that of the test."""
    add_id = request_data.AddRequestId()
    caplog.handler.addFilter(add_id)
    yield
    # All tests have this handler.
    caplog.handler.removeFilter(add_id)


@pytest.mark.usefixtures("adding_ids")
async def test_every_record_of_a_request_has_its_id(
    serve: Serve, application: web.Application, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def call_a_library(request: web.Request) -> web.Response:
        logging.getLogger("a.library").info("calls")
        await asyncio.create_task(log_later())
        return web.Response()

    async def log_later() -> None:
        await asyncio.sleep(0)
        logging.getLogger("a.library").info("answers")

    application.router.add_get("/library", call_a_library)
    server = await serve(application)
    async with ClientSession(server.url) as client:
        for number in range(3):
            headers = {"X-Request-ID": f"id-{number}"}
            for path in ("library", "error"):
                async with client.get(path, headers=headers):
                    pass
    logging.getLogger("a.library").info("outside")
    ids = [
        (record.name, record.__dict__["request_id"])
        for record in caplog.records
        if record.name in ("a.library", "aiohttp.server")
    ]
    assert ids == [
        *(
            (name, f"id-{number}")
            for number in range(3)
            for name in ("a.library", "a.library", "aiohttp.server")
        ),
        ("a.library", "-"),
    ]


async def test_the_records_of_the_recipe_have_the_id_where_it_is_mounted(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with client.get("", headers={"X-Request-ID": "abc-123"}):
        pass
    [record] = [each for each in caplog.records if "its id" in each.message]
    assert record.__dict__["request_id"] == "abc-123"


async def test_run_alone_each_line_of_the_log_has_the_id(
    tmp_path: Path, redis_url: str
) -> None:
    script = Path(request_data.__file__)
    async with (
        forked(script, cwd=tmp_path, REDIS_URL=redis_url) as process,
        ClientSession(f"http://127.0.0.1:{process.port}/") as client,
    ):
        headers = {"X-Request-ID": "abc-123"}
        async with client.get("error", headers=headers) as response:
            assert response.status == 500
        assert await process.end() == 0
    log = process.log.read_text()
    assert "ERROR aiohttp.server [abc-123] Error handling request" in log


@pytest.mark.parametrize(
    ("trusted", "is_taken"),
    [
        ([], False),
        (["127.0.0.1"], True),
        (["127.0.0.0/8"], True),
        (["10.0.0.0/8", "127.0.0.1/32"], True),
        (["10.0.0.0/8", "::1"], False),
    ],
)
async def test_an_id_is_taken_from_a_trusted_proxy_alone(
    serve: Serve, redis_url: str, trusted: list[str], is_taken: bool
) -> None:
    app = request_data.create_app(redis_url=redis_url, trusted_proxies=trusted)
    server = await serve(app)
    for path in (b"", b"missing", b"error"):
        answer = await send(server, path, b"X-Request-ID: abc-123\r\n")
        assert (id_of(answer) == "abc-123") == is_taken


@pytest.mark.parametrize(
    ("remote", "is_taken"),
    [("", True), ("127.0.0.9", True), ("192.0.2.7", False), ("ann", False)],
)
async def test_the_address_that_counts_is_that_of_the_request(
    serve: Serve, application: web.Application, remote: str, is_taken: bool
) -> None:
    @web.middleware
    async def set_remote(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        return await handler(request.clone(remote=remote))

    root = web.Application(middlewares=[set_remote])
    root.add_subapp("/below", application)
    server = await serve(root, prefix="/below")
    answer = await send(server, b"", b"X-Request-ID: abc-123\r\n")
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (body["request_id"] == "abc-123") == is_taken


def test_a_network_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="10\\.0\\.0\\.1/8"):
        request_data.create_app(trusted_proxies=["10.0.0.1/8"])


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


async def test_a_connection_error_of_our_own_is_a_500(
    serve: Serve, application: web.Application
) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise ConnectionRefusedError("an upstream is away")

    application.router.add_get("/fail", fail)
    assert status_of(await send(await serve(application), b"fail")) == 500


# The WebSocket


async def test_a_websocket_gets_the_id_and_is_closed(
    client: ClientSession,
) -> None:
    sent = {"X-Request-ID": "abc-123"}
    async with client.ws_connect("ws", headers=sent) as ws:
        assert await ws.receive_str(timeout=TIMEOUT) == "abc-123"
        end = await ws.receive(timeout=TIMEOUT)
    assert (end.type, end.data) == (WSMsgType.CLOSE, 1000)


async def test_a_websocket_that_is_closed_leaves_no_error_in_the_log(
    serve: Serve, application: web.Application, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(application)
    async with browser(server) as client, client.ws_connect("ws") as ws:
        await ws.receive_str(timeout=TIMEOUT)
        await ws.receive(timeout=TIMEOUT)
    await server.stop()
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


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
        shutdown_timeout=PATIENCE,
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % UPGRADE)
    async with asyncio.timeout(TIMEOUT):
        await reader.readuntil(b"\x88\x02\x03\xe8")
        await server.stop()
    writer.close()


# The session


@pytest.mark.unmeasured("it repeats")
@pytest.mark.full("the same at length", server="mounted")
async def test_a_cookie_with_any_non_ascii_byte_is_nobody(
    client: ClientSession, server: Server
) -> None:
    good = await log_in(client)
    for byte in range(0x80, 0x100):
        char = bytes([byte]).decode(errors="surrogateescape")
        for cookie in (char, good[:20] + char + good[20:]):
            assert await whom(server, request_data.COOKIE, cookie) is None


@pytest.mark.parametrize("cookie", ["é", "\u2028", "\U0001f40d"])
async def test_a_cookie_with_a_non_ascii_character_is_nobody(
    server: Server, cookie: str
) -> None:
    assert await whom(server, request_data.COOKIE, cookie) is None


async def test_a_cookie_with_a_character_changed_or_cut_is_nobody(
    client: ClientSession, server: Server
) -> None:
    good = await log_in(client)
    for place, char in enumerate(good):
        other = "b" if char == "a" else "a"
        for cookie in (good[:place], good[:place] + other + good[place + 1 :]):
            assert await whom(server, request_data.COOKIE, cookie) is None
    assert await whom(server, request_data.COOKIE, good) == "ann"


async def test_behind_https_the_cookie_is_secure_and_of_this_host(
    serve: Serve, redis_url: str
) -> None:
    app = request_data.create_app(redis_url=redis_url, secure=True)
    server = await serve(app)
    name = f"__Host-{request_data.COOKIE}"
    async with ClientSession(server.url) as client:
        async with client.post("login", json={"user": "ann"}) as response:
            cookie = response.cookies[name]
        assert (cookie["secure"], cookie["path"]) == (True, "/")
        assert not cookie["domain"]
        # A browser would ignore a deletion that lacks these.
        async with client.post("logout") as response:
            cookie = response.cookies[name]
        assert (cookie["secure"], cookie["path"]) == (True, "/")
        assert cookie["max-age"] == "0"


async def test_a_login_gives_a_new_id_and_ends_the_old_one(
    client: ClientSession, server: Server
) -> None:
    old = await log_in(client)
    new = await log_in(client, "bob")
    assert new != old
    assert await whom(server, request_data.COOKIE, old) is None
    assert await whom(server, request_data.COOKIE, new) == "bob"


async def test_an_id_that_the_client_chose_is_never_used(
    server: Server,
) -> None:
    cookies = {request_data.COOKIE: "planted"}
    async with ClientSession(server.url, cookies=cookies) as client:
        assert await log_in(client) != "planted"
    assert await whom(server, request_data.COOKIE, "planted") is None


async def test_a_copied_cookie_is_nobody_after_the_logout_on_any_worker(
    workers: list[Server],
) -> None:
    here, there = workers
    async with browser(here) as client:
        cookie = await log_in(client)
        assert await whom(there, request_data.COOKIE, cookie) == "ann"
        async with client.post("logout") as response:
            assert response.status == 204
    for server in workers:
        assert await whom(server, request_data.COOKIE, cookie) is None


async def test_a_dump_of_redis_opens_nothing(
    client: ClientSession, server: Server, redis_url: str
) -> None:
    cookie = await log_in(client, "dumped")
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        keys = [key async for key in redis.scan_iter("request_data:*")]
        stored = await redis.zrange("request_data:sessions:dumped", 0, -1)
    assert not [key for key in keys if cookie in key]
    for text in [*stored, *(key.rpartition(":")[2] for key in keys)]:
        assert await whom(server, request_data.COOKIE, text) is None


@pytest.fixture
async def workers(serve: Serve, redis_url: str) -> list[Server]:
    """Two workers, which share nothing but their Redis.

    It may be slow to answer on a busy machine, and is not away then.
    """
    limits = ("timeout", "socket_timeout", "socket_connect_timeout")
    url = URL(redis_url).update_query(dict.fromkeys(limits, TIMEOUT))
    return [
        await serve(request_data.create_app(redis_url=str(url)))
        for _ in range(2)
    ]


def browser(server: Server) -> ClientSession:
    return ClientSession(server.url, cookie_jar=CookieJar(unsafe=True))


async def sessions_of(client: ClientSession) -> list[dict[str, Any]]:
    async with client.get("sessions") as response:
        assert response.status == 200
        answer = await response.json()
    return list(answer["sessions"])


async def test_the_sessions_of_a_user_are_listed(server: Server) -> None:
    before = int(time.time())
    ann = f"ann {secrets.token_hex(4)}"
    async with (
        browser(server) as laptop,
        browser(server) as phone,
        browser(server) as other,
    ):
        await log_in(laptop, ann)
        await log_in(phone, ann)
        await log_in(other, "bob")
        sessions = await sessions_of(phone)
        assert [each["current"] for each in sessions].count(True) == 1
        # Those of one second are in any order.
        assert {each["current"]: each["requests"] for each in sessions} == {
            False: 0,
            True: 1,
        }
        for each in sessions:
            assert before <= each["created"] <= each["last_seen"]
            assert each["last_seen"] <= time.time()
        async with laptop.post("logout"):
            pass
        [left] = await sessions_of(phone)
        assert left["current"]


async def test_a_logout_everywhere_ends_the_sessions_of_the_user_alone(
    workers: list[Server],
) -> None:
    here, there = workers
    async with (
        browser(here) as laptop,
        browser(there) as phone,
        browser(there) as other,
    ):
        cookies = [await log_in(laptop), await log_in(phone)]
        bob = await log_in(other, "bob")
        # Not the oldest of them.
        async with phone.post("logout-everywhere") as response:
            assert response.status == 204
            assert response.cookies[request_data.COOKIE].value == ""
        for server in workers:
            for cookie in cookies:
                assert await whom(server, request_data.COOKIE, cookie) is None
            assert await whom(server, request_data.COOKIE, bob) == "bob"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "sessions"), ("POST", "logout-everywhere")]
)
async def test_sessions_are_shown_and_ended_for_who_is_logged_in(
    client: ClientSession, method: str, path: str
) -> None:
    async with client.request(method, path) as response:
        assert response.status == 401
        assert await response.json() == {"error": "log in first"}


async def test_a_logout_everywhere_of_a_foreign_origin_is_refused(
    client: ClientSession,
) -> None:
    await log_in(client)
    headers = {"Origin": "http://evil.example"}
    async with client.post("logout-everywhere", headers=headers) as response:
        assert response.status == 403
    async with client.get("me") as response:
        assert response.status == 200


@pytest.mark.unmeasured("it repeats")
async def test_of_a_hundred_requests_at_once_none_is_lost(
    workers: list[Server],
) -> None:
    async with browser(workers[0]) as client:
        await log_in(client)
        urls = [worker.url / "me" for worker in workers] * 50

        async def visit(url: URL) -> None:
            async with client.get(url) as response:
                assert response.status == 200

        await asyncio.gather(*map(visit, urls))
        [session] = [
            each for each in await sessions_of(client) if each["current"]
        ]
    # That of the list is one more.
    assert session["requests"] == 101


async def test_redis_forgets_who_logs_in_again(
    client: ClientSession, redis_url: str
) -> None:
    user = f"ann {secrets.token_hex(4)}"
    for _ in range(2):
        await log_in(client, user)
    sessions = request_data.SESSIONS + user
    async with Redis.from_url(redis_url) as redis:
        # One that has ended would count among the sessions of this user.
        assert await redis.zcard(sessions) == 1
        assert 0 < await redis.ttl(sessions) <= request_data.MAX_AGE


async def test_the_connections_are_closed_at_the_end(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    url = killable_redis.url
    server = await serve(request_data.create_app(redis_url=url))
    async with browser(server) as client:
        await log_in(client)
    async with Redis.from_url(url) as redis:
        assert len(await redis.client_list()) == 2
        await server.stop()
        assert len(await redis.client_list()) == 1


# Redis is away


async def test_without_redis_the_reason_is_said_and_it_recovers(
    serve: Serve,
    killable_redis: KillableRedis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = request_data.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with browser(server) as client:
        await log_in(client)
        killable_redis.stop()
        for method, path in [
            ("GET", "me"),
            ("GET", "sessions"),
            ("POST", "login"),
            ("POST", "logout"),
            ("POST", "logout-everywhere"),
        ]:
            name = {"user": "ann"}
            async with client.request(method, path, json=name) as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"
                assert await response.json() == {"error": NOT_NOW}
        causes = [m for m in caplog.messages if m.startswith("cannot answer: ")]
        assert len(causes) == 5
        assert "ConnectionError" in causes[0]
        async with client.get("") as response:
            assert response.status == 200
        killable_redis.start()
        # What it had in memory is lost.
        async with client.get("me") as response:
            assert response.status == 401
        await log_in(client)
        async with client.get("me") as response:
            assert response.status == 200


async def test_no_connection_stays_at_a_redis_that_has_become_a_replica(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    app = request_data.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with browser(server) as client:
        await log_in(client)
        async with (
            as_replica(killable_redis.url),
            client.post("login", json={"user": "ann"}) as response,
        ):
            assert response.status == 503
        await log_in(client)


@pytest.mark.parametrize(
    ("field", "value"),
    [("created", "1.5"), ("last_seen", "x"), ("requests", "x")],
)
async def test_what_is_stored_by_something_else_is_no_session(
    serve: Serve, killable_redis: KillableRedis, field: str, value: str
) -> None:
    app = request_data.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        browser(server) as other,
        browser(server) as client,
        Redis.from_url(killable_redis.url) as redis,
    ):
        await log_in(other)
        [session] = await redis.keys("request_data:session:*")
        await redis.hset(session, field, value)
        await log_in(client)
        async with client.get("sessions") as response:
            [session] = (await response.json())["sessions"]
            assert session["current"]


async def test_a_name_that_is_no_text_is_replaced(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    app = request_data.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        browser(server) as client,
        Redis.from_url(killable_redis.url) as redis,
    ):
        await log_in(client)
        [session] = await redis.keys("request_data:session:*")
        await redis.hset(session, "user", b"\xff")
        async with client.get("me") as response:
            assert await response.json() == {"user": "\ufffd"}


async def test_a_mistake_of_a_handler_is_a_500_with_a_traceback(
    serve: Serve, application: web.Application, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise ValueError("a mistake")

    application.router.add_get("/fail", fail)
    server = await serve(application)
    async with (
        ClientSession(server.url) as client,
        client.get("fail") as response,
    ):
        assert response.status == 500
    assert "ValueError: a mistake" in caplog.text
    assert "Traceback" in caplog.text


async def test_it_starts_without_redis(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    killable_redis.stop()
    app = request_data.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with browser(server) as client:
        async with client.post("login", json={"user": "ann"}) as response:
            assert response.status == 503
        killable_redis.start()
        await log_in(client)


async def test_a_redis_that_is_full_lets_in_nobody_new_and_everybody_out(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    app = request_data.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        browser(server) as ann,
        browser(server) as eve,
        Redis.from_url(killable_redis.url) as redis,
    ):
        cookie = await log_in(ann)
        await redis.config_set("maxmemory", 1)
        async with eve.post("login", json={"user": "eve"}) as response:
            assert response.status == 503
        async with ann.get("me") as response:
            assert await response.json() == {"user": "ann"}
        async with ann.post("logout") as response:
            assert response.status == 204
    assert await whom(server, request_data.COOKIE, cookie) is None


async def test_a_login_that_redis_has_no_room_for_ends_no_session(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    app = request_data.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        browser(server) as ann,
        Redis.from_url(killable_redis.url) as redis,
    ):
        await log_in(ann)
        await redis.config_set("maxmemory", 1)
        async with ann.post("login", json={"user": "ann"}) as response:
            assert response.status == 503
        async with ann.get("me") as response:
            assert await response.json() == {"user": "ann"}


async def test_a_logout_everywhere_that_another_overtakes_is_no_outage(
    server: Server, redis_url: str
) -> None:
    ann = f"ann {secrets.token_hex(4)}"
    async with browser(server) as client, Redis.from_url(redis_url) as redis:
        cookie = await log_in(client, ann)
        # The other one did this after ours has read its session.
        await redis.delete(f"request_data:sessions:{ann}")
        async with client.post("logout-everywhere") as response:
            assert response.status == 204
    assert await whom(server, request_data.COOKIE, cookie) is None


async def test_a_frozen_redis_is_a_503_in_time_and_recovers(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    app = request_data.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with browser(server) as client:
        await log_in(client)
        os.killpg(killable_redis.process.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(TIMEOUT), client.get("me") as response:
                assert response.status == 503
        finally:
            os.killpg(killable_redis.process.pid, signal.SIGCONT)
        async with client.get("me") as response:
            assert response.status == 200


# Lifetimes


async def test_a_session_ends_when_it_is_idle(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_data, "IDLE_AGE", 1)
    await log_in(client)
    await asyncio.sleep(1.1)
    async with client.get("me") as response:
        assert response.status == 401


async def test_a_request_prolongs_the_session_but_not_beyond_its_age(
    client: ClientSession, redis_url: str
) -> None:
    cookie = await log_in(client)
    key = f"request_data:session:{request_data.hash_token(cookie)}"
    now = int(time.time())
    async with Redis.from_url(redis_url) as redis:
        await redis.expire(key, 10)
        async with client.get("me") as response:
            assert response.status == 200
        assert 3590 <= await redis.ttl(key) <= 3600
        # It has 20 seconds left of its 12 hours.
        await redis.hset(key, "created", str(now - 12 * 60 * 60 + 20))
        async with client.get("me") as response:
            assert response.status == 200
        assert 0 < await redis.ttl(key) <= 21
        await redis.hset(key, "created", str(now - 12 * 60 * 60 - 1))
        async with client.get("me") as response:
            assert response.status == 401
        assert not await redis.exists(key)


@pytest.mark.unmeasured("it repeats")
async def test_a_request_does_not_bring_an_ended_session_back(
    workers: list[Server], redis_url: str
) -> None:
    async with Redis.from_url(redis_url) as redis:
        for _ in range(30):
            async with browser(workers[0]) as client:
                cookie = await log_in(client)
                urls = [worker.url / "me" for worker in workers] * 5

                async def visit(url: URL) -> None:
                    async with client.get(url) as response:
                        assert response.status in (200, 401)

                async with asyncio.TaskGroup() as tasks:
                    for url in urls:
                        tasks.create_task(visit(url))
                    headers = {"Cookie": f"{request_data.COOKIE}={cookie}"}
                    async with client.post(
                        workers[1].url / "logout-everywhere", headers=headers
                    ) as response:
                        assert response.status == 204
            key = f"request_data:session:{request_data.hash_token(cookie)}"
            assert not await redis.exists(key)


@pytest.mark.parametrize("kind", ["a text", "a date"])
async def test_a_session_of_another_version_is_nobody_and_may_log_in(
    server: Server, redis_url: str, kind: str
) -> None:
    async with browser(server) as client, Redis.from_url(redis_url) as redis:
        cookie = await log_in(client)
        key = f"request_data:session:{request_data.hash_token(cookie)}"
        if kind == "a text":
            await redis.set(key, '{"user": "ann"}')
        else:
            await redis.hset(key, "created", "2026-11-27")
        assert await whom(server, request_data.COOKIE, cookie) is None
        await log_in(client)
        await redis.delete(key)


@pytest.mark.slow("it logs in again and again")
async def test_many_logins_end_the_oldest_session_of_that_user_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_data, "MAX_USER_SESSIONS", 2)
    ann = f"ann {secrets.token_hex(4)}"
    async with browser(server) as other:
        bob = await log_in(other, "bob")
        cookies = []
        for _ in range(3):
            async with browser(server) as client:
                cookies.append(await log_in(client, ann))
            # The order of two logins in one second is not known.
            await asyncio.sleep(1)
    users = [
        await whom(server, request_data.COOKIE, cookie) for cookie in cookies
    ]
    assert users == [None, ann, ann]
    assert await whom(server, request_data.COOKIE, bob) == "bob"


async def test_a_list_leaves_out_what_has_ended_by_itself(
    server: Server, redis_url: str
) -> None:
    ann = f"ann {secrets.token_hex(4)}"
    async with browser(server) as laptop, browser(server) as phone:
        cookie = await log_in(laptop, ann)
        await log_in(phone, ann)
        async with Redis.from_url(redis_url) as redis:
            token = request_data.hash_token(cookie)
            await redis.delete(f"request_data:session:{token}")
        [session] = await sessions_of(phone)
        assert session["current"]
