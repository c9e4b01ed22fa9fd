"""Proofs for recipes/request_data.py; they hold for the production file too."""

import asyncio
import base64
import io
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar, web
from aiohttp.test_utils import make_mocked_request
from aiohttp.typedefs import Handler
from aiohttp_session import get_session
from cryptography.fernet import Fernet

from tests.conftest import Serve, Tier, in_turn
from tests.servers import TIMEOUT, Server, exchange, forked, run_to_its_end

KEY = Fernet.generate_key().decode()
FORGED = '{"created": 9e9, "session": {"user": "ann"}}'
NEW_ID = re.compile(r"[0-9a-f]{32}")

COOKIE_IS_SESSION = "E: the production file has its sessions in a store"
NO_KEY = "E: with sessions in a store the production file needs no key"

UserOf = Callable[[str], Awaitable[str | None]]
"""The fixture `user_of`."""


@pytest.fixture
def application(recipe: Tier, redis_url: str) -> web.Application:
    if ".production." in recipe.__name__:
        return recipe.create_app(redis_url=redis_url)
    return recipe.create_app(key=KEY)


@pytest.fixture
def cookie_name(recipe: Tier) -> str:
    """A browser sends the cookies of both files to both of them."""
    is_production = ".production." in recipe.__name__
    return "REQUEST_DATA_PRODUCTION" if is_production else "REQUEST_DATA"


@pytest.fixture
def user_of(server: Server, cookie_name: str) -> UserOf:
    """A function that returns the user of a cookie, or None for nobody."""

    async def user_of(cookie: str) -> str | None:
        return await whom(server, cookie_name, cookie)

    return user_of


async def whom(server: Server, name: str, cookie: str) -> str | None:
    header = b"Cookie: %b=%b\r\n" % (name.encode(), as_bytes(cookie))
    answer = await send(server, b"me", header)
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    if status_of(answer) == 401:
        assert body == {"error": "log in first"}
        return None
    assert status_of(answer) == 200
    return str(body["user"])


def as_bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


async def log_in(client: ClientSession, user: str = "ann") -> str:
    """Log in and return the value of the cookie."""
    async with client.post("login", json={"user": user}) as response:
        assert response.status == 200
        assert await response.json() == {"user": user}
    [cookie] = response.cookies.values()
    return str(cookie.value)


def token(age: int = 0, key: str = KEY, **data: str) -> str:
    """Return a cookie of a session that was last changed `age` seconds ago."""
    changed = int(time.time()) - age
    session = json.dumps({"created": changed, "session": data}).encode()
    return Fernet(key).encrypt_at_time(session, changed).decode()


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


