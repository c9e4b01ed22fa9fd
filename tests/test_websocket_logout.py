"""Proofs for recipes/websocket_logout.py; production has to pass them too."""

import asyncio
import gzip
import json
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import (
    ClientError,
    ClientSession,
    ClientWebSocketResponse,
    CookieJar,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from aiohttp.typedefs import Handler
from redis import Redis as BlockingRedis
from yarl import URL

from tests.conftest import Serve, Tier, at_length, in_turn
from tests.servers import (
    TIMEOUT,
    Server,
    exchange,
    forked,
    patient_copy,
)

UPGRADE = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)
KEY = b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
FOREIGN = [
    "null",
    "",
    "http://evil.example",
    "{0}",
    "HTTP://{0}",
    "ftp://{0}",
    "http://{0}.",
    "http://{0}1",
    "http://127.0.0.1",
    "http://{0}/",
    "http://sub.{0}",
    "http://{0}.evil.example",
    "http://localhost:1",
    "https://localhost:1",
]


@pytest.fixture
def application(recipe: Tier, redis_url: str) -> web.Application:
    """The production file has its sessions in Redis."""
    if ".production." not in recipe.__name__:
        return recipe.create_app()
    return recipe.create_app(redis_url=cleared(redis_url))


def cleared(redis_url: str) -> str:
    """Return the URL of a patient Redis, and delete what others have left.

    A socket whose place was not given back in time would count as open.
    """
    with BlockingRedis.from_url(redis_url) as redis:
        for key in redis.scan_iter("websocket_logout:*"):
            redis.delete(key)
    # A busy machine is no outage.
    limits = ("timeout", "socket_timeout", "socket_connect_timeout")
    return str(URL(redis_url).update_query(dict.fromkeys(limits, TIMEOUT)))


