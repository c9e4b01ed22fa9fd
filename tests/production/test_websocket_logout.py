"""Proofs for recipes/production/websocket_logout.py, beside the answer's."""

import asyncio
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import websockets.asyncio.client
from aiohttp import (
    ClientSession,
    ClientWebSocketResponse,
    CookieJar,
    TCPConnector,
    WSMessage,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from redis.asyncio import Redis, RedisError
from yarl import URL

from recipes.production import websocket_logout
from tests.conftest import KillableRedis, Serve, at_length
from tests.engines import as_replica
from tests.faults import faulty_network
from tests.servers import PATIENCE, ROOT, START_TIMEOUT, TIMEOUT, Server
from tests.test_gunicorn import port_of
from tests.test_websocket_logout import (
    cleared,
    deaf_peer,
    echoes,
    emptied,
    ends,
    errors,
    farewell,
    is_reset,
    keep_pinging,
    log_in,
    log_out,
    raw_peer,
    refusal,
    send_text,
    slow_peer,
    sockets,
    status_of,
    user,
)

NOT_NOW = "not now: if Redis is away, `make cluster` starts one"


@pytest.fixture
def application(redis_url: str) -> web.Application:
    return websocket_logout.create_app(redis_url=cleared(redis_url))


async def test_where_nobody_is_hung_up_on_no_timer_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = list[object]()
    monkeypatch.setattr(websocket_logout, "end_reading", ended.append)
    websocket_logout.hang_up([], websocket_logout.LOGGED_OUT)
    is_later = asyncio.Event()
    # A timer that was set before would have ended before.
    loop = asyncio.get_running_loop()
    loop.call_later(websocket_logout.PAUSE, is_later.set)
    await is_later.wait()
    assert not ended


@pytest.fixture
def patient_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a goodbye wait as long as a busy machine needs for it."""
    monkeypatch.setattr(websocket_logout, "WAIT", TIMEOUT)


@pytest.fixture
async def cancelling(
    serve: Serve, application: web.Application, handler_cancellation: bool
) -> Server:
    """A server in either of the ways to treat a lost client's handler."""
    return await serve(application, handler_cancellation=handler_cancellation)


# Tickets


async def test_a_ticket_opens_one_socket(
    client: ClientSession, server: Server
) -> None:
    ticket = await log_in(client)
    async with ClientSession(server.url) as other:
        async with other.ws_connect(f"echo?ticket={ticket}") as ws:
            assert await echoes(ws)
        assert await refusal(other, f"echo?ticket={ticket}") == 401
    assert await refusal(client, f"echo?ticket={ticket}") == 401


async def test_two_upgrades_at_once_with_one_ticket_open_one_socket(
    client: ClientSession, server: Server
) -> None:
    ticket = await log_in(client)
    async with ClientSession(server.url) as other:
        attempts = [other.ws_connect(f"echo?ticket={ticket}") for _ in range(9)]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        opened = [each for each in results if not isinstance(each, Exception)]
        assert len(opened) == 1
        assert await sockets(client) == {"users": 1, "sockets": 1}


async def test_a_ticket_ends_soon(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    age = timedelta(milliseconds=1)
    monkeypatch.setattr(websocket_logout, "TICKET_AGE", age)
    ticket = await log_in(client)
    await asyncio.sleep(0.002)
    assert await refusal(client, f"echo?ticket={ticket}") == 401


async def test_a_foreign_origin_does_not_spend_the_ticket(
    client: ClientSession, server: Server
) -> None:
    target = f"echo?ticket={await log_in(client)}"
    async with ClientSession(server.url) as other:
        assert await refusal(other, target, "http://evil.example") == 403
        async with other.ws_connect(target) as ws:
            assert await echoes(ws)


async def test_a_ticket_is_no_cookie(
    client: ClientSession, server: Server
) -> None:
    ticket = await log_in(client)
    cookies = {websocket_logout.COOKIE: ticket}
    async with ClientSession(server.url, cookies=cookies) as other:
        assert await status_of(other, "logout") == 401
        assert await refusal(other) == 401
    async with client.ws_connect(f"echo?ticket={ticket}") as ws:
        assert await echoes(ws)


async def test_too_many_sockets_do_not_spend_the_ticket(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_logout, "MAX_USER_SOCKETS", 1)
    target = f"echo?ticket={await log_in(client)}"
    async with client.ws_connect("echo"):
        assert await refusal(client, target) == 429
    await emptied(client)
    async with client.ws_connect(target) as ws:
        assert await echoes(ws)


@pytest.mark.parametrize("name", ["a\nb", "\ud800", "\0", "x" * 65], ids=ascii)
async def test_a_name_is_short_and_printable(
    client: ClientSession, name: str
) -> None:
    async with client.post("login", json={"user": name}) as response:
        assert response.status == 400
        assert list(await response.json()) == ["error"]
        assert not response.cookies


@pytest.mark.parametrize("length", [1, 64])
async def test_a_name_may_have_1_to_64_characters(
    client: ClientSession, length: int
) -> None:
    name = "x" * length
    async with client.post("login", json={"user": name}) as response:
        assert response.status == 200
        assert (await response.json())["user"] == name


async def test_errors_of_aiohttp_are_json(client: ClientSession) -> None:
    for method, path, status in [
        ("GET", "nowhere", 404),
        ("GET", "logout", 405),
        ("HEAD", "echo", 405),
        ("POST", "login", 413),
    ]:
        size = 2**20 + 1 if status == 413 else 0
        body = BytesIO(b" " * size)
        async with client.request(method, path, data=body) as response:
            assert response.status == status
            assert response.content_type == "application/json"
            if method != "HEAD":
                assert list(await response.json()) == ["error"]


async def test_a_connection_error_of_an_upstream_is_a_500(
    serve: Serve, application: web.Application
) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise ConnectionResetError

    application.router.add_get("/upstream", fail)
    server = await serve(application)
    async with (
        ClientSession(server.url) as client,
        client.get("upstream") as response,
    ):
        assert response.status == 500


async def test_a_cookie_for_https_is_secure(
    serve: Serve, redis_url: str
) -> None:
    app = websocket_logout.create_app(redis_url=redis_url, secure=True)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        client.post("login", json={"user": "ann"}) as response,
    ):
        assert response.cookies[websocket_logout.COOKIE]["secure"]


async def test_a_client_that_leaves_in_its_body_costs_no_traceback(
    cancelling: Server, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    for _ in range(10):
        _, writer = await asyncio.open_connection("127.0.0.1", cancelling.port)
        writer.write(head + b"\r\n{")
        await writer.drain()
        await asyncio.sleep(0)
        writer.transport.abort()
    async with ClientSession(cancelling.url) as client:
        await emptied(client)
    assert not errors(caplog)


# Sessions


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker look five times a second which sessions are over."""
    monkeypatch.setattr(websocket_logout, "CHECK_INTERVAL", 0.2)


async def test_a_session_that_ends_closes_its_sockets(
    attentive: None, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As long as a busy machine may need to open the socket.
    age = timedelta(seconds=1.5)
    monkeypatch.setattr(websocket_logout, "SESSION_AGE", age)
    await log_in(client)
    async with client.ws_connect("echo") as ws:
        assert await farewell(ws) == (4001, "logged out")
    assert await refusal(client) == 401
    await emptied(client)


async def test_a_session_that_ends_leaves_the_others_of_its_user(
    attentive: None,
    client: ClientSession,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await log_in(client)
    age = timedelta(seconds=1.5)
    monkeypatch.setattr(websocket_logout, "SESSION_AGE", age)
    async with (
        user(server.url, "ann") as other,
        client.ws_connect("echo") as staying,
        other.ws_connect("echo") as leaving,
    ):
        assert await farewell(leaving) == (4001, "logged out")
        assert await echoes(staying)
        assert await sockets(client) == {"users": 1, "sockets": 1}
        assert await refusal(other) == 401


async def test_the_sockets_of_a_user_are_limited(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_logout, "MAX_USER_SOCKETS", 2)
    await log_in(client)
    async with client.ws_connect("echo"), client.ws_connect("echo"):
        assert await refusal(client) == 429
        assert await sockets(client) == {"users": 1, "sockets": 2}
    await emptied(client)


async def test_many_logins_end_the_oldest_session_of_that_user_alone(
    attentive: None,
    client: ClientSession,
    server: Server,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_logout, "MAX_USER_SESSIONS", 2)
    await log_in(client)
    async with (
        user(server.url, "bob") as oldest,
        user(server.url, "bob") as second,
        oldest.ws_connect("echo") as evicted,
        client.ws_connect("echo") as ws,
        user(server.url, "bob") as third,
        Redis.from_url(redis_url) as redis,
    ):
        assert await farewell(evicted) == (4001, "logged out")
        assert await refusal(oldest) == 401
        assert await redis.zcard("websocket_logout:sessions:bob") == 2
        assert await echoes(ws)
        async with second.ws_connect("echo"), third.ws_connect("echo"):
            assert await log_out(third) == 2


async def test_a_login_that_redis_has_no_room_for_ends_no_session(
    serve: Serve,
    killable_redis: KillableRedis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = websocket_logout.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        user(server.url, "bob") as bob,
        bob.ws_connect("echo") as ws,
        ClientSession(server.url) as eve,
        Redis.from_url(killable_redis.url) as redis,
    ):
        await redis.config_set("maxmemory", 1)
        async with eve.post("login", json={"user": "eve"}) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert await response.json() == {"error": NOT_NOW}
        assert "cannot answer: OutOfMemoryError: " in caplog.text
        assert await echoes(ws)
        # A logout only deletes.
        assert await log_out(bob) == 1
        assert await farewell(ws) == (4001, "logged out")
        await redis.config_set("maxmemory", 0)
        await log_in(eve, "eve")


async def test_a_redis_that_is_full_still_says_which_sessions_are_over(
    attentive: None,
    serve: Serve,
    killable_redis: KillableRedis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It would close all sockets at the first look that fails.
    monkeypatch.setattr(websocket_logout, "MAX_UNCHECKED", 0)
    app = websocket_logout.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        user(server.url, "ann") as ann,
        ann.ws_connect("echo") as ws,
        Redis.from_url(killable_redis.url) as redis,
    ):
        [session] = await redis.keys("websocket_logout:session:*")
        async with (
            user(server.url, "bob") as bob,
            bob.ws_connect("echo") as other,
        ):
            await redis.config_set("maxmemory", 1)
            await redis.delete(session)
            assert await farewell(ws) == (4001, "logged out")
            assert await echoes(other)


@pytest.mark.unmeasured("it repeats")
@pytest.mark.slow("hundreds of logins")
@pytest.mark.parametrize("logins", [100, at_length(1000)])
async def test_logins_that_have_ended_leave_nothing(
    client: ClientSession,
    application: web.Application,
    redis_url: str,
    logins: int,
) -> None:
    for number in range(logins):
        name = f"user{number}"
        await log_in(client, name)
        if number % 10 == 0:
            async with client.ws_connect("echo"):
                assert await log_out(client) == 1
        else:
            assert await log_out(client) == 0
    await emptied(client)
    async with client.post("logout") as response:
        assert response.status == 401
    assert not application[websocket_logout.HUB].sockets
    async with Redis.from_url(redis_url) as redis:
        for kind in ("sessions", "places"):
            keys = f"websocket_logout:{kind}:user*"
            assert not [key async for key in redis.scan_iter(keys)]


async def test_redis_forgets_who_does_not_log_out(
    client: ClientSession, redis_url: str
) -> None:
    name = f"ann {secrets.token_hex(4)}"
    ticket = websocket_logout.hash_secret(await log_in(client, name))
    async with (
        client.ws_connect("echo"),
        Redis.from_url(redis_url, decode_responses=True) as redis,
    ):
        session: Any = await redis.get(f"websocket_logout:ticket:{ticket}")
        for key, seconds in {
            f"ticket:{ticket}": 30,
            f"session:{session}": 3600,
            f"sessions:{name}": 3600,
            f"places:{name}": 3600,
        }.items():
            left = await redis.ttl(f"websocket_logout:{key}")
            assert seconds - 20 < left <= seconds


async def test_a_socket_that_leaves_takes_no_other_along(
    client: ClientSession, application: web.Application
) -> None:
    await log_in(client)
    async with client.ws_connect("echo") as staying:
        async with client.ws_connect("echo"):
            pass
        async with asyncio.timeout(TIMEOUT):
            while (await sockets(client))["sockets"] != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await echoes(staying)
    await emptied(client)
    assert not application[websocket_logout.HUB].sockets


# Logout


async def test_a_message_that_meets_a_logout_is_not_echoed(
    serve: Serve, application: web.Application
) -> None:
    async def read_what_came_before(
        request: web.Request, response: web.StreamResponse
    ) -> None:
        if request.path == "/logout":
            with suppress(BlockingIOError):
                before.extend(peer.recv(65536))

    application.on_response_prepare.append(read_what_came_before)
    server = await serve(application)
    loop = asyncio.get_running_loop()
    for turns in range(8):
        async with user(server.url, "ann") as ann, asyncio.timeout(TIMEOUT):
            before = bytearray()
            peer = await raw_peer(server.url, await log_in(ann))
            closing = asyncio.create_task(log_out(ann))
            for _ in range(turns):
                await asyncio.sleep(0)
            await send_text(peer, 200)
            assert await closing == 1
            # A close frame, or it came before the answer: no text.
            after = await loop.sock_recv(peer, 1)
            assert after == (b"" if b"\x88" in before else b"\x88")
            peer.close()


async def test_a_socket_that_opens_during_a_logout_is_closed(
    inattentive: None,
    serve: Serve,
    application: web.Application,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upgrading, go_on = asyncio.Event(), asyncio.Event()

    async def hold_back(
        request: web.Request, response: web.StreamResponse
    ) -> None:
        if request.path == "/echo":
            upgrading.set()
            await go_on.wait()

    application.on_response_prepare.append(hold_back)
    server = await serve(application)
    async with user(server.url, "ann") as ann, asyncio.timeout(TIMEOUT):
        opening = asyncio.create_task(ann.ws_connect("echo"))
        await upgrading.wait()
        # It has its place already.
        assert await log_out(ann) == 1
        go_on.set()
        assert await farewell(await opening) == (4001, "logged out")
        await emptied(ann)
    assert not errors(caplog)


class Scripts:
    """What happens once just before a script runs in Redis, and behind it.

    The script is that of a logout, whose session was read before.
    """

    before: Callable[[], Awaitable[None]] | None = None
    behind: Callable[[], Awaitable[None]] | None = None


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Scripts:
    scripts = Scripts()
    execute: Any = vars(Redis)["execute_command"]

    async def run(redis: Redis, *arguments: Any, **knobs: Any) -> Any:
        is_script = arguments[0] == "EVAL"
        if is_script and (before := scripts.before):
            scripts.before = None
            await before()
        answer = await execute(redis, *arguments, **knobs)
        if is_script and scripts.behind:
            await scripts.behind()
        return answer

    monkeypatch.setattr(Redis, "execute_command", run)
    return scripts


async def test_a_logout_that_another_overtakes_is_no_outage(
    client: ClientSession, scripts: Scripts
) -> None:
    async def log_out_before() -> None:
        assert await log_out(client) == 0

    await log_in(client)
    scripts.before = log_out_before
    assert await log_out(client) == 0
    assert scripts.before is None
    assert await status_of(client, "logout") == 401


@pytest.mark.parametrize("library", ["aiohttp", "websockets"])
async def test_each_client_of_a_logout_says_close_code_4001(
    inattentive: None,
    client: ClientSession,
    server: Server,
    patient_goodbye: None,
    library: str,
) -> None:
    url = server.url.with_scheme("ws") / "echo"
    await log_in(client)
    [cookie] = client.cookie_jar
    header = {"Cookie": f"{cookie.key}={cookie.value}"}
    async with asyncio.timeout(TIMEOUT):
        if library == "aiohttp":
            mine = [await client.ws_connect("echo") for _ in range(20)]
            assert await log_out(client) == 20
            for ws in mine:
                assert [message async for message in ws] == []
                assert ws.close_code == 4001
                # A server that does not wait ends the others meanwhile.
                await sockets(client)
            return
        others = [
            await websockets.asyncio.client.connect(
                str(url), additional_headers=header
            )
            for _ in range(20)
        ]
        assert await log_out(client) == 20
        for other in others:
            await other.wait_closed()
            assert other.close_code == 4001


async def test_a_logout_is_answered_before_any_goodbye(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_logout, "PAUSE", PATIENCE)
    await log_in(client)
    async with client.ws_connect("echo") as ws:
        # Before it echoes, it would see the logout by itself, and leave.
        assert await echoes(ws)
        assert await log_out(client) == 1
        assert await sockets(client) == {"users": 0, "sockets": 0}
        with pytest.raises(TimeoutError):
            await ws.receive(timeout=0.1)
        # A message shows it to the handler. It has no echo.
        await ws.send_str("late")
        async with asyncio.timeout(TIMEOUT):
            message = await ws.receive()
        assert (message.data, message.extra) == (4001, "logged out")


async def test_a_logout_closes_the_sockets_here_before_the_channel_says_so(
    serve: Serve, application: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hear_nothing(_: object) -> None:
        await asyncio.sleep(PATIENCE)

    monkeypatch.setattr(websocket_logout, "keep_watching", hear_nothing)
    server = await serve(application)
    async with user(server.url, "ann") as ann, ann.ws_connect("echo") as ws:
        assert await echoes(ws)
        assert await log_out(ann) == 1
        assert await sockets(ann) == {"users": 0, "sockets": 0}
        assert await farewell(ws) == (4001, "logged out")


async def test_a_second_logout_counts_no_socket_of_the_first(
    client: ClientSession, server: Server
) -> None:
    async with user(server.url, "ann") as ann:
        await log_in(client)
        async with client.ws_connect("echo"), ann.ws_connect("echo"):
            assert await log_out(client) == 2
        await log_in(client)
        # The places of those that may still be closing are free.
        async with client.ws_connect("echo"):
            assert await log_out(client) == 1


async def test_a_check_takes_no_place_back_that_a_logout_has_freed(
    client: ClientSession, application: web.Application, redis_url: str
) -> None:
    hub = application[websocket_logout.HUB]
    await log_in(client)
    async with (
        client.ws_connect("echo") as ws,
        Redis.from_url(redis_url) as redis,
    ):
        assert await echoes(ws)
        [socket] = hub.all_sockets()
        assert await log_out(client) == 1
        await websocket_logout.check(hub, [socket])
        assert not await redis.exists("websocket_logout:places:ann")
        assert await farewell(ws) == (4001, "logged out")


async def test_a_logout_stays_one_where_the_server_ends_behind_it(
    client: ClientSession, application: web.Application, redis_url: str
) -> None:
    hub = application[websocket_logout.HUB]
    await log_in(client)
    async with (
        client.ws_connect("echo") as ws,
        Redis.from_url(redis_url) as redis,
    ):
        assert await echoes(ws)
        [socket] = hub.all_sockets()
        await redis.delete(f"websocket_logout:session:{socket.session}")
        await websocket_logout.check(hub, [socket])
        await websocket_logout.say_goodbye(application)
        assert await farewell(ws) == (4001, "logged out")


async def test_a_mistake_is_not_called_an_outage(
    serve: Serve, application: web.Application, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise RuntimeError("a mistake")

    application.router.add_get("/mistake", fail)
    server = await serve(application)
    async with (
        ClientSession(server.url) as client,
        client.get("mistake") as response,
    ):
        assert response.status == 503
        assert await response.json() == {"error": NOT_NOW}
    assert "cannot answer: RuntimeError: a mistake" in caplog.text
    assert "Traceback" in caplog.text
    assert "away" not in caplog.text


async def test_a_logout_answers_before_its_sockets_are_closed(
    serve: Serve,
    application: web.Application,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_logout, "WAIT", PATIENCE)
    server = await serve(application)
    async with user(server.url, "ann") as ann:
        with await deaf_peer(server.url, await log_in(ann)):
            async with asyncio.timeout(TIMEOUT):
                assert await log_out(ann) == 1


# Peers that stall


async def test_a_stalled_peer_leaves_when_its_heartbeat_fails(
    serve: Serve,
    application: web.Application,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(websocket_logout, "HEARTBEAT", 0.2)
    server = await serve(application)
    async with user(server.url, "ann") as ann:
        peer, transport = await slow_peer(server, await log_in(ann))
        assert await sockets(ann) == {"users": 1, "sockets": 1}
        await emptied(ann)
        # aiohttp has closed it, but the peer took no byte.
        assert transport.get_write_buffer_size()
        await is_reset(peer)
        assert not transport.get_write_buffer_size()
    assert not errors(caplog)


# Messages


async def test_a_peer_that_pings_and_does_not_read_is_dropped(
    cancelling: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(websocket_logout, "SEND_TIMEOUT", 0.2)
    async with user(cancelling.url, "ann") as ann:
        peer = await raw_peer(cancelling.url, await log_in(ann))
        # It leaves in the end: a server that waits for it could not stop.
        with peer:
            async with asyncio.TaskGroup() as tasks:
                pinging = tasks.create_task(keep_pinging(peer))
                await emptied(ann)
                pinging.cancel()
    assert not errors(caplog)


async def test_a_message_that_is_too_long_ends_the_socket(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    await log_in(client)
    async with client.ws_connect("echo") as ws:
        assert await echoes(ws, "x" * 2**16)
        await ws.send_str("x" * (2**16 + 1))
        assert (await farewell(ws))[0] == 1009
    await emptied(client)
    assert not errors(caplog)


# The end


@pytest.mark.parametrize("logged_out", [False, True])
async def test_the_end_waits_for_a_slow_peer_but_not_long(
    serve: Serve, application: web.Application, logged_out: bool
) -> None:
    server = await serve(application, shutdown_timeout=PATIENCE)
    async with user(server.url, "ann") as ann:
        ticket = await log_in(ann)
        peer, transport = await slow_peer(server, ticket)
        assert transport.get_write_buffer_size() < 60_000
        if logged_out:
            assert await log_out(ann) == 1
    async with asyncio.timeout(TIMEOUT):
        await server.stop()
    assert not transport.get_write_buffer_size()
    await ends(peer)


async def test_a_flood_of_messages_is_closed_with_1008(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many that a busy machine passes them on in a second, too.
    monkeypatch.setattr(websocket_logout, "MAX_RATE", 50)
    await log_in(client)
    async with client.ws_connect("echo") as ws, asyncio.timeout(TIMEOUT):
        # Two seconds may share them.
        for _ in range(2 * websocket_logout.MAX_RATE + 1):
            await ws.send_str("")
        async for message in ws:
            assert message.data == ""
        assert ws.close_code == 1008
    assert await sockets(client) == {"users": 0, "sockets": 0}


async def test_as_many_messages_as_allowed_are_answered(
    client: ClientSession,
) -> None:
    await log_in(client)
    async with client.ws_connect("echo") as ws, asyncio.timeout(TIMEOUT):
        for _ in range(websocket_logout.MAX_RATE - 1):
            await ws.send_str("")
        await ws.send_str("end")
        while await ws.receive_str() != "end":
            pass
        await ws.close()


# Several workers


@pytest.fixture
async def workers(serve: Serve, redis_url: str) -> list[Server]:
    return await two_workers(serve, redis_url)


async def two_workers(serve: Serve, redis_url: str) -> list[Server]:
    """Serve two workers, which share nothing but their Redis."""
    url = cleared(redis_url)
    return [
        await serve(websocket_logout.create_app(redis_url=url))
        for _ in range(2)
    ]


@asynccontextmanager
async def same_user(
    client: ClientSession, url: URL
) -> AsyncIterator[ClientSession]:
    """The same browser, at another worker."""
    cookies = {each.key: each.value for each in client.cookie_jar}
    async with ClientSession(url, cookies=cookies) as session:
        yield session


@pytest.fixture
def inattentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker not look by itself which sessions are over."""
    monkeypatch.setattr(websocket_logout, "CHECK_INTERVAL", PATIENCE)
    monkeypatch.setattr(websocket_logout, "MAX_UNCHECKED", 2 * PATIENCE)


async def test_a_logout_on_one_worker_closes_the_sockets_on_all_in_a_second(
    inattentive: None, workers: list[Server]
) -> None:
    here, there = workers
    async with (
        user(here.url, "ann") as ann,
        same_user(ann, there.url) as ann_there,
        user(there.url, "bob") as bob,
        bob.ws_connect("echo") as staying,
    ):
        closing = [
            await client.ws_connect("echo")
            for client in (ann, ann_there, ann_there)
        ]
        assert await sockets(ann_there) == {"users": 2, "sockets": 3}
        async with asyncio.timeout(TIMEOUT):
            assert await log_out(ann) == 3
            for ws in closing:
                assert await farewell(ws) == (4001, "logged out")
        assert await echoes(staying)
        assert await sockets(ann_there) == {"users": 1, "sockets": 1}


async def test_a_kept_cookie_opens_nothing_on_any_worker(
    workers: list[Server],
) -> None:
    here, there = workers
    async with (
        user(here.url, "ann") as ann,
        same_user(ann, here.url) as copy,
        same_user(ann, there.url) as copy_there,
    ):
        ticket = await log_in(ann)
        await log_out(ann)
        for client in (copy, copy_there):
            assert await refusal(client) == 401
            assert await refusal(client, f"echo?ticket={ticket}") == 401
            assert await status_of(client, "logout") == 401


async def test_a_ticket_opens_one_socket_on_all_workers_together(
    workers: list[Server],
) -> None:
    async with user(workers[0].url, "ann") as ann:
        for _ in range(20):
            target = f"echo?ticket={await log_in(ann)}"
            attempts = [
                ann.ws_connect(worker.url.join(URL(target)))
                for worker in workers
            ]
            results = await asyncio.gather(*attempts, return_exceptions=True)
            opened = [ws for ws in results if not isinstance(ws, BaseException)]
            assert len(opened) == 1
            await opened[0].close()


async def test_the_sockets_of_a_user_are_limited_on_all_workers_together(
    workers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_logout, "MAX_USER_SOCKETS", 2)
    here, there = workers
    async with (
        user(here.url, "ann") as ann,
        same_user(ann, there.url) as ann_there,
        ann.ws_connect("echo"),
        ann_there.ws_connect("echo"),
    ):
        assert await refusal(ann) == 429
        assert await refusal(ann_there) == 429


# Redis is away


async def test_without_redis_nobody_gets_in_and_the_reason_is_said(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    app = websocket_logout.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with user(server.url, "ann") as ann:
        killable_redis.stop()
        for method, path in [("POST", "login"), ("POST", "logout")]:
            name = {"user": "ann"}
            async with ann.request(method, path, json=name) as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"
                assert await response.json() == {"error": NOT_NOW}
        assert await refusal(ann) == 503
        killable_redis.start()
        # What it had in memory is lost, and all sessions with it.
        assert await refusal(ann) == 401
        await log_in(ann)
        async with ann.ws_connect("echo") as ws:
            assert await echoes(ws)


async def test_no_connection_stays_at_a_redis_that_has_become_a_replica(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    app = websocket_logout.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        await log_in(client)
        async with as_replica(killable_redis.url):
            assert await status_of(client, "login") == 503
        await log_in(client)


async def test_it_starts_without_redis(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    killable_redis.stop()
    app = websocket_logout.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        Redis.from_url(killable_redis.url) as redis,
        asyncio.timeout(TIMEOUT),
    ):
        assert await status_of(client, "login") == 503
        killable_redis.start()
        await log_in(client)
        # It hears what other workers tell, as soon as it can.
        ended = websocket_logout.ENDED
        while await redis.pubsub_numsub(ended) != [(ended.encode(), 1)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_channel_on_which_nothing_comes_is_kept_from_being_idle(
    attentive: None, serve: Serve, killable_redis: KillableRedis
) -> None:
    app = websocket_logout.create_app(redis_url=killable_redis.url)
    await serve(app)
    async with (
        Redis.from_url(killable_redis.url) as redis,
        asyncio.timeout(TIMEOUT),
    ):
        while ("1", "ping") not in [  # noqa: ASYNC110
            (each["sub"], each["cmd"]) for each in await redis.client_list()
        ]:
            await asyncio.sleep(0.01)


@contextmanager
def frozen(redis: KillableRedis) -> Iterator[None]:
    os.killpg(redis.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(redis.process.pid, signal.SIGCONT)


async def test_a_frozen_redis_is_a_503_in_time_and_closes_no_socket_at_once(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    app = websocket_logout.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with user(server.url, "ann") as ann, ann.ws_connect("echo") as ws:
        with frozen(killable_redis):
            for path in ("login", "logout"):
                async with asyncio.timeout(TIMEOUT):
                    assert await status_of(ann, path) == 503
            assert await echoes(ws)
        async with ann.ws_connect("echo") as other:
            assert await echoes(other)
        assert await echoes(ws)
        assert await log_out(ann) == 1


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_worker_that_is_cut_off_closes_what_it_cannot_check(
    attentive: None,
    serve: Serve,
    killable_redis: KillableRedis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    monkeypatch.setattr(websocket_logout, "MAX_UNCHECKED", 0.5)
    app = websocket_logout.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with user(server.url, "ann") as ann, ann.ws_connect("echo") as ws:
        with frozen(killable_redis) if how == "frozen" else nullcontext():
            if how == "killed":
                killable_redis.stop()
            reason = "cannot check the session"
            assert await farewell(ws) == (1013, reason)
            assert await sockets(ann) == {"users": 0, "sockets": 0}
    outages = [text for text in caplog.messages if "no sessions" in text]
    assert len(outages) == 1
    assert not errors(caplog)


async def test_a_redis_that_lost_its_memory_has_logged_out_everybody(
    inattentive: None, serve: Serve, killable_redis: KillableRedis
) -> None:
    app = websocket_logout.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with user(server.url, "ann") as ann, ann.ws_connect("echo") as ws:
        killable_redis.stop()
        assert await echoes(ws)
        killable_redis.start()
        assert await farewell(ws) == (4001, "logged out")


async def test_a_short_outage_closes_no_socket_and_misses_no_logout(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    # Of the Redis that all tests share, others would lose theirs.
    here, there = await two_workers(serve, killable_redis.url)
    async with (
        user(here.url, "ann") as ann,
        user(here.url, "bob") as bob,
        same_user(ann, there.url) as ann_there,
        same_user(bob, there.url) as bob_there,
        ann_there.ws_connect("echo") as closing,
        bob_there.ws_connect("echo") as staying,
        Redis.from_url(killable_redis.url) as redis,
    ):
        # All connections of both workers, but ours.
        for kind in ("normal", "pubsub"):
            await redis.client_kill_filter(_type=kind)
        # It may meet a dead connection first.
        while (status := await status_of(ann, "logout")) == 503:
            pass
        assert status == 200
        assert await farewell(closing) == (4001, "logged out")
        assert await echoes(staying)


async def test_a_logout_that_nobody_published_is_seen_at_the_next_check(
    attentive: None, workers: list[Server], redis_url: str
) -> None:
    async with (
        user(workers[0].url, "ann") as ann,
        user(workers[0].url, "bob") as bob,
        ann.ws_connect("echo") as closing,
        bob.ws_connect("echo") as staying,
        Redis.from_url(redis_url, decode_responses=True) as redis,
    ):
        sessions: Any = await redis.zrange(
            "websocket_logout:sessions:ann", 0, -1
        )
        for key in sessions:
            await redis.delete(f"websocket_logout:session:{key}")
        assert await farewell(closing) == (4001, "logged out")
        assert await echoes(staying)


async def test_what_is_published_and_is_no_logout_closes_nothing(
    client: ClientSession, redis_url: str
) -> None:
    await log_in(client)
    async with (
        client.ws_connect("echo") as ws,
        Redis.from_url(redis_url) as redis,
    ):
        for guess in (b"", b"ann", b"\xff guess"):
            await redis.publish("websocket_logout:ended", guess)
        assert await echoes(ws)
        assert await log_out(client) == 1
        assert await farewell(ws) == (4001, "logged out")


async def test_a_socket_that_cannot_be_checked_when_it_opens_is_closed(
    serve: Serve,
    killable_redis: KillableRedis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_logout, "MAX_UNCHECKED", 0.5)

    async def stop_redis(
        request: web.Request, response: web.StreamResponse
    ) -> None:
        if request.path == "/echo":
            killable_redis.stop()

    app = websocket_logout.create_app(redis_url=killable_redis.url)
    app.on_response_prepare.append(stop_redis)
    server = await serve(app)
    async with user(server.url, "ann") as ann, ann.ws_connect("echo") as ws:
        assert await farewell(ws) == (1013, "cannot check the session")


async def test_a_mistake_in_the_watch_is_logged_and_closes_the_sockets(
    attentive: None,
    client: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(*arguments: object) -> None:
        raise ValueError("a mistake")

    await log_in(client)
    async with client.ws_connect("echo") as ws:
        monkeypatch.setattr(websocket_logout, "MAX_UNCHECKED", 0)
        monkeypatch.setattr(websocket_logout, "check", fail)
        assert await farewell(ws) == (1013, "cannot check the session")
    assert "ValueError: a mistake" in caplog.text
    assert "Traceback" in caplog.text


async def test_each_outage_is_told_once(
    serve: Serve,
    application: web.Application,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    checks = 0
    is_over = asyncio.Event()

    async def check(hub: websocket_logout.Hub, _: object) -> None:
        nonlocal checks
        # The cookbook that all tests share has another.
        if hub is not application[websocket_logout.HUB]:
            return
        checks += 1
        if checks in (1, 2, 4):
            raise RedisError("away")
        if checks == 5:
            is_over.set()

    monkeypatch.setattr(websocket_logout, "check", check)
    monkeypatch.setattr(websocket_logout, "CHECK_INTERVAL", 0)
    monkeypatch.setattr(websocket_logout, "TRY_AGAIN", 0.01)
    await serve(application)
    async with asyncio.timeout(TIMEOUT):
        await is_over.wait()
    assert caplog.messages == ["no sessions: RedisError: away"] * 2


async def test_a_watch_whose_cancel_was_swallowed_is_cancelled_again(
    serve: Serve, application: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[str] = []

    async def keep_watching(_: object) -> None:
        for end in ("swallowed", "heard"):
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                ends.append(end)

    monkeypatch.setattr(websocket_logout, "keep_watching", keep_watching)
    server = await serve(application)
    await server.stop()
    assert ends == ["swallowed", "heard"]


async def test_places_are_kept_as_long_as_their_sockets_are_open(
    attentive: None,
    workers: list[Server],
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_logout, "PLACE_AGE", 3.0)
    monkeypatch.setattr(websocket_logout, "MAX_USER_SOCKETS", 3)
    monkeypatch.setattr(websocket_logout, "CHECK_BATCH", 1)
    ann_of_here = f"ann {secrets.token_hex(4)}"
    places = f"websocket_logout:places:{ann_of_here}"
    async with (
        user(workers[0].url, ann_of_here) as ann,
        ann.ws_connect("echo"),
        ann.ws_connect("echo"),
        Redis.from_url(redis_url) as redis,
    ):
        # A worker that was killed has left it.
        await redis.zadd(places, {"left": time.time() + 3})
        assert await refusal(ann) == 429
        async with asyncio.timeout(TIMEOUT):
            now, _ = await redis.time()
            while await redis.zcount(places, now, "+inf") > 2:
                await asyncio.sleep(0.05)
                now, _ = await redis.time()
        async with ann.ws_connect("echo"):
            assert await refusal(ann) == 429
            assert await log_out(ann) == 3


@pytest.mark.unmeasured("it repeats")
@pytest.mark.slow("hundreds of rounds")
@pytest.mark.parametrize("rounds", [80, at_length(1000)])
async def test_of_many_sockets_opened_during_a_logout_none_stays_open(
    workers: list[Server], rounds: int
) -> None:
    here, there = workers
    late = 0
    async with (
        ClientSession(here.url, cookie_jar=CookieJar(unsafe=True)) as ann,
        ClientSession(there.url, cookie_jar=CookieJar(unsafe=True)) as away,
    ):
        for number in range(rounds):
            await log_in(ann, f"ann {number % 7}")
            away.cookie_jar.update_cookies(
                {each.key: each.value for each in ann.cookie_jar}, there.url
            )
            opening = asyncio.create_task(away.ws_connect("echo"))
            for _ in range(number % 40):
                await asyncio.sleep(0)
            closed = await log_out(ann)
            [ws] = await asyncio.gather(opening, return_exceptions=True)
            if isinstance(ws, ClientWebSocketResponse):
                assert await farewell(ws) == (4001, "logged out")
                late += 1
                assert closed == 1
            else:
                assert isinstance(ws, WSServerHandshakeError)
                assert (ws.status, closed) == (401, 0)
        await emptied(away)
    # Both happen, or the rounds show nothing.
    assert 0 < late < rounds


@pytest.mark.parametrize("skew", [-3600.0, 1.0, 3600.0])
async def test_clocks_of_workers_that_differ_change_nothing(
    attentive: None,
    workers: list[Server],
    monkeypatch: pytest.MonkeyPatch,
    skew: float,
) -> None:
    class Clock:
        """Whoever asks next is before, or behind, the last."""

        monotonic = staticmethod(time.monotonic)
        is_wrong = False

        def time(self) -> float:
            self.is_wrong = not self.is_wrong
            return time.time() + skew * self.is_wrong

    monkeypatch.setattr(websocket_logout, "time", Clock())
    here, there = workers
    async with (
        user(here.url, "ann") as ann,
        same_user(ann, there.url) as ann_there,
        user(there.url, "ann") as later,
    ):
        closing = [
            await client.ws_connect("echo")
            for client in (ann, ann_there, later)
        ]
        for ws in closing:
            assert await echoes(ws)
        async with asyncio.timeout(TIMEOUT):
            assert await log_out(later) == 3
            for ws in closing:
                assert await farewell(ws) == (4001, "logged out")


async def counts_of_workers(url: URL) -> set[int]:
    """Return how many sockets each worker has."""
    counts = set()
    for _ in range(20):
        # A connection of its own: either worker may answer.
        async with ClientSession(url) as anyone:
            counts.add((await sockets(anyone))["sockets"])
    return counts


@pytest.mark.slow("it starts gunicorn")
async def test_workers_of_gunicorn_close_each_others_sockets(
    tmp_path: Path, redis_url: str
) -> None:
    factory = f"websocket_logout:create_app(redis_url={redis_url!r})"
    log = tmp_path / "gunicorn.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gunicorn", "--workers", "2"),
            *("--worker-class", "aiohttp.GunicornWebWorker"),
            *("--bind", "127.0.0.1:0", "--no-control-socket"),
            f"recipes.production.{factory}",
            cwd=ROOT,
            stdout=errors,
            stderr=errors,
        )
    try:
        url = URL(f"http://127.0.0.1:{await port_of(process, log)}/")
        async with user(url, "gunn") as gunn, user(url, "bob") as bob:
            closing = []
            counts = {0}
            async with asyncio.timeout(START_TIMEOUT):
                # Until both workers have sockets of this user, and not as many.
                while 0 in counts or len(counts) < 2:
                    closing += [await gunn.ws_connect("echo") for _ in range(5)]
                    counts = await counts_of_workers(url)
            staying = await bob.ws_connect("echo")
            async with asyncio.timeout(TIMEOUT):
                assert await log_out(gunn) == len(closing)
                for ws in closing:
                    assert await farewell(ws) == (4001, "logged out")
            assert await echoes(staying)
            await staying.close()
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), START_TIMEOUT)
    assert "Traceback" not in log.read_text()


# Attacks


@pytest.mark.parametrize("how", ["says goodbye", "vanishes"])
async def test_nothing_is_read_after_the_end_of_a_connection(
    client: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    received: list[WSMsgType] = []
    receive = web.WebSocketResponse.receive

    async def record(ws: web.WebSocketResponse) -> WSMessage:
        message = await receive(ws)
        received.append(message.type)
        return message

    await log_in(client)
    monkeypatch.setattr(web.WebSocketResponse, "receive", record)
    async with client.ws_connect("echo") as ws:
        assert await echoes(ws)
        if how == "vanishes":
            # A copy: what uvloop gives cannot shut down.
            lent = ws.get_extra_info("socket")
            with socket.fromfd(lent.fileno(), lent.family, lent.type) as peer:
                peer.shutdown(socket.SHUT_RDWR)
    await emptied(client)
    first, *others = received
    assert first is WSMsgType.TEXT
    assert len(others) == 1
    assert not errors(caplog)


async def test_a_login_before_the_script_of_a_logout_is_ended_by_it(
    inattentive: None,
    workers: list[Server],
    scripts: Scripts,
    redis_url: str,
) -> None:
    here, there = workers
    async with (
        user(here.url, "ann") as ann,
        ann.ws_connect("echo") as ws,
        AsyncExitStack() as stack,
    ):
        sockets = [ws]

        async def log_in_late() -> None:
            late = await stack.enter_async_context(user(there.url, "ann"))
            sockets.append(await late.ws_connect("echo"))

        scripts.before = log_in_late
        # What it counts, it closes.
        assert await log_out(ann) == 2
        for each in sockets:
            assert await farewell(each) == (4001, "logged out")
    async with Redis.from_url(redis_url) as redis:
        for kind in ("sessions", "places"):
            assert not await redis.exists(f"websocket_logout:{kind}:ann")


async def test_a_login_behind_the_script_of_a_logout_is_counted(
    inattentive: None,
    workers: list[Server],
    scripts: Scripts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_logout, "MAX_USER_SOCKETS", 1)
    here, there = workers
    async with user(here.url, "ann") as ann, AsyncExitStack() as stack:
        late = await stack.enter_async_context(user(there.url, "bob"))
        sockets = []

        async def log_in_late() -> None:
            await log_in(late)
            sockets.append(await late.ws_connect("echo"))

        scripts.behind = log_in_late
        assert await log_out(ann) == 0
        [ws] = sockets
        assert await echoes(ws)
        # Also where the worker of the logout is killed at this moment.
        assert await refusal(late) == 429


async def test_sockets_that_open_all_the_time_end_with_their_logout(
    inattentive: None,
    patient_goodbye: None,
    workers: list[Server],
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, there = workers
    opened: list[ClientWebSocketResponse] = []

    async def keep_opening(client: ClientSession) -> int:
        while True:
            try:
                opened.append(await client.ws_connect("echo"))
            except WSServerHandshakeError as refused:
                return refused.status

    for _ in range(3):
        async with (
            user(here.url, "ann") as ann,
            same_user(ann, there.url) as ann_there,
            asyncio.timeout(TIMEOUT),
        ):
            opening = [
                asyncio.create_task(keep_opening(client))
                for client in (ann, ann_there, ann_there)
            ]
            while len(opened) < 10:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.001)
            await log_out(ann)
            assert await asyncio.gather(*opening) == [401] * 3
            for ws in opened:
                assert await farewell(ws) == (4001, "logged out")
            opened.clear()
            await emptied(ann)
            await emptied(ann_there)
        async with Redis.from_url(redis_url) as redis:
            assert not await redis.exists("websocket_logout:places:ann")
    assert not errors(caplog)


@pytest.mark.parametrize("count", [50, at_length(900)])
async def test_the_end_cuts_off_no_goodbye_of_a_logout(
    patient_goodbye: None,
    patient: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    count: int,
) -> None:
    # To open them may take a busy machine a minute.
    monkeypatch.setattr(websocket_logout, "PLACE_AGE", 2 * PATIENCE)
    connector = TCPConnector(limit=0)
    jar = CookieJar(unsafe=True)
    async with (
        ClientSession(patient.url, connector=connector, cookie_jar=jar) as ann,
        user(patient.url, "bob") as bob,
        bob.ws_connect("echo") as staying,
    ):
        await log_in(ann)
        closing = [await ann.ws_connect("echo") for _ in range(count)]
        assert await log_out(ann) == count
        stopping = asyncio.create_task(patient.stop())
        for ws in closing:
            assert await farewell(ws) == (4001, "logged out")
            await ws.close()
        assert await farewell(staying) == (1001, "shutdown")
        await staying.close()
        await stopping
    assert not errors(caplog)


@pytest.mark.slow("a slow network")
async def test_a_slow_redis_loses_no_logout(
    inattentive: None, patient_goodbye: None, serve: Serve, redis_url: str
) -> None:
    url = URL(redis_url)
    upstream = (
        Path(url.path)
        if url.scheme == "unix"
        else (str(url.host), int(url.port or 0))
    )
    async with faulty_network(upstream) as network, AsyncExitStack() as stack:
        limits = ("timeout", "socket_timeout", "socket_connect_timeout")
        slow = URL(f"redis://{network.address}").update_query(
            dict.fromkeys(limits, TIMEOUT)
        )
        here, there = [
            await serve(websocket_logout.create_app(redis_url=str(slow)))
            for _ in range(2)
        ]
        ann = await stack.enter_async_context(user(here.url, "ann"))
        bob = await stack.enter_async_context(user(there.url, "bob"))
        ann_there = await stack.enter_async_context(same_user(ann, there.url))
        network.slow(0.1)
        opening = [
            client.ws_connect("echo")
            for client in (ann, ann_there, ann_there, bob)
        ]
        *closing, staying = await asyncio.gather(*opening)
        # One is being opened in the meantime.
        late = asyncio.create_task(ann_there.ws_connect("echo"))
        closed = await log_out(ann)
        for ws in closing:
            assert await farewell(ws) == (4001, "logged out")
        [outcome] = await asyncio.gather(late, return_exceptions=True)
        if isinstance(outcome, ClientWebSocketResponse):
            assert closed == 4
            assert await farewell(outcome) == (4001, "logged out")
        else:
            assert isinstance(outcome, WSServerHandshakeError)
            assert (outcome.status, closed) == (401, 3)
        assert await echoes(staying)
