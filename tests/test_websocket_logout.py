"""Proofs for recipes/websocket_logout.py."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import (
    ClientSession,
    ClientWebSocketResponse,
    CookieJar,
    WSMsgType,
    WSServerHandshakeError,
    web,
)

from recipes import websocket_logout
from tests.conftest import Serve
from tests.servers import TIMEOUT, Server, exchange

UPGRADE = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)
KEY = b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"


@pytest.fixture
def application() -> web.Application:
    return websocket_logout.create_app()


@pytest.fixture
async def cancelling_server(
    serve: Serve, application: web.Application, handler_cancellation: bool
) -> Server:
    """A server in either cancellation mode."""
    return await serve(application, handler_cancellation=handler_cancellation)


@asynccontextmanager
async def user(server: Server, name: str) -> AsyncIterator[ClientSession]:
    """Another browser, logged in."""
    jar = CookieJar(unsafe=True)
    async with ClientSession(server.url, cookie_jar=jar) as session:
        await log_in(session, name)
        yield session


async def log_in(client: ClientSession, name: str = "ann") -> str:
    """Log in, and return the ticket."""
    async with client.post("login", json={"user": name}) as response:
        assert response.status == 200
        answer = await response.json()
    assert answer == {"user": name, "ticket": answer["ticket"]}
    return str(answer["ticket"])


async def log_out(client: ClientSession) -> int:
    """Log out, and return how many sockets that closed."""
    async with client.post("logout") as response:
        assert response.status == 200
        return int((await response.json())["closed"])


async def sockets(client: ClientSession) -> dict[str, int]:
    async with client.get("sockets") as response:
        return dict(await response.json())


async def emptied(client: ClientSession) -> None:
    """Wait until no socket is registered."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            if await sockets(client) == {"users": 0, "sockets": 0}:
                return
            await asyncio.sleep(0.01)


async def echoes(ws: ClientWebSocketResponse, text: str = "hi") -> bool:
    await ws.send_str(text)
    async with asyncio.timeout(TIMEOUT):
        return await ws.receive_str() == text


async def farewell(ws: ClientWebSocketResponse) -> tuple[int, str | None]:
    """Read to the close frame, and return its code and reason."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            message = await ws.receive()
            if message.type is WSMsgType.CLOSE:
                return message.data, message.extra
            assert message.type is WSMsgType.TEXT


async def refusal(
    client: ClientSession, path: str = "echo", origin: str | None = None
) -> int:
    """Return the status by which an upgrade is refused."""
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect(path, origin=origin)
    return refused.value.status


async def raw_peer(server: Server, ticket: str) -> socket.socket:
    """A peer that has read nothing but the upgrade's answer."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(peer, ("127.0.0.1", server.port))
    target = server.url.raw_path.encode() + b"echo?ticket=" + ticket.encode()
    request = b"GET %b HTTP/1.1\r\n%b%b\r\n" % (target, UPGRADE, KEY)
    await loop.sock_sendall(peer, request)
    answer = await loop.sock_recv(peer, 1024)
    assert answer.startswith(b"HTTP/1.1 101 ")
    return peer


async def deaf_peer(server: Server, ticket: str) -> socket.socket:
    """A peer that sends as much as the server takes, and reads nothing."""
    peer = await raw_peer(server, ticket)
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            while True:
                await send_text(peer, 60_000)
    return peer


async def send_text(peer: socket.socket, length: int) -> None:
    """Send a frame of `length` times "x", masked by zeros."""
    frame = b"\x81\xfe" + length.to_bytes(2, "big") + bytes(4) + b"x" * length
    await asyncio.get_running_loop().sock_sendall(peer, frame)


async def slow_peer(
    server: Server, ticket: str, application: web.Application
) -> tuple[socket.socket, asyncio.Transport]:
    """A peer that left a little unread, and the server's transport to it."""
    peer = await raw_peer(server, ticket)
    [[transport]] = [
        sockets.values()
        for sockets in application[websocket_logout.SOCKETS].values()
    ]
    async with asyncio.timeout(TIMEOUT):
        while True:
            if transport.get_write_buffer_size():
                return peer, transport
            await send_text(peer, 2_000)
            await asyncio.sleep(0)


