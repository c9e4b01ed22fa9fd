"""Proofs for recipes/request_data.py."""

import asyncio
import base64
import io
import json
import os
import re
import time

import pytest
from aiohttp import ClientSession, CookieJar, WSMsgType, web
from aiohttp.test_utils import make_mocked_request
from aiohttp.typedefs import Handler
from aiohttp_session import get_session
from cryptography.fernet import Fernet

from recipes.production import request_data
from tests.conftest import Serve
from tests.servers import TIMEOUT, Server, exchange

KEY = Fernet.generate_key().decode()
COOKIE = "REQUEST_DATA"
NEW_ID = re.compile(r"[0-9a-f]{32}")
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture
def application() -> web.Application:
    return request_data.create_app(key=KEY)


async def send(
    server: Server, path: bytes, *headers: bytes, method: bytes = b"GET"
) -> bytes:
    """Return the answer to raw headers, which a client would not send."""
    return await exchange(
        server,
        b"%b %b" % (method, server.url.raw_path.encode() + path),
        b" HTTP/1.1\r\nHost: localhost\r\n",
        *headers,
        b"Connection: close\r\n\r\n",
    )


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def id_of(answer: bytes) -> str:
    found = re.search(rb"\r\nX-Request-ID: ([^\r]+)\r\n", answer)
    assert found, answer
    return found[1].decode()


# The id of a request.


async def test_a_handler_sees_the_id_that_the_answer_tells(
    client: ClientSession,
) -> None:
    async with client.get("") as response:
        answer = await response.json()
    assert answer == {"request_id": response.headers["X-Request-ID"]}
    assert NEW_ID.fullmatch(answer["request_id"])


async def test_fifty_parallel_requests_have_an_id_each(
    client: ClientSession,
) -> None:
    async def tell_id(sent: dict[str, str]) -> str:
        async with client.get("", headers=sent) as response:
            answer = await response.json()
        assert answer["request_id"] == response.headers["X-Request-ID"]
        return str(answer["request_id"])

    new = asyncio.gather(*(tell_id({}) for _ in range(50)))
    numbers = [str(number) for number in range(50)]
    own = asyncio.gather(*(tell_id({"X-Request-ID": n}) for n in numbers))
    async with asyncio.timeout(TIMEOUT):
        assert len(set(await new)) == 50
        assert await own == numbers


async def test_an_id_does_not_outlive_its_request(server: Server) -> None:
    get = (
        b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % server.url.raw_path.encode()
    )
    answers = await exchange(
        server,
        *(get, b"X-Request-ID: first\r\n\r\n"),
        *(get, b"Connection: close\r\n\r\n"),
    )
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.count(b"X-Request-ID: first") == 1
    assert answers.count(b'{"request_id": "first"}') == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 200),
        ("HEAD", "", 200),
        ("GET", "missing", 404),
        ("DELETE", "", 405),
        ("GET", "me", 401),
        ("POST", "login", 400),
        ("POST", "logout", 204),
        ("GET", "stream", 200),
        ("HEAD", "stream", 200),
        ("GET", "ws", 400),
        ("GET", "error", 500),
    ],
)
async def test_every_answer_has_the_id(
    client: ClientSession, method: str, path: str, status: int
) -> None:
    sent = {"X-Request-ID": "abc-123"}
    async with client.request(method, path, headers=sent) as response:
        assert response.status == status
        assert response.headers.getall("X-Request-ID") == ["abc-123"]


async def test_an_expectation_that_is_not_met_is_answered_with_the_id(
    server: Server,
) -> None:
    answer = await send(server, b"", b"Expect: tea\r\nX-Request-ID: abc\r\n")
    assert status_of(answer) == 417
    assert id_of(answer) == "abc"


async def test_a_raised_exception_has_the_id(serve: Serve) -> None:
    async def refuse(request: web.Request) -> web.Response:
        raise web.HTTPForbidden

    app = request_data.create_app()
    app.router.add_get("/refuse", refuse)
    answer = await send(await serve(app), b"refuse")
    assert status_of(answer) == 403
    assert NEW_ID.fullmatch(id_of(answer))


async def test_what_cannot_be_parsed_has_no_id(server: Server) -> None:
    answer = await exchange(server, b"NO REQUEST\r\n\r\n")
    assert status_of(answer) == 400
    assert b"X-Request-ID" not in answer


