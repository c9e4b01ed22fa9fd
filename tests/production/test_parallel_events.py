"""Proofs for recipes/production/parallel_events.py, beside the answer's."""

import asyncio
import json
import os
import random
import secrets
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from aiohttp import (
    ClientError,
    ClientSession,
    TCPConnector,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from redis.asyncio import Redis, RedisError
from wsproto.frame_protocol import FrameProtocol, Opcode
from yarl import URL

from recipes.production import parallel_events
from tests.conftest import KillableRedis, Serve, at_length
from tests.faults import faulty_network
from tests.servers import PATIENCE, TIMEOUT, Server
from tests.test_parallel_events import (
    UPGRADE,
    Join,
    Peer,
    connect_peer,
    frame,
    hear,
    is_away,
    joining,
    proxying,
    publish,
    shrink_buffers,
    stats,
    transports_of,
    trim,
    until_away,
    until_sockets,
)

CHANNEL = "production"
STREAM = parallel_events.STREAM
STATE = parallel_events.STATE


@pytest.fixture(autouse=True)
def short_history(redis_url: str) -> None:
    trim(redis_url)


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
        async with asyncio.timeout(TIMEOUT):
            await publish(client, CHANNEL, event)
            assert (await hear(ws))["data"] == event
    assert caplog.text.count("cut off a client that does not read") == 1
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
    serve: Serve, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seconds that a test cannot wait for.
    monkeypatch.setattr(parallel_events, "HEARTBEAT", 1.5)
    server = await serve(parallel_events.create_app(redis_url=redis_url))
    assert server.runner.server is not None
    async with ClientSession(server.url) as client:
        peer = await connect_peer(server, CHANNEL)
        await until_sockets(client, 1)
        shrink_buffers(server)
        # As soon as the buffers of the kernel are full: much more, and it would
        # be cut off before.
        async with asyncio.timeout(TIMEOUT):
            while not any(
                transport.get_write_buffer_size()
                for transport in transports_of(server)
            ):
                await publish(client, CHANNEL, "x" * 2**16)
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


@pytest.mark.parametrize(
    "query", ["", "?decode_responses=False", "?protocol=3"]
)
async def test_what_other_programs_add_to_the_stream_is_left_out(
    killable_redis: KillableRedis, serve: Serve, join: Join, query: str
) -> None:
    url = killable_redis.url + query
    server = await serve(parallel_events.create_app(redis_url=url))
    async with (
        ClientSession(server.url) as client,
        Redis.from_url(killable_redis.url) as redis,
    ):
        ws = await join(client, CHANNEL)
        await publish(client, CHANNEL, "first")
        entries: list[dict[Any, Any]] = [
            {CHANNEL: "without a number"},
            {CHANNEL: b"\xff"},
            {b"\xff": "of another channel"},
            {CHANNEL: "a", "and": "more"},
        ]
        for fields in entries:
            await redis.xadd(STREAM, fields)
        await publish(client, CHANNEL, "second")
        assert await hear(ws) == {"type": "event", "data": "first"}
        assert await hear(ws) == {"type": "event", "data": "second"}


async def test_a_mistake_leaves_a_traceback_and_no_deaf_socket(
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        Redis.from_url(killable_redis.url) as redis,
    ):
        ws = await join(client, channel)
        # Nothing that this program publishes makes such a mistake.
        number = await redis.hincrby(STATE, "last", 1)
        fields: dict[Any, Any] = {channel: "a", "and": "more"}
        await redis.xadd(STREAM, fields, id=f"{number}-0")
        async with asyncio.timeout(TIMEOUT):
            while "no events: ValueError: " not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert "Traceback" in caplog.text
        assert await hear(ws) == {"type": "ready", "channel": channel}
        assert await publish(client, channel, "a") == (200, {"receivers": 1})
        assert await hear(ws) == {"type": "gap"}
        assert await hear(ws) == {"type": "event", "data": "a"}


async def test_a_mistake_that_persists_leaves_one_traceback(
    client: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise AttributeError("a mistake")

    monkeypatch.setattr(parallel_events, "READ_AGAIN", 0.05)
    monkeypatch.setattr(parallel_events, "begin", fail)
    monkeypatch.setattr(parallel_events, "hand_out", fail)
    await publish(client, CHANNEL, "lost")
    line = "no events: AttributeError: a mistake"
    async with asyncio.timeout(TIMEOUT):
        while caplog.text.count(line) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert caplog.text.count("Traceback") == 1


async def test_a_number_that_is_none_in_redis_keeps_publishers_out_alone(
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    join: Join,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        Redis.from_url(killable_redis.url) as redis,
    ):
        assert await publish(client, channel, "a") == (200, {"receivers": 0})
        await redis.hset(STATE, "last", "foreign")
        await join(client, channel)
        assert is_away(*await publish(client, channel, "a"))
    assert "cannot answer: ResponseError: " in caplog.text


async def test_a_mistake_of_a_handler_is_a_500_with_a_traceback(
    client: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(parallel_events, "REPEAT_AGE", Mistake())
    async with client.post(f"channels/{CHANNEL}", data="a") as response:
        assert response.status == 500
    assert "ValueError: a mistake" in caplog.text
    assert "Traceback" in caplog.text


class Mistake:
    """What cannot be shown as text."""

    def __str__(self) -> str:
        raise ValueError("a mistake")


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


@pytest.mark.full("the same at length", seconds=3)
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
            assert (await hear(ws))["type"] == "ready"
            assert (await hear(ws))["type"] == "gap"
    lines = [
        record.getMessage()
        for record in caplog.records
        if "no events" in record.getMessage()
    ]
    assert len(lines) == 2
    assert all("ConnectionError: " in line for line in lines)


async def test_a_redis_that_refuses_keeps_no_start_waiting(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_events, "WAIT", PATIENCE)
    async with asyncio.timeout(TIMEOUT):
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
        async with asyncio.timeout(TIMEOUT):
            answer = await publish(client, CHANNEL, "a")
        assert is_away(*answer)
        await until_refused(client)
        os.killpg(killable_redis.process.pid, signal.SIGCONT)
        while (message := await hear(ws)).get("type") != "ready":
            assert message["type"] == "event"


async def until_refused(client: ClientSession) -> None:
    """Wait until the reader has noticed the outage."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            async with client.get("ws", headers=UPGRADE) as response:
                if response.status == 503:
                    return
            await asyncio.sleep(0.02)


@pytest.mark.slow("an outage takes seconds")
async def test_a_network_that_swallows_everything_is_noticed(
    killable_redis: KillableRedis,
    serve: Serve,
    join: Join,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with proxying(killable_redis) as proxy:
        server = await serve(parallel_events.create_app(redis_url=proxy.url))
        async with ClientSession(server.url) as client:
            ws = await join(client, CHANNEL)
            proxy.swallows = True
            async with asyncio.timeout(TIMEOUT):
                while "no events" not in caplog.text:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            async with asyncio.timeout(TIMEOUT):
                assert (await publish(client, CHANNEL, "a"))[0] == 503
            proxy.swallows = False
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
        async with asyncio.timeout(TIMEOUT):
            while "no events" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with asyncio.timeout(TIMEOUT):
            await server.stop()


async def test_who_waits_too_long_for_a_connection_is_refused(
    killable_redis: KillableRedis, serve: Serve
) -> None:
    async with proxying(killable_redis) as proxy:
        # One for the reader, and one for which its pool waits for 20 s.
        url = f"{proxy.url}?max_connections=2"
        server = await serve(parallel_events.create_app(redis_url=url))
        async with ClientSession(server.url) as client:
            proxy.swallows = True
            async with asyncio.timeout(TIMEOUT):
                answers = await asyncio.gather(
                    *(publish(client, CHANNEL, "a") for _ in range(60))
                )
        assert {status for status, _ in answers} == {503}
        await server.stop()


async def test_the_reader_pauses_between_two_attempts(
    serve: Serve, application: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    attempts = list[float]()
    is_enough = asyncio.Event()

    async def fail(hub: parallel_events.Hub) -> None:
        if hub is application[parallel_events.HUB]:
            attempts.append(loop.time())
        if len(attempts) == 3:
            is_enough.set()
        await asyncio.sleep(0)
        raise RedisError("away")

    monkeypatch.setattr(parallel_events, "read_events", fail)
    monkeypatch.setattr(parallel_events, "READ_AGAIN", 0.1)
    await serve(application)
    async with asyncio.timeout(TIMEOUT):
        await is_enough.wait()
    # A loop may wake a task a little too early.
    assert all(after - before > 0.09 for before, after in pairwise(attempts))


async def test_an_outage_that_lasts_is_logged_once(
    client: ClientSession,
    application: web.Application,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    attempts = 0
    is_enough = asyncio.Event()

    def fail(hub: parallel_events.Hub, _: object) -> None:
        nonlocal attempts
        if hub is application[parallel_events.HUB]:
            attempts += 1
        if attempts == 4:
            is_enough.set()
        raise RedisError("away")

    monkeypatch.setattr(parallel_events, "READ_AGAIN", 0.01)
    monkeypatch.setattr(parallel_events, "begin", fail)
    monkeypatch.setattr(parallel_events, "hand_out", fail)
    await publish(client, CHANNEL, "lost")
    async with asyncio.timeout(TIMEOUT):
        await is_enough.wait()
    assert caplog.text.count("no events: RedisError: away") == 1


async def test_no_publisher_meets_a_connection_from_before_an_outage(
    killable_redis: KillableRedis, serve: Serve, channel: str, join: Join
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        Redis.from_url(killable_redis.url) as redis,
        asyncio.timeout(TIMEOUT),
    ):
        await join(client, channel)
        await publish(client, channel, "a")
        ours = str(await redis.client_id())
        before = {
            each["id"]: each["cmd"]
            for each in await redis.client_list()
            if each["id"] != ours
        }
        [reader] = [number for number, cmd in before.items() if cmd == "xread"]
        assert len(before) > 1
        await redis.client_kill_filter(_id=reader)
        while before.keys() & {  # noqa: ASYNC110
            each["id"] for each in await redis.client_list()
        }:
            await asyncio.sleep(0.01)


async def test_a_reader_that_connects_again_cuts_off_no_publisher_in_flight(
    killable_redis: KillableRedis,
    serve: Serve,
    join: Join,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The publisher's second has to be longer than the reader's pause.
    monkeypatch.setattr(parallel_events, "READ_AGAIN", 0.01)
    monkeypatch.setattr(parallel_events, "WAIT", TIMEOUT)
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        Redis.from_url(killable_redis.url) as redis,
        asyncio.timeout(TIMEOUT),
    ):
        await join(client, CHANNEL)
        # Until then, a script of the server's waits for its answer.
        await redis.client_pause(int(TIMEOUT * 1000), all=False)
        publishing = asyncio.create_task(publish(client, CHANNEL, "a"))
        [publisher] = await until_at(redis, "eval", 1)
        [reader] = await until_at(redis, "xread", 1)
        await redis.client_kill_filter(_id=reader)
        # The new reader has cut off whom it would, and marks the hole.
        assert publisher in await until_at(redis, "eval", 2)
        await redis.client_unpause()
        assert await publishing == (200, {"receivers": 1})


async def until_at(redis: Redis, command: str, count: int) -> set[str]:
    """Wait until so many connections are at a command; return their ids."""
    while True:
        at = {
            each["id"]
            for each in await redis.client_list()
            if each["cmd"] == command
        }
        if len(at) == count:
            return at
        await asyncio.sleep(0.01)


async def test_a_reader_whose_cancel_was_swallowed_is_cancelled_again(
    serve: Serve, application: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[str] = []

    async def keep_reading(_: object) -> None:
        for end in ("swallowed", "heard"):
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                ends.append(end)

    monkeypatch.setattr(parallel_events, "keep_reading", keep_reading)
    server = await serve(application)
    await server.stop()
    assert ends == ["swallowed", "heard"]


async def test_a_burst_of_events_lets_others_run(
    serve: Serve,
    application: web.Application,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = 0
    handed_out: list[int] = []

    async def take_turns() -> None:
        nonlocal turns
        while len(handed_out) < parallel_events.PAGE:
            turns += 1
            await asyncio.sleep(0)

    def note(of: parallel_events.Hub, event: parallel_events.Event) -> None:
        # The cookbook that all tests share reads these events, too.
        if of is hub:
            handed_out.append(turns)

    await serve(application)
    hub = application[parallel_events.HUB]
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        await hub.ready.wait()
        last = int(await redis.hget(STATE, "last") or 0)
        # What other tests have published is read first, and not counted.
        while hub.place < last:
            await hub.has_read.wait()
        monkeypatch.setattr(parallel_events, "hand_out", note)
        tasks.create_task(take_turns())
        async with redis.pipeline() as transaction:
            for number in range(last + 1, last + parallel_events.PAGE + 1):
                transaction.xadd(STREAM, {CHANNEL: "rain"}, id=f"{number}-0")
            transaction.hset(STATE, "last", str(number))
            await transaction.execute()
    assert len(set(handed_out)) == parallel_events.PAGE


# Who leaves


async def test_who_leaves_takes_nobody_along_and_is_no_error(
    serve: Serve,
    application: web.Application,
    channel: str,
    join: Join,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await serve(application)
    async with ClientSession(server.url) as client:
        staying = await join(client, channel)
        leaving = await join(client, channel)
        await leaving.close()
        await until_sockets(client, 1)
        assert await publish(client, channel, "a") == (200, {"receivers": 1})
        assert await hear(staying) == {"type": "event", "data": "a"}
        await staying.close()
        await until_sockets(client, 0)
        assert await stats(client) == {"sockets": 0, "channels": 0}
    await server.stop()
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


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
    url = URL("redis://localhost/1?max_connections=7&decode_responses=False")
    redis = parallel_events.open_redis(str(url))
    pool = redis.connection_pool
    assert pool.max_connections == 7
    assert pool.connection_kwargs["decode_responses"] is True


def test_a_redis_that_has_nothing_new_is_no_outage() -> None:
    redis = parallel_events.open_redis("redis://localhost")
    seconds = redis.connection_pool.connection_kwargs["socket_timeout"]
    # Redis is silent for so long, and then has to answer.
    assert seconds * 1000 > parallel_events.SILENCE


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536])
def test_a_frame_says_how_long_it_is(size: int) -> None:
    data = "x" * (size - len(json.dumps({"data": ""})))
    client = FrameProtocol(client=True, extensions=[])
    client.receive_bytes(parallel_events.make_frame(data=data))
    [received] = client.received_frames()
    assert received.opcode is Opcode.TEXT
    assert received.message_finished
    assert received.payload == json.dumps({"data": data})


# Clients that send too much


async def test_a_flood_of_messages_is_closed_with_1008(
    client: ClientSession, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many that a busy machine passes them on in a second, too.
    monkeypatch.setattr(parallel_events, "MAX_RATE", 50)
    peer = await connect_peer(server, CHANNEL)
    await until_sockets(client, 1)
    # Two seconds may share them.
    peer.writer.write(2 * parallel_events.MAX_RATE * frame(1, b""))
    peer.send(1, b"one more")
    await read_up_to(peer, b"\x88\x02" + struct.pack("!H", 1008))
    peer.send(8, struct.pack("!H", 1008))
    peer.writer.close()
    await until_sockets(client, 0)


async def test_no_event_follows_a_goodbye(
    client: ClientSession,
    server: Server,
    join: Join,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel_events, "MAX_RATE", 1)
    # Seconds for which the goodbye waits for its answer.
    monkeypatch.setattr(parallel_events, "WAIT", TIMEOUT)
    ws = await join(client, CHANNEL)
    peer = await connect_peer(server, CHANNEL)
    await until_sockets(client, 2)
    peer.writer.write(3 * frame(1, b""))
    goodbye = struct.pack("!H", 1008)
    await read_up_to(peer, b"\x88\x02" + goodbye)
    await publish(client, CHANNEL, "late")
    assert (await hear(ws))["data"] == "late"
    peer.send(8, goodbye)
    async with asyncio.timeout(TIMEOUT):
        assert await peer.reader.read() == b""
    peer.writer.close()


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


# No event is lost


@dataclass
class Follower:
    """A client that comes back with the last id that it has seen.

    `heard` are the events, and None for each gap that it was told of.
    """

    channel: str
    place: str = ""
    heard: list[str | None] = field(default_factory=list)

    async def follow(self, client: ClientSession, last: str) -> None:
        """Listen until the last event comes; come back as often as needed."""
        async with asyncio.timeout(6 * TIMEOUT):
            while last not in self.heard:
                await self.listen(client, last)

    async def listen(self, client: ClientSession, last: str) -> None:
        """Listen on one connection, until it ends or the last event comes."""
        parameters = {"channel": self.channel}
        if self.place:
            parameters["after"] = self.place
        try:
            async with client.ws_connect("ws", params=parameters) as ws:
                async for message in ws:
                    self.take(message.json())
                    if last in self.heard:
                        return
        except ClientError:
            # It is refused while Redis is away.
            await asyncio.sleep(0.05)

    def take(self, message: dict[str, str]) -> None:
        self.place = message.get("id", self.place)
        if message["type"] == "event":
            self.heard.append(message["data"])
        elif message["type"] == "gap":
            self.heard.append(None)


class Workers:
    """Two workers that share nothing but a Redis."""

    def __init__(self, first: ClientSession, second: ClientSession) -> None:
        self.first = first
        self.second = second


@asynccontextmanager
async def two_workers(
    serve: Serve, url: str, **options: Any
) -> AsyncIterator[Workers]:
    servers = [
        await serve(parallel_events.create_app(redis_url=url, **options))
        for _ in range(2)
    ]
    async with (
        ClientSession(servers[0].url) as first,
        ClientSession(servers[1].url) as second,
    ):
        yield Workers(first, second)


@pytest.fixture
async def workers(serve: Serve, redis_url: str) -> AsyncIterator[Workers]:
    async with two_workers(serve, redis_url) as workers:
        yield workers


@pytest.fixture
def channel() -> str:
    """A channel of the test's own: all tests share one Redis."""
    return secrets.token_hex(8)


async def test_an_event_reaches_the_sockets_of_all_workers(
    workers: Workers, channel: str, join: Join
) -> None:
    ws = await join(workers.second, channel)
    assert await publish(workers.first, channel, "a") == (200, {"receivers": 0})
    assert await publish(workers.second, channel, "b") == (
        200,
        {"receivers": 1},
    )
    assert [(await hear(ws))["data"] for _ in range(2)] == ["a", "b"]


async def test_who_comes_back_resumes_after_the_last_id_on_another_worker(
    workers: Workers, channel: str
) -> None:
    follower = Follower(channel)
    following = asyncio.create_task(follower.follow(workers.first, "2"))
    await until_sockets(workers.first, 1)
    for number in range(3):
        await publish(workers.first, channel, str(number))
    await following
    # More than a page, among those of another channel.
    for number in range(3, 50):
        await publish(workers.first, channel, str(number))
        await publish(workers.first, f"{channel}x", "other")
    following = asyncio.create_task(follower.follow(workers.second, "51"))
    await until_sockets(workers.second, 1)
    for number in range(50, 52):
        await publish(workers.first, channel, str(number))
    await following
    assert follower.heard == [str(number) for number in range(52)]


async def test_who_has_heard_no_event_yet_resumes_after_the_id_of_ready(
    workers: Workers, channel: str
) -> None:
    async with workers.first.ws_connect(f"ws?channel={channel}") as ws:
        ready = await ws.receive_json(timeout=TIMEOUT)
    await publish(workers.first, channel, "missed")
    follower = Follower(channel, place=ready["id"])
    await follower.follow(workers.second, "missed")
    assert follower.heard == ["missed"]


@pytest.mark.parametrize("after", ["0-0", "7-0", f"{2**63 - 1}-{2**63 - 1}"])
async def test_an_id_that_redis_does_not_hold_is_a_gap(
    workers: Workers, channel: str, after: str
) -> None:
    follower = Follower(channel, place=after)
    following = asyncio.create_task(follower.follow(workers.first, "a"))
    await until_sockets(workers.first, 1)
    await publish(workers.first, channel, "a")
    await following
    assert follower.heard == [None, "a"]


@pytest.mark.parametrize(
    "after",
    [
        "",
        "7",
        "7-",
        "-7",
        "a-b",
        "7-0-0",
        "\u0667-0",
        "7-" + 21 * "0",
    ],
)
async def test_an_id_that_is_none_is_refused(
    client: ClientSession, after: str
) -> None:
    url = f"ws?channel={CHANNEL}&after={after}"
    async with client.get(url, headers=UPGRADE) as response:
        assert response.status == 400
        assert "after must match" in (await response.json())["error"]


async def fill(redis: Redis, channel: str, numbers: range) -> None:
    """Publish directly what would take a while one by one."""
    async with redis.pipeline(transaction=False) as pipe:
        for number in numbers:
            pipe.eval(
                parallel_events.PUBLISH,
                *(2, STREAM, STATE),
                *("0", str(parallel_events.MAX_HISTORY)),
                *(channel, str(number)),
            )
        await pipe.execute()


async def test_who_has_heard_more_than_this_process_hears_of_no_gap(
    killable_redis: KillableRedis, serve: Serve, channel: str
) -> None:
    async with (
        two_workers(serve, killable_redis.url) as workers,
        Redis.from_url(killable_redis.url) as redis,
    ):
        await publish(workers.first, channel, "first")
        # It takes a moment to read them.
        await fill(redis, channel, range(1000))
        newest = int(await redis.hget(STATE, "last") or 0)
        follower = Follower(channel, place=f"{newest}-0")
        following = asyncio.create_task(follower.follow(workers.second, "end"))
        await until_sockets(workers.second, 1)
        await publish(workers.first, channel, "end")
        await following
    assert follower.heard == ["end"]


@pytest.mark.unmeasured("it repeats")
async def test_what_lies_before_a_trimmed_history_is_a_gap(
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Ten thousand are too many for a test.
    monkeypatch.setattr(parallel_events, "MAX_HISTORY", 20)
    async with (
        two_workers(serve, killable_redis.url) as workers,
        Redis.from_url(killable_redis.url) as redis,
    ):
        follower = Follower(channel)
        following = asyncio.create_task(follower.follow(workers.first, "0"))
        await until_sockets(workers.first, 1)
        await publish(workers.first, channel, "0")
        await following
        for number in range(1, 300):
            await publish(workers.first, channel, str(number))
        # Redis trims a hundred at a time.
        assert 20 <= await redis.xlen(STREAM) <= 120
        await follower.follow(workers.second, "299")
    after_gap = [str(number) for number in range(280, 300)]
    assert follower.heard == ["0", None, *after_gap]


async def test_a_process_keeps_no_more_bytes_than_it_may(
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 64 MiB are too many for a test.
    monkeypatch.setattr(parallel_events, "MAX_MEMORY", 10_000)
    async with two_workers(serve, killable_redis.url) as workers:
        follower = Follower(channel)
        following = asyncio.create_task(follower.follow(workers.first, "first"))
        await until_sockets(workers.first, 1)
        await publish(workers.first, channel, "first")
        await following
        for number in range(10):
            event = f"{number} ".ljust(2000, "x")
            await publish(workers.first, channel, event)
        await follower.follow(workers.first, event)
    first, gap, *kept = follower.heard
    assert (first, gap) == ("first", None)
    assert [event[0] for event in kept if event] == ["6", "7", "8", "9"]


async def test_a_reader_behind_which_the_history_was_trimmed_tells_of_a_gap(
    killable_redis: KillableRedis, serve: Serve, channel: str
) -> None:
    async with (
        faulty_network(Path(URL(killable_redis.url).path)) as network,
        Redis.from_url(killable_redis.url) as redis,
        two_workers(serve, f"redis://{network.address}") as workers,
    ):
        follower = Follower(channel)
        following = asyncio.create_task(follower.follow(workers.first, "99"))
        await until_sockets(workers.first, 1)
        await publish(workers.first, channel, "0")
        while not follower.heard:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        network.freeze()
        await fill(redis, channel, range(1, 100))
        await redis.xtrim(STREAM, maxlen=50, approximate=False)
        network.mend()
        await following
    after_gap = [str(number) for number in range(50, 100)]
    assert follower.heard == ["0", None, *after_gap]


async def test_nobody_hears_of_a_gap_or_anything_twice_after_a_cut(
    killable_redis: KillableRedis, serve: Serve, channel: str
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        client.ws_connect(f"ws?channel={channel}") as ws,
        Redis.from_url(killable_redis.url) as redis,
    ):
        follower = Follower(channel)
        for event in ("1", "2", "3"):
            await until_published(client, channel, event)
            while event not in follower.heard:
                follower.take(await hear(ws))
            await redis.client_kill_filter(_type="normal")
    assert follower.heard == ["1", "2", "3"]


@pytest.mark.parametrize("how", ["killed", "flushed"])
async def test_a_redis_that_lost_its_memory_is_a_gap_for_who_comes_back(
    killable_redis: KillableRedis, serve: Serve, channel: str, how: str
) -> None:
    async with two_workers(serve, killable_redis.url) as workers:
        follower = Follower(channel)
        following = asyncio.create_task(
            follower.follow(workers.first, "before")
        )
        await until_sockets(workers.first, 1)
        await publish(workers.first, channel, "before")
        await following
        await publish(workers.first, channel, "lost")
        if how == "killed":
            killable_redis.stop()
            killable_redis.start()
        else:
            async with Redis.from_url(killable_redis.url) as redis:
                await redis.flushall()
        await until_published(workers.second, channel, "after")
        await follower.follow(workers.second, "after")
    # A process may have read it before Redis lost it.
    heard = [event for event in follower.heard if event != "lost"]
    assert heard == ["before", None, "after"]


@pytest.mark.slow("an outage takes seconds")
async def test_a_restart_of_redis_is_a_gap_before_anything_is_published(
    killable_redis: KillableRedis, serve: Serve, channel: str, join: Join
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        ws = await join(client, channel)
        killable_redis.stop()
        killable_redis.start()
        assert await hear(ws) == {"type": "ready", "channel": channel}
        assert await hear(ws) == {"type": "gap"}


@pytest.mark.slow("an outage takes seconds")
async def test_a_new_process_tells_of_the_gap_that_a_restart_has_left(
    killable_redis: KillableRedis, serve: Serve, channel: str
) -> None:
    follower = Follower(channel)
    async with two_workers(serve, killable_redis.url) as workers:
        following = asyncio.create_task(follower.follow(workers.first, "saved"))
        await until_sockets(workers.first, 1)
        await publish(workers.first, channel, "saved")
        await following
        await save(killable_redis)
        await publish(workers.first, channel, "lost")
    kill(killable_redis)
    killable_redis.start()
    async with two_workers(serve, killable_redis.url) as workers:
        await until_published(workers.first, channel, "after")
        await follower.follow(workers.second, "after")
    assert follower.heard == ["saved", None, "after"]


async def until_published(
    client: ClientSession, channel: str, event: str
) -> None:
    """Publish, and repeat it under the same key until it is stored."""
    key = {"Idempotency-Key": secrets.token_hex(8)}
    async with asyncio.timeout(TIMEOUT):
        while True:
            status, _ = await publish(client, channel, event, headers=key)
            if status == 200:
                return
            await asyncio.sleep(0.05)


async def test_an_event_that_is_published_again_is_stored_once(
    workers: Workers, channel: str, join: Join
) -> None:
    ws = await join(workers.first, channel)
    key = {"Idempotency-Key": "a-key_1"}
    for event in ("a", "a"):
        answer = await publish(workers.first, channel, event, headers=key)
        assert answer == (200, {"receivers": 1})
    answer = await publish(workers.second, channel, "a", headers=key)
    assert answer == (200, {"receivers": 0})
    # The key is the channel's own.
    await publish(workers.first, f"{channel}x", "x", headers=key)
    await publish(workers.first, channel, "b")
    assert [(await hear(ws))["data"] for _ in range(2)] == ["a", "b"]


@pytest.mark.parametrize("key", ["a b", "x" * 65, "a:b"])
async def test_an_idempotency_key_that_is_none_is_refused(
    client: ClientSession, key: str
) -> None:
    headers = {"Idempotency-Key": key}
    status, answer = await publish(client, CHANNEL, "a", headers=headers)
    assert status == 400
    assert "Idempotency-Key" in answer["error"]


@pytest.mark.unmeasured("it repeats")
@pytest.mark.slow("it starts Redis again and again")
@pytest.mark.parametrize("is_saved", [False, True])
@pytest.mark.parametrize("total", [100, at_length(400)])
async def test_each_number_comes_once_in_order_or_a_gap_is_told(
    killable_redis: KillableRedis,
    serve: Serve,
    channel: str,
    is_saved: bool,
    total: int,
) -> None:
    followers = [Follower(channel) for _ in range(4)]
    async with (
        two_workers(serve, killable_redis.url) as workers,
        asyncio.TaskGroup() as tasks,
    ):
        for follower in followers:
            tasks.create_task(wander(follower, workers, str(total)))
        # A number that is published before they listen is not for them.
        while not all(follower.place for follower in followers):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for number in range(1, total + 1):
            worker = workers.second if number % 2 else workers.first
            await until_published(worker, channel, str(number))
            # What comes after the snapshot is lost.
            if is_saved and number in {50, 250, 350}:
                await save(killable_redis)
            if number % 100 == 60:
                kill(killable_redis)
                killable_redis.start()
    for follower in followers:
        check(follower.heard, total)


def kill(redis: KillableRedis) -> None:
    os.killpg(redis.process.pid, signal.SIGKILL)
    redis.stop()


async def save(redis: KillableRedis) -> None:
    async with Redis.from_url(redis.url) as client:
        await client.save()


async def wander(follower: Follower, workers: Workers, last: str) -> None:
    """Follow from one worker to the other, and leave it at random."""
    chance = random.Random(follower.channel)
    while last not in follower.heard:
        for client in (workers.first, workers.second):
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(0.05, 0.5)):
                    await follower.listen(client, last)


def check(heard: list[str | None], total: int) -> None:
    """Raise where a number is missing, or comes again, without a gap."""
    before = 0
    is_gap = False
    for event in heard:
        if event is None:
            is_gap = True
            continue
        number = int(event)
        # Behind a gap may come what a publisher had to repeat.
        assert number == before + 1 or is_gap, heard
        assert number >= before, heard
        before = number
        is_gap = False
    assert before == total


async def test_a_stalled_client_is_dropped_and_resumes_where_it_was(
    serve: Serve, redis_url: str, channel: str
) -> None:
    server = await serve(parallel_events.create_app(redis_url=redis_url))
    async with ClientSession(server.url) as client:
        async with client.ws_connect(f"ws?channel={channel}") as ws:
            place = (await ws.receive_json(timeout=TIMEOUT))["id"]
        peer = await connect_peer(server, channel)
        await until_sockets(client, 1)
        published: list[str] = []
        while (await stats(client))["sockets"] == 1:
            published.append(f"{len(published)} ".ljust(2**16, "x"))
            await publish(client, channel, published[-1])
        peer.writer.close()
        follower = Follower(channel, place)
        await follower.follow(client, published[-1])
        assert follower.heard == published


async def test_who_does_not_take_what_it_has_missed_is_left_behind(
    serve: Serve,
    redis_url: str,
    channel: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    server = await serve(parallel_events.create_app(redis_url=redis_url))
    async with ClientSession(server.url) as client:
        async with client.ws_connect(f"ws?channel={channel}") as ws:
            place = (await ws.receive_json(timeout=TIMEOUT))["id"]
        for _ in range(100):
            await publish(client, channel, "x" * 2**16)
        # Seconds that a test cannot wait for.
        monkeypatch.setattr(parallel_events, "CATCH_UP_TIMEOUT", 0.3)
        peer = await connect_peer(server, f"{channel}&after={place}")
        async with asyncio.timeout(TIMEOUT):
            while "left a client behind: TimeoutError" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await until_sockets(client, 0)
        peer.writer.close()


async def test_more_sockets_than_allowed_are_refused(
    client: ClientSession, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten thousand are too many for a test.
    monkeypatch.setattr(parallel_events, "MAX_SOCKETS", 2)
    await join(client, CHANNEL)
    await join(client, f"{CHANNEL}x")
    async with client.get("ws", headers=UPGRADE) as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "1"
        assert "too many" in (await response.json())["error"]


class CountedEvent(asyncio.Event):
    """Counts those that have waited for it."""

    waits = 0

    async def wait(self) -> Literal[True]:
        self.waits += 1
        return await super().wait()


async def test_a_crowd_that_waits_for_redis_is_let_in_up_to_the_limit(
    serve: Serve, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_events, "MAX_SOCKETS", 2)
    monkeypatch.setattr(parallel_events, "WAIT", TIMEOUT)
    app = parallel_events.create_app(redis_url=redis_url)
    server = await serve(app)
    hub = app[parallel_events.HUB]
    async with ClientSession(server.url) as client, asyncio.timeout(TIMEOUT):
        await hub.ready.wait()
        hub.ready = ready = CountedEvent()
        joining = [
            asyncio.create_task(client.ws_connect("ws")) for _ in "12345"
        ]
        while ready.waits < len(joining):  # noqa: ASYNC110
            await asyncio.sleep(0)
        ready.set()
        answers = await asyncio.gather(*joining, return_exceptions=True)
        refused = [
            answer.status
            for answer in answers
            if isinstance(answer, WSServerHandshakeError)
        ]
        assert refused == [429] * 3
        assert await stats(client) == {"sockets": 2, "channels": 1}


async def test_a_publisher_waits_for_a_reader_that_connects_again(
    serve: Serve, application: web.Application
) -> None:
    server = await serve(application)
    hub = application[parallel_events.HUB]
    async with ClientSession(server.url) as client, asyncio.timeout(TIMEOUT):
        await hub.ready.wait()
        hub.ready = ready = CountedEvent()
        publishing = asyncio.create_task(publish(client, CHANNEL, "a"))
        while not ready.waits:  # noqa: ASYNC110
            await asyncio.sleep(0)
        ready.set()
        assert await publishing == (200, {"receivers": 0})


@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.example", "http://localhost:1", "http://127.0.0.1"],
)
async def test_a_foreign_origin_neither_listens_nor_publishes(
    client: ClientSession, origin: str
) -> None:
    headers = {**UPGRADE, "Origin": origin}
    async with client.get("ws", headers=headers) as response:
        assert response.status == 403
    answer = await publish(client, CHANNEL, "a", headers={"Origin": origin})
    assert answer[0] == 403


async def test_our_own_origin_listens(serve: Serve, redis_url: str) -> None:
    server = await serve(parallel_events.create_app(redis_url=redis_url))
    origin = str(server.url.origin())
    async with (
        ClientSession(server.url) as client,
        client.ws_connect("ws", origin=origin) as ws,
    ):
        assert (await hear(ws))["type"] == "ready"


async def test_one_reader_serves_the_channels_of_all_sockets(
    killable_redis: KillableRedis, serve: Serve, join: Join
) -> None:
    app = parallel_events.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with (
        ClientSession(server.url, connector=TCPConnector(limit=0)) as client,
        Redis.from_url(killable_redis.url) as redis,
    ):
        sockets = [await join(client, f"channel-{n}") for n in range(50)]
        for number, ws in enumerate(sockets):
            await publish(client, f"channel-{number}", "a")
            assert await hear(ws) == {"type": "event", "data": "a"}
        # The reader's, the publisher's, and the one that asks.
        assert len(await redis.client_list()) <= 3
