"""Proofs for recipes/production/parallel_events.py, beside the answer's."""

import asyncio
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSMsgType, web
from redis.asyncio import Redis
from yarl import URL

from recipes.production import parallel_events
from tests.conftest import KillableRedis, Serve
from tests.servers import ROOT, TIMEOUT, Server, forked
from tests.test_parallel_events import (
    UPGRADE,
    Join,
    Peer,
    connect_peer,
    frame,
    hear,
    joining,
    proxying,
    publish,
    stats,
    until_away,
    until_sockets,
)

SCRIPT = ROOT / "recipes" / "production" / "parallel_events.py"
CHANNEL = "production"


@pytest.fixture
def application(redis_url: str) -> web.Application:
    return parallel_events.create_app(redis_url=redis_url)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    async with joining() as join:
        yield join


# Peers that do not read


async def test_who_does_not_read_delays_no_event_of_others(
    server: Server,
    client: ClientSession,
    join: Join,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    ws = await join(client, CHANNEL)
    peer = await connect_peer(server, CHANNEL)
    await until_sockets(client, 2)
    event = "x" * 2**16
    while (await stats(client))["sockets"] == 2:
        # The answer waits a second for it here.
        async with asyncio.timeout(0.9):
            await publish(client, CHANNEL, event)
            assert (await hear(ws))["data"] == event
    assert caplog.text.count("cut off a client that does not read") == 1
    peer.writer.close()


async def test_backpressure_never_reaches_what_aiohttp_would_wait_at(
    serve: Serve, redis_url: str, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The largest event, of characters that JSON makes six times as long.
    largest = "\x7f" * 2**14 + "\x01" * (2**16 - 2**14)
    server = await serve(parallel_events.create_app(redis_url=redis_url))
    async with ClientSession(server.url) as client:
        ws = await join(client, CHANNEL)
        peer = await connect_peer(server, CHANNEL)
        await until_sockets(client, 2)
        assert server.runner.server is not None
        paused = False
        async with asyncio.timeout(TIMEOUT):
            while (await stats(client))["sockets"] == 2:
                await publish(client, CHANNEL, largest)
                assert (await hear(ws))["data"] == largest
                connections = server.runner.server.connections
                paused |= any(each.writing_paused for each in connections)
        assert not paused
        peer.writer.close()


async def test_who_pings_without_reading_is_cut_off(
    server: Server, client: ClientSession
) -> None:
    peer = await connect_peer(server, CHANNEL)
    await until_sockets(client, 1)
    peer.writer.write(250_000 * frame(9, 125 * b"a"))
    await until_sockets(client, 0)
    peer.writer.close()


async def test_who_misses_a_heartbeat_with_unread_events_is_aborted(
    serve: Serve, redis_url: str
) -> None:
    application = parallel_events.create_app(redis_url=redis_url, heartbeat=0.3)
    server = await serve(application)
    assert server.runner.server is not None
    async with ClientSession(server.url) as client:
        peer = await connect_peer(server, CHANNEL)
        await until_sockets(client, 1)
        # Enough for the buffers of the kernel, and some more of our own.
        for _ in range(200):
            await publish(client, CHANNEL, "x" * 2**14)
            if (await stats(client))["sockets"] == 0:
                break
        await until_sockets(client, 0)
        async with asyncio.timeout(TIMEOUT):
            # The one that is left is the client's.
            while len(server.runner.server.connections) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    peer.writer.close()


async def test_a_message_has_64_kib_at_most(
    client: ClientSession, join: Join
) -> None:
    ws = await join(client, CHANNEL)
    await ws.send_str("x" * 2**16)
    assert (await hear(ws))["data"] == "x" * 2**16
    await ws.send_str("x" * (2**16 + 1))
    message = await ws.receive(timeout=TIMEOUT)
    assert (message.type, message.data) == (WSMsgType.CLOSE, 1009)


# Events of other programs


async def test_a_payload_that_is_no_event_is_skipped_and_logged(
    client: ClientSession,
    redis: Redis,
    join: Join,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ws = await join(client, CHANNEL)
    for payload in (b"\xff", b"x" * (2**16 + 1), b"good"):
        await redis.publish(f"events:{CHANNEL}", payload)
    assert await hear(ws) == {"type": "event", "data": "good"}
    line = f"skipped what is no event, on channel {CHANNEL.encode()!r}"
    assert caplog.text.count(line) == 2


async def test_a_payload_that_is_no_text_is_skipped_where_the_url_asks_for_text(
    killable_redis: KillableRedis, serve: Serve, join: Join
) -> None:
    url = f"{killable_redis.url}?decode_responses=True"
    server = await serve(parallel_events.create_app(redis_url=url))
    async with (
        ClientSession(server.url) as client,
        Redis.from_url(killable_redis.url) as redis,
    ):
        ws = await join(client, CHANNEL)
        for payload in (b"\xff", b"good"):
            await redis.publish(f"events:{CHANNEL}", payload)
        assert await hear(ws) == {"type": "event", "data": "good"}


@pytest.mark.parametrize("size", [2**16 + 1, 2**20 + 1])
async def test_a_larger_event_is_refused_in_json(
    client: ClientSession, size: int
) -> None:
    body = BytesIO(b"x" * size)
    async with client.post(f"channels/{CHANNEL}", data=body) as response:
        assert response.status == 413
        assert list(await response.json()) == ["error"]


async def test_an_event_may_have_64_kib(
    client: ClientSession, join: Join
) -> None:
    ws = await join(client, CHANNEL)
    answer = await publish(client, CHANNEL, "x" * 2**16)
    assert answer == (200, {"receivers": 1})
    assert (await hear(ws))["data"] == "x" * 2**16


# Outages


@pytest.mark.slow("an outage takes seconds")
@pytest.mark.parametrize("seconds", [0, 3])
async def test_an_outage_is_logged_once_and_over_within_two_seconds(
    killable_redis: KillableRedis,
    serve: Serve,
    seconds: int,
    caplog: pytest.LogCaptureFixture,
    join: Join,
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        ws = await join(client, CHANNEL)
        for _ in range(2):
            killable_redis.stop()
            await until_away(client, CHANNEL)
            await asyncio.sleep(seconds)
            killable_redis.start()
            async with asyncio.timeout(2):
                assert (await hear(ws))["type"] == "ready"
    lines = [
        record.getMessage()
        for record in caplog.records
        if "no events" in record.getMessage()
    ]
    assert len(lines) == 2
    assert all("ConnectionError: " in line for line in lines)


async def test_a_redis_that_refuses_keeps_no_start_waiting(
    serve: Serve,
) -> None:
    async with asyncio.timeout(0.9):
        url = "redis://127.0.0.1:1"
        await serve(parallel_events.create_app(redis_url=url))


async def test_a_publisher_is_told_when_to_retry(
    killable_redis: KillableRedis, serve: Serve
) -> None:
    killable_redis.stop()
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for request in (
            client.post("channels/news", data="a"),
            client.get("ws", headers=UPGRADE),
        ):
            async with request as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"


@pytest.mark.slow("an outage takes seconds")
async def test_a_frozen_redis_is_noticed(
    killable_redis: KillableRedis, serve: Serve, join: Join
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        ws = await join(client, CHANNEL)
        os.killpg(killable_redis.process.pid, signal.SIGSTOP)
        async with asyncio.timeout(1.5):
            answer = await publish(client, CHANNEL, "a")
        assert answer == (503, {"error": "Redis is away"})
        await until_refused(client)
        os.killpg(killable_redis.process.pid, signal.SIGCONT)
        while (message := await hear(ws)).get("type") != "ready":
            assert message["type"] == "event"


async def until_refused(client: ClientSession) -> None:
    """Wait until the reader has noticed the outage: within two seconds."""
    async with asyncio.timeout(3):
        while True:
            async with client.get("ws", headers=UPGRADE) as response:
                if response.status == 503:
                    return


@pytest.mark.slow("an outage takes seconds")
async def test_a_network_that_swallows_everything_is_noticed(
    killable_redis: KillableRedis, serve: Serve, join: Join
) -> None:
    async with proxying(killable_redis) as proxy:
        server = await serve(parallel_events.create_app(redis_url=proxy.url))
        async with ClientSession(server.url) as client:
            ws = await join(client, CHANNEL)
            proxy.swallows = True
            await until_refused(client)
            # It is refused at once, and no longer after a second.
            async with asyncio.timeout(0.5):
                assert (await publish(client, CHANNEL, "a"))[0] == 503
            proxy.swallows = False
            async with asyncio.timeout(2):
                assert (await hear(ws))["type"] == "ready"
            answer = await publish(client, CHANNEL, "back")
            assert answer == (200, {"receivers": 1})
        await server.stop()


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a full backlog refuses"
)
async def test_a_host_that_does_not_answer_is_tried_again_in_a_second(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        # A full backlog answers no more: a connection waits for minutes.
        url = f"redis://127.0.0.1:{full.getsockname()[1]}"
        server = await serve(parallel_events.create_app(redis_url=url))
        async with asyncio.timeout(3):
            while "no events" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with asyncio.timeout(2):
            await server.stop()


async def test_who_waits_too_long_for_a_connection_is_refused(
    killable_redis: KillableRedis, serve: Serve
) -> None:
    async with proxying(killable_redis) as proxy:
        server = await serve(parallel_events.create_app(redis_url=proxy.url))
        async with ClientSession(server.url) as client:
            proxy.swallows = True
            async with asyncio.timeout(2):
                answers = await asyncio.gather(
                    *(publish(client, CHANNEL, "a") for _ in range(60))
                )
        assert {status for status, _ in answers} == {503}
        await server.stop()


# What is refused


@pytest.mark.parametrize(
    "name", ["", "*", "a%00", "a%0Ab", "a%2Fb", "x" * 65, "%C3%A9"]
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


async def test_one_channel_at_a_time(client: ClientSession) -> None:
    async with client.get("ws?channel=a&channel=b", headers=UPGRADE) as refused:
        assert refused.status == 400
        assert "one name" in (await refused.json())["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nothing", 404),
        ("PUT", "channels/news", 405),
        ("POST", "stats", 405),
    ],
)
async def test_what_aiohttp_refuses_is_json_too(
    client: ClientSession, method: str, path: str, status: int
) -> None:
    async with client.request(method, path) as response:
        assert response.status == status
        assert list(await response.json()) == ["error"]


async def test_a_url_that_is_none_ends_the_start_with_a_line(
    tmp_path: Path,
) -> None:
    with pytest.raises(AssertionError) as failure:
        async with forked(SCRIPT, cwd=tmp_path, REDIS_URL="localhost"):
            pass
    assert "cannot start: Redis URL must" in str(failure.value)
    assert "Traceback" not in str(failure.value)


async def test_a_close_frame_is_answered_with_the_same_code(
    server: Server, client: ClientSession
) -> None:
    peer = await connect_peer(server, CHANNEL)
    await until_sockets(client, 1)
    peer.writer.write(frame(8, struct.pack("!H", 4000)))
    async with asyncio.timeout(TIMEOUT):
        await peer.reader.readuntil(b"\x88\x02")
    peer.writer.close()
    await until_sockets(client, 0)


def test_a_redis_url_may_have_a_query() -> None:
    url = URL("redis://localhost/1?max_connections=7&decode_responses=True")
    redis = parallel_events.open_redis(str(url))
    pool = redis.connection_pool
    assert pool.max_connections == 7
    assert pool.connection_kwargs["decode_responses"] is False


# Clients that send too much


async def test_a_flood_of_messages_is_closed_with_1008(
    client: ClientSession, server: Server
) -> None:
    peer = await connect_peer(server, CHANNEL)
    await until_sockets(client, 1)
    # Two seconds may share them.
    peer.writer.write(2 * parallel_events.MAX_RATE * frame(1, b""))
    peer.send(1, b"one more")
    await read_up_to(peer, b"\x88\x02" + struct.pack("!H", 1008))
    peer.send(8, struct.pack("!H", 1008))
    peer.writer.close()
    await until_sockets(client, 0)


async def test_as_many_messages_as_allowed_are_answered(
    client: ClientSession, server: Server
) -> None:
    peer = await connect_peer(server, CHANNEL)
    most = parallel_events.MAX_RATE - 1
    peer.writer.write(most * frame(1, b"") + frame(1, b"end"))
    await read_up_to(peer, b'"end"')
    peer.writer.close()
    await until_sockets(client, 0)


async def read_up_to(peer: Peer, end: bytes) -> None:
    """Read all echoes up to these bytes."""
    tail = b""
    async with asyncio.timeout(TIMEOUT):
        while end not in tail:
            part = await peer.reader.read(2**16)
            assert part, "it was closed"
            tail = tail[-len(end) :] + part