@pytest.mark.parametrize(
    "sent",
    [
        "a",
        "x" * 128,
        "1f0c-77",
        "web.1/0:2=+",
        "00-4bf92f3577b34da6-00f067aa-01",
    ],
)
async def test_a_valid_id_is_kept(client: ClientSession, sent: str) -> None:
    async with client.get("", headers={"X-Request-ID": sent}) as response:
        assert await response.json() == {"request_id": sent}
    assert response.headers["X-Request-ID"] == sent


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"x" * 129,
        b"a b",
        b"a\tb",
        b'"a"',
        b"a\\nb",
        b"<script>",
        b"\xc3\xa9",
        b"\xff",
        b"%0d%0a",
    ],
)
async def test_an_invalid_id_is_replaced(server: Server, sent: bytes) -> None:
    answer = await send(server, b"", b"X-Request-ID: %b\r\n" % sent)
    assert status_of(answer) == 200
    assert NEW_ID.fullmatch(id_of(answer))


@pytest.mark.parametrize("sent", [b"a\0b", b"a\x01b", b"a\x7fb", b"a\rb"])
async def test_an_id_with_a_control_character_is_not_repeated(
    server: Server, sent: bytes
) -> None:
    answer = await send(server, b"", b"X-Request-ID: %b\r\n" % sent)
    head, _, _ = answer.partition(b"\r\n\r\n")
    assert status_of(answer) == 400
    assert b"X-Request-ID" not in head


async def test_outside_of_the_prefix_there_is_no_id(serve: Serve) -> None:
    root = web.Application()
    root.add_subapp("/mounted", request_data.create_app())
    server = await serve(root)
    inside = await send(server, b"mounted/missing")
    outside = await send(server, b"missing")
    assert status_of(inside) == status_of(outside) == 404
    assert NEW_ID.fullmatch(id_of(inside))
    assert b"X-Request-ID" not in outside


async def test_a_stream_tells_the_id(client: ClientSession) -> None:
    async with client.get("stream") as response:
        text = await response.text()
    assert response.content_type == "text/plain"
    assert text == response.headers["X-Request-ID"] + "\n"


async def test_head_of_the_stream_does_not_spoil_the_next_answer(
    server: Server,
) -> None:
    path = server.url.raw_path.encode()
    answers = await exchange(
        server,
        b"HEAD %bstream HTTP/1.1\r\nHost: localhost\r\n\r\n" % path,
        b"GET %bmissing HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Connection: close\r\n\r\n",
    )
    assert answers.split(b"\r\n\r\n")[1].startswith(b"HTTP/1.1 404")


# The WebSocket.


async def test_a_websocket_gets_the_id_and_is_closed(
    client: ClientSession,
) -> None:
    sent = {"X-Request-ID": "abc-123"}
    async with client.ws_connect("ws", headers=sent) as socket:
        assert await socket.receive_str(timeout=TIMEOUT) == "abc-123"
        end = await socket.receive(timeout=TIMEOUT)
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
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_bad_upgrade_is_refused(
    server: Server, headers: bytes, method: bytes
) -> None:
    answer = await send(server, b"ws", headers, method=method)
    assert status_of(answer) == 400
    _, _, body = answer.partition(b"\r\n\r\n")
    refusal = b'{"error": "ask for a WebSocket"}' if method == b"GET" else b""
    assert body == refusal


async def test_a_client_that_leaves_the_websocket_disturbs_no_other(
    serve: Serve, handler_cancellation: bool
) -> None:
    app = request_data.create_app()
    server = await serve(app, handler_cancellation=handler_cancellation)
    upgrade = b"GET /ws HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % UPGRADE
    for _ in range(5):
        await send_and_leave(server, upgrade)
    assert status_of(await send(server, b"")) == 200