async def send_and_leave(server: Server, request: bytes, how: str) -> None:
    """Send a request and leave before its answer: with a FIN or a reset."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    await writer.drain()
    if how == "reset":
        writer.transport.abort()
    writer.close()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def id_of(answer: bytes) -> str:
    found = re.search(rb"\r\nX-Request-ID: ([^\r]+)\r\n", answer)
    assert found, answer
    return found[1].decode()


# The id of a request


async def test_a_handler_sees_the_id_that_the_answer_shows(
    client: ClientSession,
) -> None:
    async with client.get("") as response:
        answer = await response.json()
    assert answer == {"request_id": response.headers["X-Request-ID"]}
    assert NEW_ID.fullmatch(answer["request_id"])


async def test_fifty_parallel_requests_have_an_id_each(
    client: ClientSession,
) -> None:
    async def read_id(sent: dict[str, str]) -> str:
        async with client.get("", headers=sent) as response:
            answer = await response.json()
        assert answer["request_id"] == response.headers["X-Request-ID"]
        return str(answer["request_id"])

    new = asyncio.gather(*(read_id({}) for _ in range(50)))
    numbers = [str(number) for number in range(50)]
    own = asyncio.gather(*(read_id({"X-Request-ID": n}) for n in numbers))
    async with asyncio.timeout(TIMEOUT):
        assert len(set(await new)) == 50
        assert await own == numbers


async def test_the_id_of_a_slow_request_is_not_taken_by_the_next(
    application: web.Application, serve: Serve
) -> None:
    entered = asyncio.Event()
    go_on = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        entered.set()
        await go_on.wait()
        return web.Response()

    application.router.add_get("/wait", wait)
    server = await serve(application)
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(
            send(server, b"wait", b"X-Request-ID: slow\r\n")
        )
        await entered.wait()
        assert id_of(await send(server, b"", b"X-Request-ID: b\r\n")) == "b"
        go_on.set()
        assert id_of(await slow) == "slow"


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
    ],
)
async def test_every_answer_has_the_id(
    client: ClientSession, method: str, path: str, status: int
) -> None:
    sent = {"X-Request-ID": "abc-123"}
    async with client.request(method, path, headers=sent) as response:
        assert response.status == status
        assert [*response.headers.getall("X-Request-ID")] == ["abc-123"]


async def test_an_expectation_that_is_not_met_is_answered_with_the_id(
    server: Server,
) -> None:
    answer = await send(server, b"", b"Expect: tea\r\nX-Request-ID: abc\r\n")
    assert status_of(answer) == 417
    assert id_of(answer) == "abc"


@pytest.mark.parametrize("error", [web.HTTPForbidden, RuntimeError])
async def test_a_raised_exception_is_answered_with_an_id(
    application: web.Application, serve: Serve, error: type[Exception]
) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise error

    application.router.add_get("/fail", fail)
    answer = await send(await serve(application), b"fail")
    assert status_of(answer) == (500 if error is RuntimeError else 403)
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


@in_turn(
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


async def test_outside_of_the_prefix_there_is_no_id(
    application: web.Application, serve: Serve
) -> None:
    root = web.Application()
    root.add_subapp("/mounted", application)
    server = await serve(root)
    inside = await send(server, b"mounted/missing")
    outside = await send(server, b"missing")
    assert status_of(inside) == status_of(outside) == 404
    assert NEW_ID.fullmatch(id_of(inside))
    assert b"X-Request-ID" not in outside


def test_a_key_of_a_request_is_equal_to_no_other_key(recipe: Any) -> None:
    request = make_mocked_request("GET", "/")
    request[recipe.REQUEST_ID] = "abc"
    assert web.RequestKey("REQUEST_ID", str) not in request
    assert request[recipe.REQUEST_ID] == "abc"


def test_a_string_as_key_of_a_request_warns() -> None:
    request = make_mocked_request("GET", "/")
    # aiohttp warns once of each string.
    name = os.urandom(8).hex()
    with pytest.warns(web.NotAppKeyWarning):
        request[name] = "data"


# The log


async def test_the_log_record_of_a_handler_has_the_id(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with client.get("", headers={"X-Request-ID": "abc-123"}):
        pass
    assert "request abc-123 returns its id" in caplog.messages


async def test_each_line_of_the_access_log_ends_with_the_id(
    recipe: Tier, tmp_path: Path
) -> None:
    script = Path(recipe.__file__)
    async with (
        forked(script, cwd=tmp_path) as process,
        ClientSession(f"http://127.0.0.1:{process.port}/") as client,
    ):
        for path in ("", "stream", "missing", "me"):
            sent = {"X-Request-ID": f"id-of-{path}"}
            async with client.get(path, headers=sent) as response:
                await response.read()
        assert await process.end() == 0
    lines = process.log.read_text().splitlines()
    assert "aiohttp.access" in lines[-1]
    ids = [
        line.rpartition(" ")[2] for line in lines if "aiohttp.access" in line
    ]
    assert ids == ["id-of-", "id-of-stream", "id-of-missing", "id-of-me"]
    assert any("request id-of- returns its id" in line for line in lines)


# The stream


async def test_a_stream_contains_the_id(client: ClientSession) -> None:
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


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_client_that_disconnects_before_the_stream_costs_no_traceback(
    application: web.Application,
    serve: Serve,
    handler_cancellation: bool,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await serve(application, handler_cancellation=handler_cancellation)
    request = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(20):
        await send_and_leave(server, request, how)
    assert status_of(await send(server, b"stream")) == 200
    assert not [record for record in caplog.records if record.exc_info]


# The session


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
    client: ClientSession, cookie_name: str
) -> None:
    async with client.post("login", json={"user": "ann"}) as response:
        assert list(response.cookies) == [cookie_name]
    cookie = response.cookies[cookie_name]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert not cookie["domain"]
    assert not cookie["secure"]
    assert int(cookie["max-age"]) == 12 * 60 * 60


async def test_the_logout_deletes_the_cookie(
    client: ClientSession, cookie_name: str
) -> None:
    await log_in(client)
    async with client.post("logout") as response:
        assert await response.read() == b""
    cookie = response.cookies[cookie_name]
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


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://localhost:1",
        "http://localhost.evil.example",
        "ftp://localhost",
        "localhost",
    ],
)
async def test_a_foreign_origin_is_refused_against_csrf(
    client: ClientSession, origin: str
) -> None:
    await log_in(client)
    for path in ("login", "logout"):
        async with client.post(
            path, json={"user": "bob"}, headers={"Origin": origin}
        ) as response:
            assert response.status == 403
            # Mounted, the guard around all recipes answers first.
            assert "Origin" in (await response.json())["error"]
            assert not response.cookies
    async with client.get("me") as response:
        assert await response.json() == {"user": "ann"}


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_own_origin_may_log_in_and_out(
    serve: Serve, application: web.Application, scheme: str
) -> None:
    server = await serve(application)
    # A proxy that ends TLS keeps Host, and the browser's Origin has https.
    origin = {"Origin": f"{scheme}://{server.url.authority}"}
    async with ClientSession(server.url, headers=origin) as client:
        async with client.post("login", json={"user": "ann"}) as response:
            assert response.status == 200
        async with client.post("logout") as response:
            assert response.status == 204


async def test_two_clients_are_two_users(
    server: Server, user_of: UserOf
) -> None:
    async with (
        ClientSession(server.url, cookie_jar=CookieJar(unsafe=True)) as one,
        ClientSession(server.url, cookie_jar=CookieJar(unsafe=True)) as other,
    ):
        ann = await log_in(one, "ann")
        bob = await log_in(other, "bob")
    assert await user_of(ann) == "ann"
    assert await user_of(bob) == "bob"


@pytest.mark.answer_only(COOKIE_IS_SESSION)
async def test_a_login_starts_a_new_session(recipe: Tier, serve: Serve) -> None:
    async def plant(request: web.Request) -> web.Response:
        session = await get_session(request)
        session["cart"] = "planted"
        return web.Response()

    async def show(request: web.Request) -> web.Response:
        session = await get_session(request)
        return web.json_response(dict(session))

    app = recipe.create_app(key=KEY)
    app.router.add_post("/plant", plant)
    app.router.add_get("/show", show)
    server = await serve(app)
    jar = CookieJar(unsafe=True)
    async with ClientSession(server.url, cookie_jar=jar) as client:
        async with client.post("plant") as response:
            [planted] = response.cookies.values()
        assert await log_in(client) != planted.value
        async with client.get("show") as response:
            assert await response.json() == {"user": "ann"}


@pytest.mark.answer_only(COOKIE_IS_SESSION)
async def test_a_copied_cookie_outlives_the_logout(
    client: ClientSession, user_of: UserOf
) -> None:
    cookie = await log_in(client)
    async with client.post("logout"):
        pass
    assert await user_of(cookie) == "ann"


@pytest.mark.answer_only(COOKIE_IS_SESSION)
async def test_a_session_ends_twelve_hours_after_its_last_change(
    user_of: UserOf,
) -> None:
    assert await user_of(token(43_000, user="ann")) == "ann"
    assert await user_of(token(43_300, user="ann")) is None


@pytest.mark.answer_only(COOKIE_IS_SESSION)
async def test_a_session_does_not_last_longer_by_its_own_word(
    user_of: UserOf,
) -> None:
    session = {"created": int(time.time()) + 10**6, "session": {"user": "ann"}}
    old = Fernet(KEY).encrypt_at_time(
        json.dumps(session).encode(), int(time.time()) - 43_300
    )
    assert await user_of(old.decode()) is None


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        '""',
        "notjson",
        '"x"',
        "%00",
        FORGED,
        base64.urlsafe_b64encode(FORGED.encode()).decode(),
        "x" * 4096,
        "gAAAAA==",
        "=" * 100,
        "{value}; {value}",
    ],
)
async def test_garbage_in_the_cookie_is_nobody(
    user_of: UserOf, cookie: str
) -> None:
    assert await user_of(cookie) is None


@pytest.mark.unmeasured("it tries hundreds of cookies")
@pytest.mark.answer_only(COOKIE_IS_SESSION)
async def test_a_cookie_with_any_bit_flipped_is_nobody(
    user_of: UserOf,
) -> None:
    good = base64.urlsafe_b64decode(token(user="ann"))
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        cookie = base64.urlsafe_b64encode(bad).decode()
        assert await user_of(cookie) is None


@pytest.mark.unmeasured("it tries hundreds of cookies")
@pytest.mark.answer_only(COOKIE_IS_SESSION)
async def test_a_cookie_cut_anywhere_is_nobody(user_of: UserOf) -> None:
    good = token(user="ann")
    for length in range(len(good.rstrip("="))):
        assert await user_of(good[:length]) is None


@pytest.mark.parametrize(
    "user", ["a", "ann", "é", "x" * 64, "\U0001f40d" * 64, "a b"]
)
async def test_a_cookie_is_small_enough_for_any_client(
    client: ClientSession, user: str
) -> None:
    await log_in(client, user)
    async with client.post("login", json={"user": user}) as response:
        assert len(response.headers["Set-Cookie"]) <= 4096
    async with client.get("me") as response:
        assert await response.json() == {"user": user}


# The key


@pytest.mark.answer_only(NO_KEY)
def test_the_key_has_no_default(recipe: Tier) -> None:
    with pytest.raises(TypeError, match="key"):
        recipe.create_app()


@pytest.mark.answer_only(NO_KEY)
@pytest.mark.parametrize(
    "key",
    ["", "random", "short", KEY[:-2], KEY[:-4], "A" * 60, "é" * 44],
    # The key is another one in each worker; a test's id is not.
    ids=["none", "word", "short", "unpadded", "cut", "long", "not-ascii"],
)
def test_a_bad_key_is_refused_at_the_start(recipe: Tier, key: str) -> None:
    with pytest.raises(ValueError, match=r"key|ASCII|padding|base64"):
        recipe.create_app(key=key)


@pytest.mark.answer_only(NO_KEY)
async def test_without_a_key_the_start_fails_with_one_line(
    recipe: Tier, tmp_path: Path
) -> None:
    for environment in ({}, {"SESSION_KEY": ""}):
        script = Path(recipe.__file__)
        code, line = await run_to_its_end(script, cwd=tmp_path, **environment)
        assert code == 1
        assert line == "set SESSION_KEY; SESSION_KEY=random makes one\n"


@pytest.mark.answer_only(NO_KEY)
async def test_the_key_comes_from_the_environment(
    recipe: Tier, tmp_path: Path, cookie_name: str
) -> None:
    script = Path(recipe.__file__)
    cookies = {cookie_name: token(user="ann")}
    async with (
        forked(script, cwd=tmp_path, SESSION_KEY=KEY) as process,
        ClientSession(f"http://127.0.0.1:{process.port}/") as client,
        client.get("me", headers=as_header(cookies)) as response,
    ):
        assert await response.json() == {"user": "ann"}


@pytest.mark.answer_only(NO_KEY)
async def test_a_random_key_is_a_new_one_in_each_process(
    recipe: Tier, tmp_path: Path, cookie_name: str
) -> None:
    script = Path(recipe.__file__)
    cookies: dict[str, str] = {}
    for _ in range(2):
        async with (
            forked(script, cwd=tmp_path, SESSION_KEY="random") as process,
            ClientSession(f"http://127.0.0.1:{process.port}/") as client,
        ):
            async with client.get("me", headers=as_header(cookies)) as response:
                assert response.status == 401
            cookies[cookie_name] = await log_in(client)
            async with client.get("me", headers=as_header(cookies)) as response:
                assert response.status == 200


def as_header(cookies: dict[str, str]) -> dict[str, str]:
    # A jar keeps no cookie of a host that is an IP address.
    pairs = [f"{name}={value}" for name, value in cookies.items()]
    return {"Cookie": "; ".join(pairs)}


@pytest.mark.answer_only(NO_KEY)
async def test_a_session_under_another_key_is_none(user_of: UserOf) -> None:
    other = Fernet.generate_key().decode()
    assert await user_of(token(key=other, user="ann")) is None


@pytest.mark.answer_only(NO_KEY)
async def test_a_session_survives_a_restart_with_the_same_key(
    recipe: Tier, serve: Serve, cookie_name: str
) -> None:
    before = await serve(recipe.create_app(key=KEY))
    async with ClientSession(before.url) as client:
        cookie = await log_in(client)
    await before.stop()
    after = await serve(recipe.create_app(key=KEY))
    assert await whom(after, cookie_name, cookie) == "ann"


# What a login must have

GZIP = b"Content-Encoding: gzip\r\n"


@in_turn(
    "header, body",
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
        (b"Content-Type: a/b; charset=unicode_escape\r\n", b"\\x"),
        (GZIP, b"this is no gzip"),
        (b"Content-Encoding: deflate\r\n", b"\x01"),
        (b"Content-Encoding: nonsense\r\n", b"x"),
    ],
)
async def test_a_body_without_a_proper_user_is_refused(
    server: Server, header: bytes, body: bytes
) -> None:
    answer = await post_login(server, header, body)
    assert status_of(answer) == 400
    assert b"Set-Cookie" not in answer
    assert b"Traceback" not in answer


async def post_login(server: Server, header: bytes, body: bytes) -> bytes:
    path = server.url.raw_path.encode() + b"login"
    return await exchange(
        server,
        b"POST %b HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Content-Length: %d\r\nConnection: close\r\n" % len(body),
        header,
        b"\r\n",
        body,
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "the body must be JSON"),
        (b"[]", "user: 1 to 64 printable characters"),
    ],
)
async def test_a_refusal_says_what_is_wrong(
    server: Server, body: bytes, reason: str
) -> None:
    answer = await post_login(server, b"", body)
    head, _, text = answer.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/json" in head
    assert json.loads(text) == {"error": reason}


@pytest.mark.parametrize(
    "charset", [b"utf-8", b"utf8", b"bogus", b"\xff", b"base64", b"punycode"]
)
async def test_a_codec_that_the_client_names_is_not_used(
    server: Server, charset: bytes
) -> None:
    # Punycode is decoded in quadratic time.
    header = b"Content-Type: application/json; charset=%b\r\n" % charset
    answer = await post_login(server, header, b'{"user": "ann"}')
    assert status_of(answer) == 200


async def test_a_body_beyond_the_limit_is_refused(
    client: ClientSession,
) -> None:
    body = io.BytesIO(json.dumps({"user": "x" * 2**20}).encode())
    async with client.post("login", data=body) as response:
        assert response.status == 413


async def test_a_client_that_leaves_in_its_body_disturbs_no_other(
    application: web.Application, serve: Serve, handler_cancellation: bool
) -> None:
    server = await serve(application, handler_cancellation=handler_cancellation)
    await send_and_leave(
        server,
        b"POST /login HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 100\r\n\r\n{",
        "reset",
    )
    assert status_of(await send(server, b"")) == 200


# What the docstrings warn of


@pytest.mark.answer_only(COOKIE_IS_SESSION)
async def test_what_a_stream_or_websocket_or_crash_changed_is_lost(
    recipe: Tier, serve: Serve
) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["user"] = "bob"
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    async def socket(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        (await get_session(request))["user"] = "bob"
        await ws.close()
        return ws

    async def crash(request: web.Request) -> web.Response:
        (await get_session(request))["user"] = "bob"
        raise RuntimeError("on purpose")

    app = recipe.create_app(key=KEY)
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


@pytest.mark.answer_only(COOKIE_IS_SESSION)
async def test_what_changed_before_a_redirect_is_saved(
    recipe: Tier, serve: Serve
) -> None:
    async def leave(request: web.Request) -> web.Response:
        (await get_session(request))["user"] = "bob"
        raise web.HTTPSeeOther("/me")

    app = recipe.create_app(key=KEY)
    app.router.add_post("/change", leave)
    server = await serve(app)
    jar = CookieJar(unsafe=True)
    async with (
        ClientSession(server.url, cookie_jar=jar) as client,
        client.post("change") as response,
    ):
        assert await response.json() == {"user": "bob"}


async def test_a_header_set_on_what_the_handler_returned_may_be_lost(
    application: web.Application, serve: Serve
) -> None:
    @web.middleware
    async def set_late(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        response = await handler(request)
        response.headers["X-Late"] = "yes"
        return response

    async def crash(request: web.Request) -> web.Response:
        raise RuntimeError("on purpose")

    application.middlewares.append(set_late)
    application.router.add_get("/crash", crash)
    server = await serve(application)
    late = {
        path: b"X-Late" in await send(server, path)
        for path in (b"", b"stream", b"missing", b"crash")
    }
    assert late == {
        b"": True,
        b"stream": False,
        b"missing": False,
        b"crash": False,
    }


async def test_without_its_middleware_a_session_is_a_clear_error() -> None:
    request = make_mocked_request("GET", "/")
    with pytest.raises(
        RuntimeError, match="Install aiohttp_session middleware"
    ):
        await get_session(request)
