"""Proofs for recipes/parallel_events.py; they hold for production too."""

import asyncio
import logging
import re
import secrets
import signal
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import quote

import pytest
from aiohttp import (
    ClientSession,
    ClientWebSocketResponse,
    TCPConnector,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from aiohttp.typedefs import Handler
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from yarl import URL

from tests.conftest import KillableRedis, Serve, Tier
from tests.servers import (
    START_TIMEOUT,
    TIMEOUT,
    Server,
    exchange,
    forked,
    patient_copy,
)

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
def application(recipe: Tier, redis_url: str) -> web.Application:
    trim(redis_url)
    return recipe.create_app(redis_url=redis_url)


def trim(redis_url: str) -> None:
    """Leave the last event of what other tests have published.

    Each server reads all there is before it lets anybody in: megabytes.
    """
    with BlockingRedis.from_url(redis_url) as redis:
        redis.xtrim("parallel_events:events", maxlen=1, approximate=False)


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


@asynccontextmanager
async def joining() -> AsyncIterator[Join]:
    """Close at the end what `join` has opened."""
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


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    async with joining() as join:
        yield join


async def hear(ws: ClientWebSocketResponse) -> dict[str, str]:
    """Return the next message, without the id that production gives it."""
    message: dict[str, str] = await ws.receive_json(timeout=TIMEOUT)
    message.pop("id", None)
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


async def until_away(client: ClientSession, channel: str) -> None:
    """Wait until a publisher is told that Redis is away."""
    async with asyncio.timeout(TIMEOUT):
        while not is_away(*await publish(client, channel, "lost")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_away(status: int, answer: Any) -> bool:
    """Say whether it is a refusal because Redis is away, and nothing else."""
    error = answer.get("error", "")
    return status == 503 and "Redis is away" in error


class Peer:
    """A WebSocket by hand, for what no client library would do."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer

    def send(self, opcode: int, payload: bytes) -> None:
        """Send a frame, masked with zeros."""
        self.writer.write(frame(opcode, payload))

    def reset(self) -> None:
        """Leave without a word: the server's kernel hears of it first."""
        peer = self.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" * 2)
        self.writer.transport.abort()


def frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | len(payload))
    else:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(payload))
    return head + bytes(4) + payload