async def send_and_leave(server: Server, request: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    await writer.drain()
    writer.transport.abort()


async def test_a_silent_websocket_does_not_hold_up_the_shutdown(
    serve: Serve, handler_cancellation: bool
) -> None:
    app = request_data.create_app()
    server = await serve(
        app, handler_cancellation=handler_cancellation, shutdown_timeout=60
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % UPGRADE)
    async with asyncio.timeout(TIMEOUT):
        await reader.readuntil(b"\x88\x02\x03\xe8")
        await server.stop()
    writer.close()


# The session.


async def log_in(client: ClientSession, user: str = "ann") -> str:
    """Log in and return the value of the cookie."""
    async with client.post("login", json={"user": user}) as response:
        assert response.status == 200
        assert await response.json() == {"user": user}
    return response.cookies[COOKIE].value


async def user_of(server: Server, cookie: str) -> str | None:
    """Return the user that a cookie stands for, None if for nobody."""
    header = b"Cookie: %b=%b\r\n" % (COOKIE.encode(), as_bytes(cookie))
    answer = await send(server, b"me", header)
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    if status_of(answer) == 401:
        assert body == {"error": "log in first"}
        return None
    assert status_of(answer) == 200
    return str(body["user"])


def as_bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


async def test_who_logged_in_is_known_until_the_logout(
    client: ClientSession,
) -> None:
    statuses = []
    for step in ("me", "login", "me", "logout", "me"):
        body = {"user": "ann"} if step == "login" else None
        method = "GET" if step == "me" else "POST"
        async with client.request(method, step, json=body) as response:
            statuses.append(response.status)
    assert statuses == [401, 200, 200, 204, 401]


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    client: ClientSession,
) -> None:
    async with client.post("login", json={"user": "ann"}) as response:
        cookie = response.cookies[COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert not cookie["domain"]
    assert not cookie["secure"]
    assert int(cookie["max-age"]) == 12 * 60 * 60


async def test_the_logout_deletes_the_cookie(client: ClientSession) -> None:
    await log_in(client)
    async with client.post("logout") as response:
        assert await response.read() == b""
    cookie = response.cookies[COOKIE]
    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", "/")


async def test_a_logout_of_nobody_is_no_error(client: ClientSession) -> None:
    async with client.post("logout") as response:
        assert response.status == 204


@pytest.mark.parametrize("path", ["login", "logout"])
async def test_no_link_can_log_anybody_in_or_out(
    client: ClientSession, path: str
) -> None:
    for method in ("GET", "HEAD"):
        async with client.request(method, path) as response:
            assert response.status == 405
            assert response.headers["Allow"] == "POST"


async def test_two_clients_are_two_users(server: Server) -> None:
    async with (
        ClientSession(server.url, cookie_jar=CookieJar(unsafe=True)) as one,
        ClientSession(server.url, cookie_jar=CookieJar(unsafe=True)) as other,
    ):
        ann, bob = await log_in(one, "ann"), await log_in(other, "bob")
    assert await user_of(server, ann) == "ann"
    assert await user_of(server, bob) == "bob"


async def test_a_login_starts_a_new_session(serve: Serve) -> None:
    async def plant(request: web.Request) -> web.Response:
        session = await get_session(request)
        session["cart"] = "planted"
        return web.Response()

    async def show(request: web.Request) -> web.Response:
        session = await get_session(request)
        return web.json_response(dict(session))

    app = request_data.create_app()
    app.router.add_post("/plant", plant)
    app.router.add_get("/show", show)
    server = await serve(app)
    jar = CookieJar(unsafe=True)
    async with ClientSession(server.url, cookie_jar=jar) as client:
        async with client.post("plant") as response:
            planted = response.cookies[COOKIE].value
        assert await log_in(client) != planted
        async with client.get("show") as response:
            assert await response.json() == {"user": "ann"}


async def test_a_copied_cookie_outlives_the_logout(
    client: ClientSession, server: Server
) -> None:
    cookie = await log_in(client)
    async with client.post("logout"):
        pass
    assert await user_of(server, cookie) == "ann"


def token(age: int = 0, key: str = KEY, **data: str) -> str:
    """Return a cookie of a session that was last changed `age` seconds ago."""
    changed = int(time.time()) - age
    session = json.dumps({"created": changed, "session": data}).encode()
    return Fernet(key).encrypt_at_time(session, changed).decode()


async def test_a_session_ends_twelve_hours_after_its_last_change(
    server: Server,
) -> None:
    assert await user_of(server, token(43_000, user="ann")) == "ann"
    assert await user_of(server, token(43_300, user="ann")) is None


async def test_a_session_does_not_last_longer_by_its_own_word(
    server: Server,
) -> None:
    session = {"created": int(time.time()) + 10**6, "session": {"user": "ann"}}
    old = Fernet(KEY).encrypt_at_time(
        json.dumps(session).encode(), int(time.time()) - 43_300
    )
    assert await user_of(server, old.decode()) is None


async def test_a_session_under_another_key_is_none(server: Server) -> None:
    other = Fernet.generate_key().decode()
    assert await user_of(server, token(key=other, user="ann")) is None


async def test_a_session_survives_a_restart_with_the_same_key(
    serve: Serve,
) -> None:
    before = await serve(request_data.create_app(key=KEY))
    async with ClientSession(before.url) as client:
        cookie = await log_in(client)
    await before.stop()
    after = await serve(request_data.create_app(key=KEY))
    assert await user_of(after, cookie) == "ann"


async def test_without_a_key_each_application_makes_its_own(
    serve: Serve,
) -> None:
    one = await serve(request_data.create_app())
    other = await serve(request_data.create_app())
    async with ClientSession(one.url) as client:
        cookie = await log_in(client)
    assert await user_of(one, cookie) == "ann"
    assert await user_of(other, cookie) is None


@pytest.mark.parametrize(
    "key", ["short", KEY[:-2], KEY[:-4], "A" * 60, "é" * 44]
)
def test_a_bad_key_is_refused_at_the_start(key: str) -> None:
    with pytest.raises(ValueError, match=r"key|ASCII|padding"):
        request_data.create_app(key=key)


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        '""',
        "notjson",
        '"x"',
        "%00",
        '{"session": {"user": "ann"}}',
        base64.urlsafe_b64encode(b'{"session": {"user": "ann"}}').decode(),
        "x" * 4096,
        "gAAAAA==",
        "=" * 100,
        "é",
        "\u2028",
        "{value}; {value}",
    ],
)
async def test_garbage_is_nobody(server: Server, cookie: str) -> None:
    assert await user_of(server, cookie) is None


