"""Proofs for recipes/parallel_events.py."""

import asyncio
import os
import secrets
import signal
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any, Protocol

import pytest
from aiohttp import (
    ClientSession,
    ClientWebSocketResponse,
    TCPConnector,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from redis.asyncio import Redis
from yarl import URL

from recipes import parallel_events
from tests.conftest import KillableRedis, Serve
from tests.servers import TIMEOUT, Server, exchange


@pytest.fixture
def application(redis_url: str) -> web.Application:
    return parallel_events.create_app(redis_url=redis_url)


@pytest.fixture
def channel() -> str:
    """A channel of the test's own: all tests share one Redis."""
    return secrets.token_hex(8)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as redis:
        yield redis


class Join(Protocol):
    """The fixture `join`: opens a socket, and waits for its `ready`."""

    async def __call__(
        self, client: ClientSession, channel: str
    ) -> ClientWebSocketResponse: ...


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    async with AsyncExitStack() as stack:

        async def join(
            client: ClientSession, channel: str
        ) -> ClientWebSocketResponse:
            async with asyncio.timeout(TIMEOUT):
                ws = await client.ws_connect(f"ws?channel={channel}")
            stack.push_async_callback(ws.close)
            assert await hear(ws) == {"type": "ready", "channel": channel}
            return ws

        yield join


async def hear(ws: ClientWebSocketResponse) -> dict[str, str]:
    message: dict[str, str] = await ws.receive_json(timeout=TIMEOUT)
    return message


async def publish(
    client: ClientSession, channel: str, event: str | bytes, **knobs: Any
) -> tuple[int, Any]:
    async with client.post(
        f"channels/{channel}", data=event, **knobs
    ) as response:
        return response.status, await response.json()


async def stats(client: ClientSession) -> dict[str, int]:
    async with client.get("stats") as response:
        counts: dict[str, int] = await response.json()
    return counts


async def until_sockets(client: ClientSession, number: int) -> None:
    """Wait until the registry holds that many sockets: nothing else tells."""
    async with asyncio.timeout(TIMEOUT):
        while (await stats(client))["sockets"] != number:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_events_and_echoes_arrive_on_one_socket(
    client: ClientSession,
    channel: str,
    join: Join,
) -> None:
    ws = await join(client, channel)
    await ws.send_str("first")
    assert await hear(ws) == {"type": "echo", "data": "first"}
    assert await publish(client, channel, "It räins.") == (
        200,
        {"receivers": 1},
    )
    assert await hear(ws) == {"type": "event", "data": "It räins."}
    await ws.send_str("last")
    assert await hear(ws) == {"type": "echo", "data": "last"}


async def test_news_is_the_channel_of_those_who_name_none(
    client: ClientSession,
) -> None:
    async with client.ws_connect("ws") as ws:
        assert await hear(ws) == {"type": "ready", "channel": "news"}


async def test_what_is_published_after_ready_arrives_once_and_in_order(
    client: ClientSession,
    channel: str,
    redis: Redis,
    join: Join,
) -> None:
    ws = await join(client, channel)
    for number in range(200):
        await redis.publish(f"events:{channel}", str(number))
    heard = [(await hear(ws))["data"] for _ in range(200)]
    assert heard == [str(number) for number in range(200)]
    await ws.send_str("end")
    assert (await hear(ws))["type"] == "echo"


async def test_an_event_reaches_the_sockets_of_its_channel_alone(
    client: ClientSession,
    channel: str,
    join: Join,
) -> None:
    mine, too, other = [
        await join(client, name) for name in (channel, channel, channel + "x")
    ]
    assert await stats(client) == {"sockets": 3, "channels": 2}
    assert await publish(client, channel, "a") == (200, {"receivers": 2})
    for ws in (mine, too):
        assert await hear(ws) == {"type": "event", "data": "a"}
    await other.send_str("b")
    assert await hear(other) == {"type": "echo", "data": "b"}


async def test_a_payload_that_is_no_text_is_skipped(
    client: ClientSession,
    channel: str,
    redis: Redis,
    join: Join,
) -> None:
    ws = await join(client, channel)
    for payload in (b"\xff", b"x" * (2**16 + 1), b"good"):
        await redis.publish(f"events:{channel}", payload)
    await redis.publish(b"events:\xff", b"good")
    assert await hear(ws) == {"type": "event", "data": "good"}


async def test_a_hundred_and_fifty_sockets_need_two_connections(
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        ClientSession(server.url, connector=TCPConnector(limit=0)) as client,
        Redis.from_url(killable_redis.url) as redis,
    ):
        sockets = [await join(client, channel) for _ in range(150)]
        answer = await publish(client, channel, "a")
        assert answer == (200, {"receivers": 150})
        for ws in sockets:
            assert await hear(ws) == {"type": "event", "data": "a"}
        # The third is the one that asks.
        assert len(await redis.client_list()) <= 3


class Peer:
    """A WebSocket by hand, for what no client library would do."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer

    def send(self, opcode: int, payload: bytes) -> None:
        """Send a frame, masked with zeros."""
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(payload))
        self.writer.write(head + bytes(4) + payload)

    def reset(self) -> None:
        """Leave without a word: the server's kernel hears of it first."""
        peer = self.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" * 2)
        self.writer.transport.abort()


async def connect_peer(server: Server, channel: str) -> Peer:
    """Open a socket with a small buffer that nothing reads from."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(peer, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=peer, limit=1024)
    writer.write(
        f"GET {server.url.path}ws?channel={channel} HTTP/1.1\r\n"
        "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    async with asyncio.timeout(TIMEOUT):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return Peer(reader, writer)


@pytest.fixture
async def production(
    redis_url: str, serve: Serve, handler_cancellation: bool
) -> Server:
    app = parallel_events.create_app(redis_url=redis_url)
    return await serve(app, handler_cancellation=handler_cancellation)


@pytest.fixture
async def visitor(production: Server) -> AsyncIterator[ClientSession]:
    async with ClientSession(production.url) as session:
        yield session


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_who_leaves_is_forgotten(
    production: Server, visitor: ClientSession, channel: str, how: str
) -> None:
    peer = await connect_peer(production, channel)
    await until_sockets(visitor, 1)
    if how == "close":
        peer.send(8, struct.pack("!H", 1000))
        peer.writer.close()
    else:
        peer.reset()
    await until_sockets(visitor, 0)
    assert await stats(visitor) == {"sockets": 0, "channels": 0}


async def test_who_does_not_read_is_cut_off_and_stops_nobody(
    production: Server,
    visitor: ClientSession,
    channel: str,
    join: Join,
) -> None:
    ws = await join(visitor, channel)
    peer = await connect_peer(production, channel)
    await until_sockets(visitor, 2)
    event, rounds = "x" * 2**16, 0
    async with asyncio.timeout(TIMEOUT):
        while (await stats(visitor))["sockets"] == 2:
            await publish(visitor, channel, event)
            assert (await hear(ws))["data"] == event
            rounds += 1
    assert rounds > 2**19 // 2**16
    await publish(visitor, channel, "after")
    assert (await hear(ws))["data"] == "after"
    peer.writer.close()


async def test_who_writes_without_reading_is_cut_off_too(
    production: Server, visitor: ClientSession, channel: str
) -> None:
    peer = await connect_peer(production, channel)
    await until_sockets(visitor, 1)

    async def flood() -> None:
        with suppress(ConnectionError):
            while True:
                peer.send(1, b"x" * 65_000)
                await peer.writer.drain()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(flood())
        await until_sockets(visitor, 0)
        task.cancel()


async def test_the_server_says_goodbye_at_once(
    production: Server,
    visitor: ClientSession,
    channel: str,
    join: Join,
) -> None:
    sockets = [await join(visitor, channel) for _ in range(10)]
    stuck = await connect_peer(production, channel)
    async with asyncio.timeout(2):
        await production.stop()
    for ws in sockets:
        message = await ws.receive(timeout=TIMEOUT)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
    stuck.writer.close()


async def test_a_peer_that_pings_and_never_reads_delays_no_goodbye(
    production: Server, channel: str
) -> None:
    stuck = await connect_peer(production, channel)
    ping = b"\x89\xfd\0\0\0\0" + 125 * b"a"
    stuck.writer.write(250_000 * ping)
    # Once its own buffers are full of pongs, the server reads no more.
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stuck.writer.drain(), 2)
    async with asyncio.timeout(3):
        await production.stop()
    stuck.reset()
    with suppress(ConnectionError):
        await stuck.writer.wait_closed()


async def test_redis_is_left_without_connections(
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        await join(client, channel)
        await publish(client, channel, "a")
    await server.stop()
    async with Redis.from_url(killable_redis.url) as redis:
        assert len(await redis.client_list()) == 1


async def away(client: ClientSession, channel: str) -> None:
    """Wait until a publisher is told that Redis is away."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            async with client.post(f"channels/{channel}", data="a") as response:
                if response.status == 503:
                    assert response.headers["Retry-After"] == "1"
                    assert await response.json() == {"error": "Redis is away"}
                    return


@pytest.mark.parametrize("seconds", [0, 7])
async def test_sockets_live_through_an_outage_and_are_told(
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    seconds: int,
    caplog: pytest.LogCaptureFixture,
    join: Join,
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        ws = await join(client, channel)
        killable_redis.stop()
        await away(client, channel)
        async with client.get("ws") as response:
            assert response.status in {400, 503}
        # Longer than redis-py's own patience, and the echo goes on.
        await asyncio.sleep(seconds)
        await ws.send_str("still here")
        assert await hear(ws) == {"type": "echo", "data": "still here"}
        killable_redis.start()
        async with asyncio.timeout(2):
            assert await hear(ws) == {"type": "ready", "channel": channel}
        assert await publish(client, channel, "back") == (200, {"receivers": 1})
        assert await hear(ws) == {"type": "event", "data": "back"}
    lines = [r for r in caplog.records if "no events" in r.getMessage()]
    assert len(lines) == 1


async def test_a_frozen_redis_is_noticed(
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        ws = await join(client, channel)
        os.killpg(killable_redis.process.pid, signal.SIGSTOP)
        async with asyncio.timeout(1.5):
            async with client.post(f"channels/{channel}", data="a") as response:
                assert response.status == 503
        async with asyncio.timeout(TIMEOUT):
            while True:
                async with client.get("ws", headers=UPGRADE) as response:
                    if response.status == 503:
                        break
        os.killpg(killable_redis.process.pid, signal.SIGCONT)
        while (message := await hear(ws)).get("type") != "ready":
            assert message["type"] == "event"


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def test_a_quiet_redis_is_no_outage(
    redis_url: str, serve: Serve, channel: str, join: Join
) -> None:
    server = await serve(parallel_events.create_app(redis_url=redis_url))
    async with ClientSession(server.url) as client:
        ws = await join(client, channel)
        with pytest.raises(TimeoutError):
            await ws.receive(timeout=3)


async def test_it_starts_without_redis_and_recovers(
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
) -> None:
    killable_redis.stop()
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        await away(client, channel)
        async with client.get("ws", headers=UPGRADE) as response:
            assert response.status == 503
            assert await response.json() == {"error": "Redis is away"}
        killable_redis.start()
        async with asyncio.timeout(2):
            ws = await join_once_it_may(join, client, channel)
        assert await publish(client, channel, "a") == (200, {"receivers": 1})
        assert await hear(ws) == {"type": "event", "data": "a"}


async def join_once_it_may(
    join: Join, client: ClientSession, channel: str
) -> ClientWebSocketResponse:
    while True:
        with suppress(WSServerHandshakeError):
            return await join(client, channel)


@pytest.mark.parametrize(
    "name",
    ["", "*", "a%00", "a%0Ab", "a%2Fb", "x" * 65, "%C3%A9", "a&channel=b"],
)
async def test_a_name_that_no_channel_has_is_refused(
    client: ClientSession, server: Server, name: str
) -> None:
    url = URL(f"{server.url}ws?channel={name}", encoded=True)
    async with client.get(url, headers=UPGRADE) as response:
        assert response.status == 400
        assert "error" in await response.json()
    url = URL(f"{server.url}channels/{name}", encoded=True)
    async with client.post(url, data="a") as response:
        assert response.status == 404


async def test_a_request_without_upgrade_is_refused(
    client: ClientSession,
) -> None:
    async with client.get("ws") as response:
        assert response.status == 400
        assert "error" in await response.json()


async def test_a_handshake_with_an_odd_key_is_refused(server: Server) -> None:
    answer = await exchange(
        server,
        f"GET {server.url.path}ws HTTP/1.1\r\nHost: localhost\r\n".encode(),
        b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n",
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \xff\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("event", "content_type", "status"),
    [
        (b"\xff", "text/plain; charset=utf-8", 400),
        (b"+\x80", "text/plain; charset=utf-16", 400),
        (b"a" * (2**16 + 1), "text/plain", 413),
    ],
)
async def test_an_event_is_a_text_of_64_kib_at_most(
    client: ClientSession,
    channel: str,
    event: bytes,
    content_type: str,
    status: int,
) -> None:
    headers = {"Content-Type": content_type}
    answer = await publish(client, channel, event, headers=headers)
    assert answer[0] == status
    assert "error" in answer[1]


async def test_what_is_no_text_is_not_echoed(
    client: ClientSession,
    channel: str,
    join: Join,
) -> None:
    ws = await join(client, channel)
    await ws.send_bytes(b"first")
    await ws.send_str("second")
    assert await hear(ws) == {"type": "echo", "data": "second"}


async def test_a_message_has_64_kib_at_most(
    client: ClientSession,
    channel: str,
    join: Join,
) -> None:
    ws = await join(client, channel)
    await ws.send_str("x" * 2**16)
    assert (await hear(ws))["data"] == "x" * 2**16
    await ws.send_str("x" * (2**16 + 1))
    message = await ws.receive(timeout=TIMEOUT)
    assert (message.type, message.data) == (WSMsgType.CLOSE, 1009)