async def ends(peer: socket.socket) -> None:
    """Wait until the server has ended the connection."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(TIMEOUT):
            while await loop.sock_recv(peer, 1 << 20):
                pass
    except ConnectionResetError:
        pass
    finally:
        peer.close()


async def test_a_socket_echoes_what_it_is_sent(client: ClientSession) -> None:
    await log_in(client)
    async with client.ws_connect("echo") as ws:
        assert await echoes(ws)
        assert await echoes(ws, "x" * 60_000)
        assert await sockets(client) == {"users": 1, "sockets": 1}
    await emptied(client)


async def test_a_ticket_opens_one_socket(
    client: ClientSession, server: Server
) -> None:
    ticket = await log_in(client)
    async with ClientSession(server.url) as other:
        async with other.ws_connect(f"echo?ticket={ticket}") as ws:
            assert await echoes(ws)
        assert await refusal(other, f"echo?ticket={ticket}") == 401
    assert await refusal(client, f"echo?ticket={ticket}") == 401


async def test_a_ticket_ends_soon(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_logout, "TICKET_SECONDS", 0)
    ticket = await log_in(client)
    assert await refusal(client, f"echo?ticket={ticket}") == 401


async def test_a_ticket_ends_with_its_session(client: ClientSession) -> None:
    ticket = await log_in(client)
    assert await log_out(client) == 0
    assert await refusal(client, f"echo?ticket={ticket}") == 401


async def test_an_anonymous_upgrade_is_refused(client: ClientSession) -> None:
    assert await refusal(client) == 401
    assert await refusal(client, "echo?ticket=") == 401
    await client.get("sockets", cookies={"websocket_logout": "guess"})
    assert await refusal(client) == 401


async def test_the_cookie_is_one_that_scripts_cannot_read(
    client: ClientSession,
) -> None:
    async with client.post("login", json={"user": "ann"}) as response:
        cookie = response.cookies["websocket_logout"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert len(cookie.value) > 40


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "null",
            "",
            "http://evil.example",
            "https://{0}",
            "{0}",
            "HTTP://{0}",
        ),
        *("http://{0}.", "http://{0}1", "http://127.0.0.1", "http://{0}/"),
        *("http://sub.{0}", "http://{0}.evil.example", "http://localhost:1"),
    ],
)
async def test_a_page_of_another_site_is_refused(
    client: ClientSession, server: Server, origin: str
) -> None:
    await log_in(client)
    origin = origin.format(server.url.authority)
    assert await refusal(client, origin=origin) == 403
    assert await sockets(client) == {"users": 0, "sockets": 0}


async def test_a_page_of_the_own_site_is_not(
    client: ClientSession, server: Server
) -> None:
    await log_in(client)
    origin = str(server.url.origin())
    async with client.ws_connect("echo", origin=origin) as ws:
        assert await echoes(ws)


@pytest.mark.parametrize(
    "extra",
    [
        b"",
        UPGRADE,
        UPGRADE + b"Sec-WebSocket-Key: \xc3\xa9\r\n",
        UPGRADE + b"Sec-WebSocket-Key: a\r\n",
        UPGRADE.replace(b": 13", b": \xff") + KEY,
        UPGRADE.replace(b": 13", b": 12") + KEY,
    ],
)
async def test_what_is_no_upgrade_is_refused(
    server: Server, client: ClientSession, extra: bytes
) -> None:
    ticket = await log_in(client)
    target = b"%becho?ticket=%b" % (
        server.url.raw_path.encode(),
        ticket.encode(),
    )
    headers = extra or b"Host: localhost\r\n"
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, headers))
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()
    async with client.ws_connect(f"echo?ticket={ticket}") as ws:
        assert await echoes(ws)


async def test_a_head_is_no_upgrade(server: Server) -> None:
    path = server.url.raw_path.encode()
    answer = await exchange(
        server,
        b"HEAD %becho HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        % path,
    )
    assert answer.startswith(b"HTTP/1.1 405 ")


async def test_a_logout_closes_the_sockets_of_the_user_alone(
    client: ClientSession, server: Server
) -> None:
    await log_in(client)
    async with user(server, "ann") as other, user(server, "bob") as bob:
        mine = [await client.ws_connect("echo") for _ in range(3)]
        mine.append(await other.ws_connect("echo"))
        async with bob.ws_connect("echo") as ws:
            assert await log_out(client) == 4
            for closed in mine:
                assert await farewell(closed) == (4001, "logged out")
            assert await sockets(client) == {"users": 1, "sockets": 1}
            assert await echoes(ws)
        assert await refusal(client) == 401
        assert await refusal(other) == 401


async def test_a_logout_is_a_post_of_somebody(
    client: ClientSession, server: Server
) -> None:
    async with user(server, "ann") as ann, ann.ws_connect("echo") as ws:
        async with client.post("logout") as response:
            assert response.status == 401
            assert await response.json() == {"error": "log in first"}
        async with ann.get("logout") as response:
            assert response.status == 405
        assert await echoes(ws)


async def test_after_a_logout_nothing_is_echoed(
    cancelling_server: Server,
) -> None:
    async with (
        user(cancelling_server, "ann") as ann,
        ann.ws_connect("echo") as ws,
    ):
        for number in range(50):
            await ws.send_str(str(number))
        assert await log_out(ann) == 1
        await ws.send_str("late")
        async with asyncio.timeout(TIMEOUT):
            received = [message.data async for message in ws]
    assert "late" not in received


async def test_a_message_that_meets_a_logout_is_not_echoed(
    serve: Serve, application: web.Application
) -> None:
    async def read_what_came_before(
        request: web.Request, response: web.StreamResponse
    ) -> None:
        if request.path == "/logout":
            with suppress(BlockingIOError):
                peer.recv(65536)

    application.on_response_prepare.append(read_what_came_before)
    server = await serve(application)
    loop = asyncio.get_running_loop()
    for turns in range(8):
        async with user(server, "ann") as ann, asyncio.timeout(TIMEOUT):
            peer = await raw_peer(server, await log_in(ann))
            closing = asyncio.create_task(log_out(ann))
            for _ in range(turns):
                await asyncio.sleep(0)
            await send_text(peer, 200)
            assert await closing == 1
            # A close frame: no text.
            assert (await loop.sock_recv(peer, 1)) == b"\x88"
            peer.close()


async def test_a_socket_that_opens_during_a_logout_is_closed(
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
    async with user(server, "ann") as ann, asyncio.timeout(TIMEOUT):
        opening = asyncio.create_task(ann.ws_connect("echo"))
        await upgrading.wait()
        assert await log_out(ann) == 1
        go_on.set()
        assert await farewell(await opening) == (4001, "logged out")
        await emptied(ann)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_opening_and_logging_out_at_once_leaves_nothing(
    cancelling_server: Server,
) -> None:
    async with user(cancelling_server, "bob") as observer:
        for _ in range(100):
            async with user(cancelling_server, "ann") as ann:
                opening = asyncio.create_task(ann.ws_connect("echo"))
                closed = await log_out(ann)
                [ws] = await asyncio.gather(opening, return_exceptions=True)
                if isinstance(ws, ClientWebSocketResponse):
                    assert await farewell(ws) == (4001, "logged out")
                    assert closed == 1
                else:
                    assert isinstance(ws, WSServerHandshakeError)
                    assert (ws.status, closed) == (401, 0)
        await emptied(observer)


async def test_twenty_are_closed_while_five_leave(
    cancelling_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with user(cancelling_server, "ann") as ann:
        staying = [await ann.ws_connect("echo") for _ in range(20)]
        leaving = [await ann.ws_connect("echo") for _ in range(5)]
        async with asyncio.TaskGroup() as group:
            for ws in leaving:
                group.create_task(ws.close())
            closing = group.create_task(log_out(ann))
        assert 20 <= closing.result() <= 25
        for ws in staying:
            assert await farewell(ws) == (4001, "logged out")
        await emptied(ann)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_a_silent_peer_is_closed(cancelling_server: Server) -> None:
    async with user(cancelling_server, "ann") as ann:
        ws = await ann.ws_connect("echo", autoclose=False)
        assert await log_out(ann) == 1
        assert await farewell(ws) == (4001, "logged out")
        await emptied(ann)


async def test_a_peer_that_does_not_read_delays_nobody(
    cancelling_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with user(cancelling_server, "ann") as ann:
        ticket = await log_in(ann)
        peer = await deaf_peer(cancelling_server, ticket)
        async with ann.ws_connect("echo") as ws:
            async with asyncio.timeout(TIMEOUT / 5):
                assert await log_out(ann) == 2
            assert await sockets(ann) == {"users": 0, "sockets": 0}
            assert await farewell(ws) == (4001, "logged out")
        await ends(peer)
        await log_in(ann)
        async with ann.ws_connect("echo") as ws:
            assert await echoes(ws)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_a_thousand_logins_leave_nothing(client: ClientSession) -> None:
    for number in range(1000):
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


async def test_a_user_can_come_back_while_old_sockets_close(
    cancelling_server: Server,
) -> None:
    async with user(cancelling_server, "ann") as ann:
        old = await ann.ws_connect("echo")
        assert await log_out(ann) == 1
        await log_in(ann)
        async with ann.ws_connect("echo") as new:
            assert await farewell(old) == (4001, "logged out")
            assert await echoes(new)
            assert await sockets(ann) == {"users": 1, "sockets": 1}
        await emptied(ann)


async def test_a_session_that_ends_closes_its_sockets(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_logout, "SESSION_SECONDS", 0.2)
    await log_in(client)
    async with client.ws_connect("echo") as ws:
        assert await farewell(ws) == (4001, "logged out")
    assert await refusal(client) == 401
    await emptied(client)


async def test_the_sockets_of_a_user_are_limited(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_logout, "MAX_SOCKETS", 2)
    await log_in(client)
    async with client.ws_connect("echo"), client.ws_connect("echo"):
        assert await refusal(client) == 429
        assert await sockets(client) == {"users": 1, "sockets": 2}
    await emptied(client)


async def test_the_oldest_session_gives_way(
    client: ClientSession, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_logout, "MAX_SESSIONS", 1)
    await log_in(client)
    async with user(server, "bob") as bob:
        assert await refusal(client) == 401
        assert await log_out(bob) == 0


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        *(
            ("application/json", body)
            for body in [
                *(b"", b"{", b"[]", b"null", b'"ann"', b"{}", b"\xff", b"NaN"),
                *(b'{"user": ""}', b'{"user": 1}', b'{"user": true}'),
                *(
                    b'{"user": null}',
                    b'{"user": ["ann"]}',
                    b'{"user": "a\\nb"}',
                ),
                *(b'{"user": "\\ud800"}', b'{"user": "\\u0000"}'),
                *(b'{"user": "%b"}' % (b"x" * 65), b"[" * 100_000, b"1" * 5000),
            ]
        ),
        ("application/json; charset=bogus", b'{"user": "ann"}'),
        ("application/json; charset=hex", b'{"user": "ann"}'),
        ("application/json; charset=ascii", b'{"user": "ann"}'),
        ("application/x-www-form-urlencoded", b"user=ann"),
    ],
)
async def test_a_bad_login_is_refused(
    client: ClientSession, kind: str, body: bytes
) -> None:
    headers = {"Content-Type": kind}
    async with client.post("login", data=body, headers=headers) as response:
        assert response.status == 400
        assert list(await response.json()) == ["error"]
        assert not response.cookies


async def test_a_broken_gzip_body_is_refused(client: ClientSession) -> None:
    headers, body = {"Content-Encoding": "gzip"}, b"this is not gzip"
    async with client.post("login", data=body, headers=headers) as response:
        assert response.status == 400
        assert list(await response.json()) == ["error"]


async def test_frames_that_are_no_text_are_not_echoed(
    client: ClientSession,
) -> None:
    await log_in(client)
    async with client.ws_connect("echo") as ws:
        await ws.send_bytes(b"binary")
        assert await echoes(ws)


async def test_a_message_that_is_too_long_ends_the_socket(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    await log_in(client)
    async with client.ws_connect("echo") as ws:
        await ws.send_str("x" * 2**17)
        assert (await farewell(ws))[0] == 1009
    await emptied(client)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_a_client_that_vanishes_leaves_nothing(
    cancelling_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with user(cancelling_server, "ann") as ann:
        peer = await deaf_peer(cancelling_server, await log_in(ann))
        peer.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, bytes([1] + [0] * 7)
        )
        peer.close()
        await emptied(ann)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_the_end_closes_every_socket_with_1001(
    serve: Serve, application: web.Application, handler_cancellation: bool
) -> None:
    server = await serve(
        application,
        handler_cancellation=handler_cancellation,
        shutdown_timeout=60,
    )
    async with user(server, "ann") as ann, user(server, "bob") as bob:
        sockets = [await who.ws_connect("echo") for who in [ann, bob] * 5]
        peer = await deaf_peer(server, await log_in(bob))
        async with asyncio.timeout(2):
            await server.stop()
        for ws in sockets:
            assert (await farewell(ws))[0] == 1001
        await ends(peer)


@pytest.mark.parametrize("logged_out", [False, True])
async def test_the_end_waits_for_a_slow_peer_but_not_long(
    serve: Serve, application: web.Application, logged_out: bool
) -> None:
    server = await serve(application, shutdown_timeout=60)
    async with user(server, "ann") as ann:
        ticket = await log_in(ann)
        peer, transport = await slow_peer(server, ticket, application)
        assert transport.get_write_buffer_size() < 60_000
        if logged_out:
            assert await log_out(ann) == 1
    async with asyncio.timeout(2):
        await server.stop()
    assert not transport.get_write_buffer_size()
    await ends(peer)