async def test_a_cookie_with_any_foreign_byte_is_nobody(
    server: Server,
) -> None:
    good = token(user="ann")
    for byte in range(0x80, 0x100):
        char = bytes([byte]).decode(errors="surrogateescape")
        assert await user_of(server, char) is None
        assert await user_of(server, good[:50] + char + good[50:]) is None


async def test_a_cookie_with_any_bit_flipped_is_nobody(server: Server) -> None:
    good = base64.urlsafe_b64decode(token(user="ann"))
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        cookie = base64.urlsafe_b64encode(bad).decode()
        assert await user_of(server, cookie) is None


async def test_a_cookie_cut_anywhere_is_nobody(server: Server) -> None:
    good = token(user="ann")
    for length in range(len(good.rstrip("="))):
        assert await user_of(server, good[:length]) is None


@pytest.mark.parametrize(
    "user", ["ann", "é", "x" * 64, "\U0001f40d" * 64, "a b"]
)
async def test_a_cookie_is_small_enough_for_any_client(
    client: ClientSession, user: str
) -> None:
    async with client.post("login", json={"user": user}) as response:
        assert await response.json() == {"user": user}
    assert len(response.headers["Set-Cookie"]) <= 4096
    async with client.get("me") as response:
        assert await response.json() == {"user": user}


GZIP = b"Content-Encoding: gzip\r\n"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"", b""),
        (b"", b"{"),
        (b"", b"null"),
        (b"", b"[]"),
        (b"", b'["user"]'),
        (b"", b'"user"'),
        (b"", b"5"),
        (b"", b"NaN"),
        (b"", b"{}"),
        (b"", b'{"user": ""}'),
        (b"", b'{"user": 5}'),
        (b"", b'{"user": true}'),
        (b"", b'{"user": null}'),
        (b"", b'{"user": NaN}'),
        (b"", b'{"user": ["ann"]}'),
        (b"", b'{"user": {"user": "ann"}}'),
        (b"", b'{"user": "%b"}' % (b"x" * 65)),
        (b"", b'{"user": "\\ud800"}'),
        (b"", b'{"user": "a\\r\\nb"}'),
        (b"", b'{"user": "\\u0000"}'),
        (b"", b'{"user": "\\u202e"}'),
        (b"", b'{"user": %b}' % (b"1" * 5000)),
        (b"", b'{"user": "\xff"}'),
        (b"", b"[" * 100_000),
        (b"", b'{"user":' * 100_000),
        (b"Content-Type: a/b; charset=bogus\r\n", b'{"user": "ann"}'),
        (b"Content-Type: a/b; charset=\xff\r\n", b'{"user": "ann"}'),
        (b"Content-Type: a/b; charset=base64\r\n", b'{"user": "ann"}'),
        (b"Content-Type: a/b; charset=ascii\r\n", b'{"user": "ann"}'),
        (b"Content-Type: a/b; charset=unicode_escape\r\n", b"\\x"),
        (GZIP, b"this is no gzip"),
        (b"Content-Encoding: deflate\r\n", b"\x01"),
        (b"Content-Encoding: nonsense\r\n", b"x"),
    ],
)
async def test_a_body_without_a_proper_user_is_refused(
    server: Server, header: bytes, body: bytes
) -> None:
    path = server.url.raw_path.encode() + b"login"
    answer = await exchange(
        server,
        b"POST %b HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Content-Length: %d\r\nConnection: close\r\n" % len(body),
        header,
        b"\r\n",
        body,
    )
    assert status_of(answer) == 400
    assert b"Set-Cookie" not in answer
    assert b"Traceback" not in answer