async def open_connection(
    server: Server, channel: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a WebSocket on a socket with a small buffer."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(peer, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=peer, limit=1024)
    headers = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    writer.write(
        f"GET {server.url.path}ws?channel={channel} HTTP/1.1\r\n"
        f"Host: localhost\r\n{headers}\r\n".encode()
    )
    return reader, writer


async def connect_peer(server: Server, channel: str) -> Peer:
    """Open a WebSocket that nothing reads from."""
    reader, writer = await open_connection(server, channel)
    async with asyncio.timeout(TIMEOUT):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return Peer(reader, writer)


def transports_of(server: Server) -> list[asyncio.Transport]:
    """Return the server's transports to its clients."""
    assert server.runner.server is not None
    connections = server.runner.server.connections
    transports = [connection.transport for connection in connections]
    return [transport for transport in transports if transport is not None]


def shrink_buffers(server: Server) -> None:
    """Let the kernel keep little of what a peer does not read.

    It keeps megabytes otherwise, and a busy machine needs seconds for them.
    """
    for transport in transports_of(server):
        taken = transport.get_extra_info("socket")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


@pytest.fixture
async def visitor(cancelling: Server) -> AsyncIterator[ClientSession]:
    async with ClientSession(cancelling.url) as session:
        # A busy machine takes its time to subscribe.
        async with asyncio.timeout(TIMEOUT):
            while (await publish(session, "nobody", "ready?"))[0] != 200:
                pass
        yield session


# Events, and echoes


async def test_events_and_echoes_arrive_on_one_websocket(
    client: ClientSession, channel: str, join: Join
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


@pytest.mark.answer_only("in Redis: production has a stream")
async def test_what_is_published_after_ready_arrives_once_and_in_order(
    client: ClientSession, channel: str, redis: Redis, join: Join
) -> None:
    ws = await join(client, channel)
    for number in range(200):
        await redis.publish(f"events:{channel}", str(number))
    heard = [(await hear(ws))["data"] for _ in range(200)]
    assert heard == [str(number) for number in range(200)]
    await ws.send_str("end")
    assert (await hear(ws))["type"] == "echo"


async def test_an_event_reaches_the_subscribers_of_its_channel_alone(
    client: ClientSession, channel: str, join: Join
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


@pytest.mark.answer_only("only the production file limits a channel's name")
@pytest.mark.parametrize("name", ["*", "a b", "a/b", "Zoë", "\0", "x" * 1000])
async def test_a_channel_may_have_any_name(
    client: ClientSession, channel: str, join: Join, name: str
) -> None:
    path = quote(channel + name, safe="")
    async with client.ws_connect(URL(f"ws?channel={path}", encoded=True)) as ws:
        assert (await hear(ws))["channel"] == channel + name
        async with client.post(
            URL(f"channels/{path}", encoded=True), data="a"
        ) as response:
            assert await response.json() == {"receivers": 1}
        assert await hear(ws) == {"type": "event", "data": "a"}


@pytest.mark.answer_only("in Redis: production has a stream")
async def test_a_payload_that_is_no_text_stops_no_other_event(
    client: ClientSession, channel: str, redis: Redis, join: Join
) -> None:
    ws = await join(client, channel)
    await redis.publish(b"events:\xff", b"good")
    await redis.publish(f"events:{channel}x", b"\xff")
    await redis.publish(f"events:{channel}", b"good")
    assert await hear(ws) == {"type": "event", "data": "good"}


async def test_binary_messages_are_not_echoed(
    client: ClientSession, channel: str, join: Join
) -> None:
    ws = await join(client, channel)
    await ws.send_bytes(b"first")
    await ws.send_str("second")
    assert await hear(ws) == {"type": "echo", "data": "second"}


async def test_a_flood_of_small_messages_lets_others_run(
    alone: Server, channel: str
) -> None:
    peer = await connect_peer(alone, channel)
    count = 300
    for _ in range(count):
        peer.send(1, b"x")
    peer.send(1, b"the end")
    came, parts = b"", 0
    async with asyncio.timeout(TIMEOUT):
        while b"the end" not in came:
            came += await peer.reader.read(2**16)
            parts += 1
    assert came.count(b'"echo"') == count + 1
    assert parts > count / 10
    peer.writer.close()


async def test_a_ping_is_answered(
    client: ClientSession, server: Server, channel: str
) -> None:
    peer = await connect_peer(server, channel)
    peer.send(9, b"there?")
    async with asyncio.timeout(TIMEOUT):
        await peer.reader.readuntil(b"\x8a\x06there?")
    peer.writer.close()
    await until_sockets(client, 0)


# Redis


@pytest.mark.answer_only("in Redis: production has a stream")
@pytest.mark.unmeasured("it repeats")
async def test_150_sockets_share_one_subscription(
    recipe: Tier,
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
) -> None:
    server = await serve(recipe.create_app(redis_url=killable_redis.url))
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
        assert await redis.pubsub_numpat() == 1


async def test_redis_is_left_without_connections(
    recipe: Tier,
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
) -> None:
    server = await serve(recipe.create_app(redis_url=killable_redis.url))
    async with ClientSession(server.url) as client:
        await join(client, channel)
        await publish(client, channel, "a")
    await server.stop()
    async with Redis.from_url(killable_redis.url) as redis:
        assert len(await redis.client_list()) == 1


class Proxy:
    """A network between us and Redis, which may swallow all.

    A `crowd` holds what is published until so many connections publish.
    """

    def __init__(self, unix_socket: str) -> None:
        self._unix_socket = unix_socket
        self.crowd = asyncio.Barrier(1)
        self.swallows = False
        self.url = ""

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(
            self._unix_socket
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._copy(reader, far_writer))
                tasks.create_task(self._copy(far_reader, writer))
        except* ConnectionError:
            pass  # one end has left
        finally:
            writer.close()
            far_writer.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(2**16):
            if b"PUBLISH" in data or b"EVAL" in data:
                await self.crowd.wait()
            if not self.swallows:
                writer.write(data)
        writer.close()


@asynccontextmanager
async def proxying(redis: KillableRedis) -> AsyncIterator[Proxy]:
    proxy = Proxy(URL(redis.url).path)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    proxy.url = f"redis://127.0.0.1:{port}"
    try:
        yield proxy
    finally:
        listener.close()


async def test_four_publish_at_once_and_do_not_queue_on_one_connection(
    recipe: Tier,
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
) -> None:
    async with proxying(killable_redis) as proxy:
        server = await serve(recipe.create_app(redis_url=proxy.url))
        async with ClientSession(server.url) as client:
            first = await publish(client, channel, "a")
            assert first == (200, {"receivers": 0})
            # On one connection, nobody passes before two are there.
            proxy.crowd = asyncio.Barrier(2)
            answers = await asyncio.gather(
                *(publish(client, channel, "a") for _ in range(4))
            )
        assert [status for status, _ in answers] == [200] * 4
        await server.stop()


@pytest.mark.full("the same at length", seconds=7)
@pytest.mark.slow("an outage takes seconds")
@pytest.mark.parametrize("seconds", [0, 7])
async def test_sockets_live_through_an_outage_and_are_ready_again(
    recipe: Tier,
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    seconds: int,
    caplog: pytest.LogCaptureFixture,
    join: Join,
) -> None:
    server = await serve(recipe.create_app(redis_url=killable_redis.url))
    async with ClientSession(server.url) as client:
        ws = await join(client, channel)
        other = await join(client, channel + "x")
        await asyncio.gather(*(publish(client, "x", "a") for _ in range(10)))
        killable_redis.stop()
        await until_away(client, channel)
        async with client.get("ws", headers=UPGRADE) as response:
            assert is_away(response.status, await response.json())
        # Longer than redis-py's own patience, and the echo goes on.
        await asyncio.sleep(seconds)
        await ws.send_str("still here")
        assert await hear(ws) == {"type": "echo", "data": "still here"}
        killable_redis.start()
        assert await hear(ws) == {"type": "ready", "channel": channel}
        assert (await hear(other))["channel"] == channel + "x"
        # None of the connections that the outage left behind is used.
        answers = await asyncio.gather(
            *(publish(client, channel, "back") for _ in range(10))
        )
        assert answers == [(200, {"receivers": 1})] * 10
        message = await hear(ws)
        if message == {"type": "gap"}:  # production tells of what is lost
            message = await hear(ws)
        assert message == {"type": "event", "data": "back"}
    assert re.search("no events.*[Cc]onnect", caplog.text)
    assert "Traceback" not in caplog.text


@pytest.mark.slow("an outage takes seconds")
@pytest.mark.answer_only("in Redis: production has a stream")
async def test_publishing_is_refused_while_the_reader_alone_is_away(
    recipe: Tier,
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await serve(recipe.create_app(redis_url=killable_redis.url))
    async with (
        ClientSession(server.url) as client,
        Redis.from_url(killable_redis.url) as redis,
    ):
        ws = await join(client, channel)
        await redis.acl_setuser(
            "default", enabled=True, commands=["-psubscribe"]
        )
        await redis.client_kill_filter(_type="pubsub")
        await until_away(client, channel)
        for _ in range(5):
            assert (await publish(client, channel, "a"))[0] == 503
        # Redis itself is there, and our clients would miss this event.
        assert await redis.publish(f"events:{channel}", "missed") == 0
        await redis.acl_setuser(
            "default", enabled=True, commands=["+psubscribe"]
        )
        async with asyncio.timeout(TIMEOUT):
            while (await hear(ws))["type"] != "ready":
                pass
        assert await publish(client, channel, "a") == (200, {"receivers": 1})
        assert await hear(ws) == {"type": "event", "data": "a"}
        # What Redis refuses is logged with its reason.
        await redis.acl_setuser("default", enabled=True, commands=["-publish"])
        assert is_away(*await publish(client, channel, "a"))
        assert "no permissions to run the 'publish' command" in caplog.text


@pytest.mark.full("the same at length", server="mounted")
@pytest.mark.answer_only("in Redis: production has a stream")
async def test_a_mistake_in_the_program_leaves_a_traceback_and_no_deaf_socket(
    client: ClientSession,
    recipe: Tier,
    channel: str,
    redis: Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    join: Join,
) -> None:
    ws = await join(client, channel)

    def send(*_: object, **__: object) -> None:
        raise AttributeError("decod")

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "send", send)
        await redis.publish(f"events:{channel}", "lost")
        async with asyncio.timeout(TIMEOUT):
            while "decod" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert "Traceback" in caplog.text
    assert await hear(ws) == {"type": "ready", "channel": channel}
    assert await publish(client, channel, "a") == (200, {"receivers": 1})
    assert await hear(ws) == {"type": "event", "data": "a"}


@pytest.mark.slow("an outage takes seconds")
async def test_a_quiet_redis_is_no_outage(
    recipe: Tier, redis_url: str, serve: Serve, channel: str, join: Join
) -> None:
    server = await serve(recipe.create_app(redis_url=redis_url))
    async with ClientSession(server.url) as client:
        ws = await join(client, channel)
        with pytest.raises(TimeoutError):
            await ws.receive(timeout=3)


@pytest.mark.slow("an outage takes seconds")
async def test_it_starts_without_redis_and_recovers(
    recipe: Tier,
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
) -> None:
    killable_redis.stop()
    server = await serve(recipe.create_app(redis_url=killable_redis.url))
    async with ClientSession(server.url) as client:
        assert is_away(*await publish(client, channel, "a"))
        async with client.get("ws", headers=UPGRADE) as response:
            assert is_away(response.status, await response.json())
        killable_redis.start()
        async with asyncio.timeout(TIMEOUT):
            ws = await join_once_it_may(join, client, channel)
        assert await publish(client, channel, "a") == (200, {"receivers": 1})
        assert await hear(ws) == {"type": "event", "data": "a"}


async def join_once_it_may(
    join: Join, client: ClientSession, channel: str
) -> ClientWebSocketResponse:
    while True:
        with suppress(WSServerHandshakeError):
            return await join(client, channel)
        await asyncio.sleep(0.02)


async def test_a_publisher_waits_a_second_for_a_frozen_redis(
    recipe: Tier,
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with proxying(killable_redis) as proxy:
        server = await serve(recipe.create_app(redis_url=proxy.url))
        async with ClientSession(server.url) as client:
            assert (await publish(client, channel, "a"))[0] == 200
            proxy.swallows = True
            async with asyncio.timeout(TIMEOUT):
                answer = await publish(client, channel, "a")
            assert is_away(*answer)
        assert ": TimeoutError" in caplog.text
        async with asyncio.timeout(TIMEOUT):
            await server.stop()


@pytest.mark.answer_only("in Redis: production has a stream")
async def test_a_url_that_asks_for_text_loses_no_event(
    recipe: Tier,
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
) -> None:
    url = f"{killable_redis.url}?decode_responses=True"
    server = await serve(recipe.create_app(redis_url=url))
    async with (
        ClientSession(server.url) as client,
        Redis.from_url(killable_redis.url) as redis,
    ):
        ws = await join(client, channel)
        await redis.publish(f"events:{channel}x", b"\xff")
        assert await publish(client, channel, "a") == (200, {"receivers": 1})
        assert await hear(ws) == {"type": "event", "data": "a"}


# Peers that leave, or do not read


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_who_disconnects_is_forgotten(
    cancelling: Server, visitor: ClientSession, channel: str, how: str
) -> None:
    peer = await connect_peer(cancelling, channel)
    await until_sockets(visitor, 1)
    if how == "close":
        peer.send(8, struct.pack("!H", 1000))
        peer.writer.close()
    else:
        peer.reset()
    await until_sockets(visitor, 0)
    assert await stats(visitor) == {"sockets": 0, "channels": 0}


@pytest.fixture
def at_info(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """A log that has each request. It comes before the first connection.

    aiohttp 3.11 and 3.12 raise an error on one that was made before it.
    """
    caplog.set_level(logging.INFO)
    return caplog


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.unmeasured("it repeats")
async def test_who_leaves_during_the_handshake_leaves_no_traceback(
    at_info: pytest.LogCaptureFixture,
    cancelling: Server,
    visitor: ClientSession,
    channel: str,
    how: str,
) -> None:
    for _ in range(30):
        peer = Peer(*await open_connection(cancelling, channel))
        if how == "reset":
            peer.reset()
        else:
            peer.writer.close()
    # It is served after the others.
    await stats(visitor)
    await until_sockets(visitor, 0)
    # A warning may say that Redis was slow, as the machine was.
    errors = [
        record.getMessage()
        for record in at_info.records
        if record.levelno >= logging.ERROR
    ]
    assert errors == []


async def test_a_handshake_whose_client_has_left_leaves_no_traceback(
    serve: Serve,
    application: web.Application,
    channel: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    left = asyncio.Event()

    @web.middleware
    async def wait_until_it_has_left(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if request.path.endswith("/ws"):
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
            assert request.transport is None
            left.set()
        return await handler(request)

    root = web.Application(middlewares=[wait_until_it_has_left])
    root.add_subapp("/below", application)
    server = await serve(root, prefix="/below")
    async with ClientSession(server.url) as client:
        peer = Peer(*await open_connection(server, channel))
        async with asyncio.timeout(TIMEOUT):
            await left.wait()
        assert await stats(client) == {"sockets": 0, "channels": 0}
        peer.reset()
    assert "Traceback" not in caplog.text
    assert "Error handling request" not in caplog.text


@pytest.mark.slow("it floods")
@pytest.mark.unmeasured("it floods")
async def test_backpressure_of_who_does_not_read_stops_nobody(
    cancelling: Server, visitor: ClientSession, channel: str, join: Join
) -> None:
    ws = await join(visitor, channel)
    peer = await connect_peer(cancelling, channel)
    await until_sockets(visitor, 2)
    event, rounds = "x" * 2**16, 0
    async with asyncio.timeout(START_TIMEOUT):
        while (await stats(visitor))["sockets"] == 2:
            await publish(visitor, channel, event)
            assert (await hear(ws))["data"] == event
            rounds += 1
    assert rounds > 2**19 // 2**16
    await publish(visitor, channel, "after")
    assert (await hear(ws))["data"] == "after"
    peer.writer.close()


@pytest.mark.unmeasured("it floods")
async def test_who_writes_without_reading_is_cut_off(
    cancelling: Server, visitor: ClientSession, channel: str
) -> None:
    peer = await connect_peer(cancelling, channel)
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


@pytest.mark.answer_only("aiohttp answers no ping there")
async def test_a_pong_to_a_client_that_has_left_leaves_no_traceback(
    client: ClientSession,
    channel: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def receive(ws: web.WebSocketResponse) -> NoReturn:
        raise ConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(web.WebSocketResponse, "receive", receive)
    async with client.ws_connect("ws", params={"channel": channel}) as ws:
        assert (await hear(ws))["type"] == "ready"
        await until_sockets(client, 0)
    assert "Traceback" not in caplog.text


@pytest.mark.slow("it floods")
@pytest.mark.unmeasured("it floods")
async def test_who_pings_without_reading_is_cut_off_by_the_next_event(
    cancelling: Server,
    visitor: ClientSession,
    channel: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = await connect_peer(cancelling, channel)
    await until_sockets(visitor, 1)
    shrink_buffers(cancelling)

    async def flood() -> None:
        with suppress(ConnectionError):
            while True:
                peer.send(9, b"x" * 125)
                await peer.writer.drain()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(flood())
        async with asyncio.timeout(START_TIMEOUT):
            while (await stats(visitor))["sockets"]:
                await publish(visitor, channel, "x" * 2**14)
        task.cancel()
    assert "Traceback" not in caplog.text


@pytest.mark.slow("it floods")
@pytest.mark.unmeasured("it floods")
async def test_a_connection_with_unread_events_is_aborted_at_the_end(
    cancelling: Server, visitor: ClientSession, channel: str
) -> None:
    peer = await connect_peer(cancelling, channel)
    await until_sockets(visitor, 1)
    shrink_buffers(cancelling)

    def unread() -> int:
        return sum(
            transport.get_write_buffer_size()
            for transport in transports_of(cancelling)
        )

    async with asyncio.timeout(TIMEOUT):
        while not unread():
            await publish(visitor, channel, "x" * 2**14)
    # It says goodbye, but what it has not read is still to be sent.
    peer.send(8, struct.pack("!H", 1000))
    await until_sockets(visitor, 0)
    async with asyncio.timeout(TIMEOUT):
        while unread():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    peer.writer.close()


# The end


async def test_the_server_says_goodbye_with_1001(
    patient: Server, channel: str, join: Join
) -> None:
    async with ClientSession(patient.url) as visitor:
        sockets = [await join(visitor, channel) for _ in range(10)]
        stuck = await connect_peer(patient, channel)
        async with asyncio.timeout(TIMEOUT):
            await patient.stop()
        for ws in sockets:
            message = await ws.receive(timeout=TIMEOUT)
            assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
    stuck.writer.close()


@pytest.mark.slow("it floods")
@pytest.mark.unmeasured("it floods")
async def test_who_pings_and_never_reads_delays_no_shutdown(
    patient: Server, channel: str, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = await connect_peer(patient, channel)
    stuck.writer.write(250_000 * frame(9, 125 * b"a"))
    # Once its own buffers are full of pongs, the server reads no more, or has
    # cut it off.
    with suppress(ConnectionError, TimeoutError):
        await asyncio.wait_for(stuck.writer.drain(), 2)
    # aiohttp itself would wait for 10 s.
    async with asyncio.timeout(TIMEOUT / 2):
        await patient.stop()
    stuck.writer.close()
    with suppress(ConnectionError):
        await stuck.writer.wait_closed()
    assert "Traceback" not in caplog.text


@pytest.mark.slow("an outage takes seconds")
@pytest.mark.unmeasured("it repeats")
async def test_shutdown_waits_for_no_reader_that_reconnects(
    recipe: Tier, killable_redis: KillableRedis, serve: Serve
) -> None:
    async with Redis.from_url(killable_redis.url) as redis:
        # In each of the turns that it takes to connect again.
        for turns in range(40):
            app = recipe.create_app(redis_url=killable_redis.url)
            server = await serve(app)
            await redis.client_kill_filter(_type="pubsub")
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(TIMEOUT):
                await server.stop()


async def test_sigterm_ends_the_process_with_stalled_sockets_open(
    recipe: Tier, redis_url: str, channel: str, tmp_path: Path, join: Join
) -> None:
    script = patient_copy(Path(recipe.__file__), tmp_path)
    async with forked(script, cwd=tmp_path, REDIS_URL=redis_url) as process:
        url = URL(f"http://127.0.0.1:{process.port}/")
        async with ClientSession(url) as client:
            await join(client, channel)
            server = Server(None, url)  # type: ignore[arg-type]
            stuck = await connect_peer(server, channel)
            await until_sockets(client, 2)
            for _ in range(40):
                await publish(client, channel, "x" * 2**16)
            assert await process.end(signal.SIGTERM) == 0
        stuck.reset()
        assert "Traceback" not in process.log.read_text()


# What is refused


async def test_a_request_without_upgrade_is_refused(
    client: ClientSession,
) -> None:
    async with client.get("ws") as response:
        assert response.status == 400
        assert "error" in await response.json()


async def test_a_head_request_is_never_upgraded(client: ClientSession) -> None:
    async with client.head("ws", headers=UPGRADE) as response:
        assert response.status == 405
    assert await stats(client) == {"sockets": 0, "channels": 0}


async def test_a_handshake_with_an_odd_key_is_refused(server: Server) -> None:
    answer = await exchange(
        server,
        f"GET {server.url.path}ws HTTP/1.1\r\nHost: localhost\r\n".encode(),
        b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n",
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \xff\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("event", "headers"),
    [
        (b"\xff", {"Content-Type": "text/plain; charset=utf-8"}),
        (b"+\x80", {"Content-Type": "text/plain; charset=utf-16"}),
        (b"no gzip, which is text", {"Content-Encoding": "gzip"}),
    ],
)
async def test_an_event_must_be_text_in_utf_8(
    client: ClientSession,
    channel: str,
    event: bytes,
    headers: dict[str, str],
) -> None:
    status, answer = await publish(client, channel, event, headers=headers)
    assert status == 400
    assert "UTF-8" in answer["error"]


async def test_a_middleware_may_have_read_the_body_before(
    serve: Serve, application: web.Application, channel: str, join: Join
) -> None:
    @web.middleware
    async def read_body(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        await request.read()
        return await handler(request)

    root = web.Application(middlewares=[read_body])
    root.add_subapp("/below", application)
    server = await serve(root, prefix="/below")
    async with ClientSession(server.url) as client:
        ws = await join(client, channel)
        assert await publish(client, channel, "a") == (200, {"receivers": 1})
        assert await hear(ws) == {"type": "event", "data": "a"}