@pytest.fixture
def impatient(recipe: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a send wait for a moment only, even of a busy machine."""
    name = "SEND_TIMEOUT" if hasattr(recipe, "SEND_TIMEOUT") else "WAIT"
    monkeypatch.setattr(recipe, name, 0.7)


@pytest.fixture
def long_goodbye(recipe: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a goodbye take as long as a busy machine needs for it."""
    monkeypatch.setattr(recipe, "WAIT", TIMEOUT)


@asynccontextmanager
async def user(url: URL, name: str) -> AsyncIterator[ClientSession]:
    """Another browser, logged in."""
    jar = CookieJar(unsafe=True)
    async with ClientSession(url, cookie_jar=jar) as session:
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


async def raw_peer(url: URL, ticket: str) -> socket.socket:
    """A peer that has read nothing but the upgrade's answer."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(peer, ("127.0.0.1", url.port))
    target = url.raw_path.encode() + b"echo?ticket=" + ticket.encode()
    request = b"GET %b HTTP/1.1\r\n%b%b\r\n" % (target, UPGRADE, KEY)
    await loop.sock_sendall(peer, request)
    answer = await loop.sock_recv(peer, 1024)
    assert answer.startswith(b"HTTP/1.1 101 ")
    return peer


async def deaf_peer(url: URL, ticket: str) -> socket.socket:
    """A peer that sends as much as the server takes, and reads nothing."""
    peer = await raw_peer(url, ticket)
    with suppress(TimeoutError, ConnectionError):
        await asyncio.wait_for(keep_sending(peer), 0.5)
    return peer


async def slow_peer(
    server: Server, ticket: str
) -> tuple[socket.socket, asyncio.Transport]:
    """A peer that left a little unread, and the server's transport to it."""
    peer = await raw_peer(server.url, ticket)
    # What it sends before it is served would come back all at once.
    await send_text(peer, 200)
    await asyncio.get_running_loop().sock_recv(peer, 1024)
    transport = transport_to(peer, server)
    # A few messages fill it: more would be a flood.
    its_socket = transport.get_extra_info("socket")
    its_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    async with asyncio.timeout(TIMEOUT):
        while not transport.get_write_buffer_size():
            await send_text(peer, 2_000)
            await asyncio.sleep(0)
    return peer, transport


async def stalled_peer(server: Server, ticket: str) -> socket.socket:
    """A peer that left so much unread that a send to it waits."""
    peer = await raw_peer(server.url, ticket)
    transport = transport_to(peer, server)
    _, limit = transport.get_write_buffer_limits()
    sending = asyncio.create_task(keep_sending(peer))
    async with asyncio.timeout(TIMEOUT):
        # Nothing tells of it.
        while transport.get_write_buffer_size() <= limit:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    sending.cancel()
    await asyncio.wait([sending])
    return peer


async def idle_peer(server: Server, ticket: str) -> socket.socket:
    """A peer that stalls while its handler waits for the next message."""
    peer, transport = await slow_peer(server, ticket)
    async with asyncio.timeout(TIMEOUT):
        # More than the kernel takes in the meantime.
        while transport.get_write_buffer_size() < 20_000:
            await send_text(peer, 2_000)
            await asyncio.sleep(0)
    unread = 0
    while unread != transport.get_write_buffer_size():
        unread = transport.get_write_buffer_size()
        # Turns in which the handler echoes what it has not read yet.
        for _ in range(50):
            await asyncio.sleep(0)
    # The next send waits. The last one did not, and no timer is left.
    transport.set_write_buffer_limits(0)
    return peer


async def keep_sending(peer: socket.socket) -> None:
    while True:
        await send_text(peer, 60_000)


async def keep_pinging(peer: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ping = b"\x89\xfd" + bytes(4) + b"x" * 125
    with suppress(ConnectionError):
        while True:
            await loop.sock_sendall(peer, ping * 1000)


def transport_to(peer: socket.socket, server: Server) -> asyncio.Transport:
    """Return the server's transport to a peer."""
    assert server.runner.server is not None
    for connection in server.runner.server.connections:
        transport = connection.transport
        assert transport is not None
        if transport.get_extra_info("peername") == peer.getsockname():
            return transport
    raise LookupError("the server has no such connection")


async def send_text(peer: socket.socket, length: int) -> None:
    """Send a frame of `length` times "x", masked by zeros."""
    frame = b"\x81\xfe" + length.to_bytes(2, "big") + bytes(4) + b"x" * length
    await asyncio.get_running_loop().sock_sendall(peer, frame)


async def status_of(
    client: ClientSession, target: str, origin: str | None = None
) -> int:
    """Send a POST that a page of an origin could send."""
    headers = {} if origin is None else {"Origin": origin}
    body = {"user": "ann"}
    async with client.post(target, json=body, headers=headers) as response:
        if response.status >= 400:
            assert list(await response.json()) == ["error"]
        return response.status


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.ERROR
    ]


async def is_reset(peer: socket.socket) -> None:
    """Wait, without reading, until the server has given the peer up."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT):
        with suppress(ConnectionError):
            while True:
                await loop.sock_sendall(peer, b"x")
                await asyncio.sleep(0.02)
    peer.close()


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


# Login and upgrade


async def test_a_socket_echoes_what_it_is_sent(client: ClientSession) -> None:
    await log_in(client)
    async with client.ws_connect("echo") as ws:
        assert await echoes(ws)
        assert await echoes(ws, "x" * 60_000)
        assert await sockets(client) == {"users": 1, "sockets": 1}
    await emptied(client)


async def test_a_flood_of_small_messages_lets_others_run(alone: Server) -> None:
    async with user(alone.url, "ann") as ann:
        peer = await raw_peer(alone.url, await log_in(ann))
    count = 500
    left = count * len(b"\x81\x01x")
    turns = 0
    loop = asyncio.get_running_loop()
    with peer:
        # All echoes fit, whatever else it has to keep for each.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        await loop.sock_sendall(peer, (b"\x81\x81" + bytes(4) + b"x") * count)
        async with asyncio.timeout(TIMEOUT):
            while left:
                left -= len(await loop.sock_recv(peer, 2**16))
                turns += 1
    assert turns > count / 10


async def test_a_ticket_opens_a_socket_without_the_cookie(
    client: ClientSession, server: Server
) -> None:
    ticket = await log_in(client)
    async with ClientSession(server.url) as other:
        async with other.ws_connect(f"echo?ticket={ticket}") as ws:
            assert await echoes(ws)
        assert await refusal(other, "echo?ticket=guess") == 401
        assert await refusal(other) == 401


async def test_a_ticket_cannot_log_out(
    client: ClientSession, server: Server
) -> None:
    ticket = await log_in(client)
    async with (
        client.ws_connect("echo") as ws,
        ClientSession(server.url) as other,
    ):
        assert await status_of(other, f"logout?ticket={ticket}") == 401
        assert await echoes(ws)


async def test_a_ticket_ends_with_its_session(client: ClientSession) -> None:
    ticket = await log_in(client)
    assert await log_out(client) == 0
    assert await refusal(client, f"echo?ticket={ticket}") == 401


async def test_an_anonymous_upgrade_is_refused(
    client: ClientSession, recipe: Any
) -> None:
    assert await refusal(client) == 401
    assert await refusal(client, "echo?ticket=") == 401
    await client.get("sockets", cookies={recipe.COOKIE: "guess"})
    assert await refusal(client) == 401


async def test_the_cookie_is_httponly_and_samesite(
    client: ClientSession, recipe: Any
) -> None:
    async with client.post("login", json={"user": "ann"}) as response:
        [cookie] = response.cookies.values()
        body = await response.text()
    assert cookie.key == recipe.COOKIE
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert not cookie["secure"]
    assert len(cookie.value) > 40
    # A script can read the answer.
    assert cookie.value not in body


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_origin_is_refused(
    client: ClientSession, server: Server, origin: str
) -> None:
    ticket = await log_in(client)
    origin = origin.format(server.url.authority)
    assert await refusal(client, origin=origin) == 403
    assert await refusal(client, f"echo?ticket={ticket}", origin) == 403
    assert await sockets(client) == {"users": 0, "sockets": 0}
    async with client.ws_connect("echo") as ws:
        assert await status_of(client, "login", origin) == 403
        assert await status_of(client, "logout", origin) == 403
        assert await echoes(ws)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_own_origin_is_not_refused(
    serve: Serve, application: web.Application, scheme: str
) -> None:
    server = await serve(application)
    jar = CookieJar(unsafe=True)
    async with ClientSession(server.url, cookie_jar=jar) as client:
        # Behind a proxy that ends TLS, only the page knows of https.
        origin = f"{scheme}://{server.url.authority}"
        assert await status_of(client, "login", origin) == 200
        async with client.ws_connect("echo", origin=origin) as ws:
            assert await echoes(ws)
            assert await status_of(client, "logout", origin) == 200


@pytest.mark.parametrize(
    "extra",
    [
        b"",
        UPGRADE,
        UPGRADE + b"Sec-WebSocket-Key: a\r\n",
        UPGRADE.replace(b": 13", b": 12") + KEY,
        # With a byte above 127 aiohttp 3.14.5 raises a ValueError.
        UPGRADE + b"Sec-WebSocket-Key: \xc3\xa9\r\n",
        UPGRADE.replace(b": 13", b": \xff") + KEY,
    ],
)
async def test_what_is_no_upgrade_is_refused(
    server: Server, client: ClientSession, extra: bytes
) -> None:
    ticket = await log_in(client)
    target = server.url.raw_path.encode() + b"echo?ticket=" + ticket.encode()
    headers = (extra or b"Host: localhost\r\n") + b"Connection: close\r\n"
    answer = await exchange(
        server, b"GET %b HTTP/1.1\r\n%b\r\n" % (target, headers)
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["error"].endswith("no WebSocket handshake")
    async with client.ws_connect(f"echo?ticket={ticket}") as ws:
        assert await echoes(ws)


async def test_a_head_is_never_upgraded(server: Server) -> None:
    path = server.url.raw_path.encode()
    answer = await exchange(
        server,
        b"HEAD %becho HTTP/1.1\r\n%b%b\r\n" % (path, UPGRADE, KEY),
        b"GET %bsockets HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Connection: close\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 405 ")


async def test_clients_that_leave_during_the_handshake_cost_no_traceback(
    client: ClientSession, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = (await log_in(client)).encode()
    target = server.url.raw_path.encode() + b"echo?ticket=" + ticket
    for number in range(30):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET %b HTTP/1.1\r\n%b%b\r\n" % (target, UPGRADE, KEY))
        if number % 2:
            writer.close()
        else:
            writer.transport.abort()
    await emptied(client)
    assert not errors(caplog)


# Bad logins


@in_turn(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"ann"',
        b"{}",
        b"\xff",
        b"NaN",
        b"user=ann",
        b'{"user": ""}',
        b'{"user": 1}',
        b'{"user": true}',
        b'{"user": null}',
        b'{"user": ["ann"]}',
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
async def test_a_bad_login_is_refused(
    client: ClientSession, body: bytes
) -> None:
    async with client.post("login", data=body) as response:
        assert response.status == 400
        assert list(await response.json()) == ["error"]
        assert not response.cookies


@pytest.mark.parametrize("name", ["x", "x" * 64, "Ann O'Hara", "Zo\u00eb"])
async def test_a_name_may_have_64_characters_of_any_language(
    client: ClientSession, name: str
) -> None:
    await log_in(client, name)
    async with client.ws_connect("echo") as ws:
        assert await echoes(ws)


async def test_a_codec_that_the_client_names_is_not_used(
    client: ClientSession,
) -> None:
    # Punycode is decoded in quadratic time.
    headers = {"Content-Type": "application/json; charset=punycode"}
    body = b'{"user": "ann"}'
    async with client.post("login", data=body, headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "body",
    [b"this is not gzip", gzip.compress(b'{"user": "ann"}')[:-14]],
    ids=["no-gzip", "gzip-cut-short"],
)
async def test_a_broken_gzip_body_is_refused(
    client: ClientSession, body: bytes
) -> None:
    headers = {"Content-Encoding": "gzip"}
    async with client.post("login", data=body, headers=headers) as response:
        assert response.status == 400
        assert list(await response.json()) == ["error"]


# Logout


async def test_a_logout_closes_the_sockets_of_the_user_alone(
    client: ClientSession, server: Server
) -> None:
    await log_in(client)
    async with user(server.url, "ann") as other, user(server.url, "bob") as bob:
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


async def test_a_logout_empties_the_registry_before_it_answers(
    client: ClientSession, server: Server, recipe: Any
) -> None:
    await log_in(client)
    [cookie] = [each for each in client.cookie_jar if each.key == recipe.COOKIE]
    async with client.ws_connect("echo"):
        path = server.url.raw_path.encode()
        end = b" HTTP/1.1\r\nHost: localhost\r\n"
        name = f"Cookie: {cookie.key}={cookie.value}\r\n\r\n".encode()
        answer = await exchange(
            server,
            b"POST %blogout%b%b" % (path, end, name),
            b"GET %bsockets%bConnection: close\r\n\r\n" % (path, end),
        )
    assert b'{"closed": 1}' in answer
    assert answer.endswith(b'{"users": 0, "sockets": 0}')


async def test_a_logout_is_a_post_of_somebody(
    client: ClientSession, server: Server
) -> None:
    async with user(server.url, "ann") as ann, ann.ws_connect("echo") as ws:
        async with client.post("logout") as response:
            assert response.status == 401
            assert await response.json() == {"error": "log in first"}
        async with ann.get("logout") as response:
            assert response.status == 405
        assert await echoes(ws)


async def test_after_a_logout_nothing_is_echoed(
    cancelling: Server,
) -> None:
    async with (
        user(cancelling.url, "ann") as ann,
        ann.ws_connect("echo") as ws,
    ):
        for number in range(50):
            await ws.send_str(str(number))
        assert await log_out(ann) == 1
        # It may be closed already.
        with suppress(ConnectionError):
            await ws.send_str("late")
        async with asyncio.timeout(TIMEOUT):
            received = [message.data async for message in ws]
    assert "late" not in received


@pytest.mark.unmeasured("it repeats")
@pytest.mark.parametrize("rounds", [20, at_length(100)])
async def test_opening_and_logging_out_at_once_leaves_nothing(
    cancelling: Server, rounds: int
) -> None:
    async with user(cancelling.url, "bob") as observer:
        for _ in range(rounds):
            async with user(cancelling.url, "ann") as ann:
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


@pytest.mark.unmeasured("it repeats")
async def test_twenty_are_closed_while_five_leave(
    long_goodbye: None, cancelling: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with user(cancelling.url, "ann") as ann:
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
    assert not errors(caplog)


async def test_a_silent_peer_is_closed(cancelling: Server) -> None:
    async with user(cancelling.url, "ann") as ann:
        ws = await ann.ws_connect("echo", autoclose=False)
        assert await log_out(ann) == 1
        assert await farewell(ws) == (4001, "logged out")
        await emptied(ann)


async def test_a_peer_that_does_not_read_delays_no_logout(
    cancelling: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with user(cancelling.url, "ann") as ann:
        ticket = await log_in(ann)
        async with ann.ws_connect("echo") as ws:
            peer = await stalled_peer(cancelling, ticket)
            async with asyncio.timeout(TIMEOUT):
                assert await log_out(ann) == 2
            assert await sockets(ann) == {"users": 0, "sockets": 0}
            assert await farewell(ws) == (4001, "logged out")
        await ends(peer)
        await log_in(ann)
        async with ann.ws_connect("echo") as ws:
            assert await echoes(ws)
    assert not errors(caplog)


async def test_a_peer_that_stalls_while_no_send_waits_delays_no_logout(
    cancelling: Server,
) -> None:
    async with user(cancelling.url, "ann") as ann:
        peer = await idle_peer(cancelling, await log_in(ann))
        async with asyncio.timeout(TIMEOUT):
            assert await log_out(ann) == 1
        await ends(peer)
        await emptied(ann)


async def test_a_user_can_come_back_while_old_sockets_close(
    cancelling: Server,
) -> None:
    async with user(cancelling.url, "ann") as ann:
        old = await ann.ws_connect("echo")
        assert await log_out(ann) == 1
        await log_in(ann)
        async with ann.ws_connect("echo") as new:
            assert await farewell(old) == (4001, "logged out")
            assert await echoes(new)
            assert await sockets(ann) == {"users": 1, "sockets": 1}
        await emptied(ann)


# Messages


async def test_frames_that_are_no_text_are_not_echoed(
    client: ClientSession,
) -> None:
    await log_in(client)
    async with client.ws_connect("echo") as ws:
        await ws.send_bytes(b"binary")
        assert await echoes(ws)


async def test_a_ping_is_answered(client: ClientSession) -> None:
    await log_in(client)
    async with client.ws_connect("echo", autoping=False) as ws:
        await ws.ping(b"still there?")
        async with asyncio.timeout(TIMEOUT):
            message = await ws.receive()
        assert (message.type, message.data) == (WSMsgType.PONG, b"still there?")
        assert await echoes(ws)


async def test_a_client_that_vanishes_leaves_nothing(
    cancelling: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with user(cancelling.url, "ann") as ann:
        peer = await stalled_peer(cancelling, await log_in(ann))
        peer.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, bytes([1] + [0] * 7)
        )
        peer.close()
        await emptied(ann)
    assert not errors(caplog)


async def test_a_peer_that_says_goodbye_and_does_not_read_is_aborted(
    serve: Serve, application: web.Application
) -> None:
    server = await serve(application)
    loop = asyncio.get_running_loop()
    async with user(server.url, "ann") as ann:
        ticket = await log_in(ann)
        peer, _ = await slow_peer(server, ticket)
        await loop.sock_sendall(peer, b"\x88\x80" + bytes(4))
        await emptied(ann)
        await is_reset(peer)


# Peers that stall


async def test_a_peer_that_does_not_read_is_dropped_without_a_logout(
    cancelling: Server, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with user(cancelling.url, "ann") as ann:
        peer = await stalled_peer(cancelling, await log_in(ann))
        assert await sockets(ann) == {"users": 1, "sockets": 1}
        await emptied(ann)
        await ends(peer)
        async with ann.ws_connect("echo") as ws:
            assert await echoes(ws)
    assert not errors(caplog)


async def test_a_peer_that_reads_is_not_dropped_by_the_time_limit_of_a_send(
    cancelling: Server, impatient: None
) -> None:
    async with (
        user(cancelling.url, "ann") as ann,
        ann.ws_connect("echo") as ws,
    ):
        assert await echoes(ws)
        with pytest.raises(TimeoutError):
            await ws.receive(timeout=1)
        assert await sockets(ann) == {"users": 1, "sockets": 1}


async def test_a_handshake_whose_client_has_left_leaves_no_traceback(
    serve: Serve,
    application: web.Application,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @web.middleware
    async def let_it_leave(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if request.path.endswith("/echo"):
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
            assert request.transport is None
        return await handler(request)

    root = web.Application(middlewares=[let_it_leave])
    root.add_subapp("/below", application)
    server = await serve(root, prefix="/below")
    async with user(server.url, "ann") as ann:
        with pytest.raises(ClientError):
            await ann.ws_connect("echo")
        assert await sockets(ann) == {"users": 0, "sockets": 0}
    assert not errors(caplog)


# The end


async def test_the_end_closes_every_socket_with_1001(
    long_goodbye: None, patient: Server
) -> None:
    async with user(patient.url, "ann") as ann, user(patient.url, "bob") as bob:
        sockets = [await who.ws_connect("echo") for who in [ann, bob] * 5]
        stopping = asyncio.create_task(patient.stop())
        for ws in sockets:
            assert (await farewell(ws))[0] == 1001
        async with asyncio.timeout(TIMEOUT):
            await stopping


async def test_a_peer_that_does_not_read_delays_no_shutdown(
    patient: Server,
) -> None:
    async with user(patient.url, "ann") as ann:
        peer = await stalled_peer(patient, await log_in(ann))
        async with asyncio.timeout(TIMEOUT):
            await patient.stop()
        await ends(peer)


async def test_a_peer_that_stalls_while_no_send_waits_delays_no_shutdown(
    patient: Server,
) -> None:
    async with user(patient.url, "ann") as ann:
        peer = await idle_peer(patient, await log_in(ann))
        async with asyncio.timeout(TIMEOUT):
            await patient.stop()
        await ends(peer)


@pytest.mark.slow("it floods")
@pytest.mark.unmeasured("it floods")
async def test_a_peer_that_pings_and_does_not_read_delays_no_shutdown(
    patient: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with user(patient.url, "ann") as ann:
        peer = await raw_peer(patient.url, await log_in(ann))
        # Until the server reads no more, or has cut it off.
        with suppress(TimeoutError):
            await asyncio.wait_for(keep_pinging(peer), 1)
        # aiohttp itself would wait for 10 s.
        async with asyncio.timeout(TIMEOUT / 2):
            await patient.stop()
        await ends(peer)
    assert not errors(caplog)


@pytest.mark.slow("it floods")
@pytest.mark.unmeasured("it floods")
async def test_a_peer_that_pings_and_does_not_read_delays_no_logout(
    cancelling: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with user(cancelling.url, "ann") as ann:
        peer = await raw_peer(cancelling.url, await log_in(ann))
        with suppress(TimeoutError):
            await asyncio.wait_for(keep_pinging(peer), 1)
        # aiohttp itself would wait for 10 s.
        async with asyncio.timeout(TIMEOUT / 2):
            await log_out(ann)
        await emptied(ann)
        await ends(peer)
    assert not errors(caplog)


async def test_one_process_knows_all_sessions(
    recipe: Tier, tmp_path: Path, redis_url: str
) -> None:
    script = Path(recipe.__file__)
    async with forked(script, cwd=tmp_path, REDIS_URL=redis_url) as process:
        url = URL(f"http://127.0.0.1:{process.port}/")
        async with user(url, "ann") as ann:
            ticket = await log_in(ann)
        statuses = set()
        for _ in range(40):
            # A new connection each time: a second worker would take half.
            async with ClientSession(url) as client:
                target = f"echo?ticket={ticket}"
                async with client.get(target) as response:
                    statuses.add(response.status)
        # It ends before the test fails: its workers have to end with it.
        assert await process.end() == 0
    assert statuses == {400}


@pytest.mark.slow("it starts a program")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_with_open_sockets_waits_for_none_of_them_to_exit(
    recipe: Tier, tmp_path: Path, redis_url: str, number: signal.Signals
) -> None:
    script = patient_copy(Path(recipe.__file__), tmp_path)
    async with forked(script, cwd=tmp_path, REDIS_URL=redis_url) as process:
        url = URL(f"http://127.0.0.1:{process.port}/")
        async with user(url, "ann") as ann:
            idle = await ann.ws_connect("echo")
            peer = await deaf_peer(url, await log_in(ann))
            assert await process.end(number) == 0
            assert (await farewell(idle))[0] == 1001
            peer.close()
    assert "Traceback" not in process.log.read_text()