async def test_a_body_beyond_the_limit_is_refused(
    client: ClientSession,
) -> None:
    body = io.BytesIO(json.dumps({"user": "x" * 2**20}).encode())
    async with client.post("login", data=body) as response:
        assert response.status == 413


async def test_a_client_that_leaves_in_its_body_disturbs_no_other(
    serve: Serve, handler_cancellation: bool
) -> None:
    app = request_data.create_app()
    server = await serve(app, handler_cancellation=handler_cancellation)
    await send_and_leave(
        server,
        b"POST /login HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 100\r\n\r\n{",
    )
    assert status_of(await send(server, b"")) == 200


async def test_behind_https_the_cookie_is_secure(serve: Serve) -> None:
    server = await serve(request_data.create_app(secure=True))
    async with ClientSession(server.url) as client:
        async with client.post("login", json={"user": "ann"}) as response:
            assert response.cookies[COOKIE]["secure"]
        # Hence no name with `__Host-`, which a client would not delete so.
        async with client.post("logout") as response:
            assert not response.cookies[COOKIE]["secure"]


# What the docstring warns of.


async def test_what_a_stream_or_websocket_or_crash_changed_is_lost(
    serve: Serve,
) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["user"] = "bob"
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    async def socket(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        (await get_session(request))["user"] = "bob"
        await response.close()
        return response

    async def crash(request: web.Request) -> web.Response:
        (await get_session(request))["user"] = "bob"
        raise RuntimeError("on purpose")

    app = request_data.create_app()
    app.router.add_get("/change/stream", stream)
    app.router.add_get("/change/socket", socket)
    app.router.add_get("/change/crash", crash)
    server = await serve(app)
    jar = CookieJar(unsafe=True)
    async with ClientSession(server.url, cookie_jar=jar) as client:
        await log_in(client)
        for path in ("change/stream", "change/crash"):
            async with client.get(path) as response:
                assert "Set-Cookie" not in response.headers
        async with client.ws_connect("change/socket"):
            pass
        async with client.get("me") as response:
            assert await response.json() == {"user": "ann"}


async def test_what_changed_before_a_redirect_is_saved(serve: Serve) -> None:
    async def leave(request: web.Request) -> web.Response:
        (await get_session(request))["user"] = "bob"
        raise web.HTTPSeeOther("/me")

    app = request_data.create_app()
    app.router.add_post("/change", leave)
    server = await serve(app)
    jar = CookieJar(unsafe=True)
    async with (
        ClientSession(server.url, cookie_jar=jar) as client,
        client.post("change") as response,
    ):
        assert await response.json() == {"user": "bob"}


async def test_a_header_set_on_what_the_handler_returned_may_be_lost(
    serve: Serve,
) -> None:
    @web.middleware
    async def set_late(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        response = await handler(request)
        response.headers["X-Late"] = "yes"
        return response

    app = request_data.create_app()
    app.middlewares.append(set_late)
    server = await serve(app)
    late = {
        path: b"X-Late" in await send(server, path)
        for path in (b"", b"stream", b"missing", b"error")
    }
    assert late == {
        b"": True,
        b"stream": False,
        b"missing": False,
        b"error": False,
    }


async def test_without_its_middleware_a_session_is_a_clear_error() -> None:
    request = make_mocked_request("GET", "/")
    with pytest.raises(
        RuntimeError, match="Install aiohttp_session middleware"
    ):
        await get_session(request)


def test_a_key_is_equal_to_no_other_key() -> None:
    request = make_mocked_request("GET", "/")
    request[request_data.REQUEST_ID] = "abc"
    assert web.RequestKey("REQUEST_ID", str) not in request
    assert request[request_data.REQUEST_ID] == "abc"


def test_a_string_as_key_warns() -> None:
    request = make_mocked_request("GET", "/")
    # aiohttp warns once of each string.
    name = os.urandom(8).hex()
    with pytest.warns(web.NotAppKeyWarning):
        request[name] = "data"
