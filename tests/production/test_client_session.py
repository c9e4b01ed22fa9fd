"""Proofs for recipes/production/client_session.py alone."""

import asyncio
import gzip
import json
import random
import re
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from aiohttp.typedefs import Handler
from yarl import URL

from recipes.production import client_session
from tests.conftest import Serve
from tests.servers import PATIENCE, TIMEOUT
from tests.test_client_session import (
    HEAD,
    get,
    tracebacks_in,
    upstream_that_writes,
    warnings_in,
)


@pytest.fixture
def application() -> web.Application:
    return client_session.create_app()


@pytest.fixture
async def crowd() -> AsyncIterator[ClientSession]:
    """A client without a limit of its own; urls are whole."""
    async with ClientSession(connector=TCPConnector(limit=0)) as client:
        yield client


async def wait_for_calls(client: ClientSession, url: URL, number: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        while True:
            async with client.get(url / "stats") as response:
                if (await response.json())["calls"] == number:
                    return
            await asyncio.sleep(0.01)


# What an upstream may not do


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("garbage", "garbage: ClientResponseError: 400"),
        ("big", "big: BadAnswerError: more than 1048576 bytes"),
        ("redirect", "redirect: BadAnswerError: status 302"),
        ("charset", "charset: BadAnswerError: charset 'base64'"),
        ("status", "status: BadAnswerError: status 500"),
    ],
)
async def test_a_bad_answer_of_the_upstream_is_a_502_and_logged(
    client: ClientSession,
    caplog: pytest.LogCaptureFixture,
    how: str,
    cause: str,
) -> None:
    async with client.get(f"fail?how={how}") as response:
        assert response.status == 502
        assert await response.json() == {"error": "the upstream failed"}
    [warning] = warnings_in(caplog)
    assert warning.startswith(cause)
    assert not tracebacks_in(caplog)
    assert (await get(client, "fetch"))["upstream"] == "nobody"


@pytest.mark.parametrize(
    ("host", "how", "status", "line"),
    [
        (
            "localhost",
            "garbage",
            502,
            "ClientResponseError: 400, message=[^?]*",
        ),
        ("localhost", "slow", 504, "too slow: /below/upstream"),
        ("ann:secret@evil.example", "secret", 403, "no call to evil.example"),
    ],
)
async def test_no_query_of_a_url_is_logged(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    host: str,
    how: str,
    status: int,
    line: str,
) -> None:
    app = client_session.create_app()
    root = web.Application()
    root.add_subapp("/below", app)
    server = await serve(root, prefix="/below")
    url = URL(f"http://{host}:{server.port}/below/upstream?how={how}")
    monkeypatch.setattr(client_session, "upstream_url", lambda request: url)
    timeout = ClientTimeout(total=0.5, connect=0.5)
    monkeypatch.setattr(client_session, "TIMEOUT", timeout)
    async with (
        ClientSession(server.url) as client,
        client.get("fetch") as response,
    ):
        assert response.status == status
    [warning] = warnings_in(caplog)
    assert re.fullmatch(f"visits: {line}", warning)


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "utf8", "us-ascii"])
async def test_a_charset_that_is_utf_8_is_read(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, charset: str
) -> None:
    server = await serve(client_session.create_app())
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset={charset}"
    body = b"\r\nContent-Length: 15\r\n\r\n" + b'{"user": "ann"}'
    async with (
        upstream_that_writes(client_session, monkeypatch, head.encode() + body),
        ClientSession(server.url) as client,
    ):
        assert (await get(client, "fetch"))["upstream"] == "ann"


@pytest.mark.parametrize(
    ("number", "status"),
    [("NaN", 502), ("-Infinity", 502), ("1e999", 502), ("1.5e3", 200)],
)
async def test_a_number_that_json_cannot_hold_is_not_handed_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, number: str, status: int
) -> None:
    server = await serve(client_session.create_app())
    written = HEAD + b"\r\n" + b'{"user": %b}' % number.encode()
    async with (
        upstream_that_writes(client_session, monkeypatch, written),
        ClientSession(server.url) as client,
        client.get("fetch") as response,
    ):
        assert response.status == status
        assert number not in await response.text()


@pytest.mark.parametrize(("size", "status"), [(2**20, 200), (2**20 + 1, 502)])
async def test_an_answer_has_at_most_a_mebibyte_unpacked(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, size: int, status: int
) -> None:
    server = await serve(client_session.create_app())
    body = gzip.compress(b"{}".ljust(size))
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    async with (
        upstream_that_writes(
            client_session, monkeypatch, head % len(body) + body
        ),
        ClientSession(server.url) as client,
        client.get("fetch") as response,
    ):
        assert response.status == status


async def test_a_gzip_bomb_of_the_upstream_costs_little_memory(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(client_session.create_app())
    body = gzip.compress(b"{}".ljust(200 * 2**20), compresslevel=1)
    assert len(body) < 2**20
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    written = head % len(body) + body
    async with (
        upstream_that_writes(client_session, monkeypatch, written),
        ClientSession(server.url) as client,
    ):
        tracemalloc.start()
        try:
            async with client.get("fetch") as response:
                assert response.status == 502
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 10 * 2**20


async def test_a_redirect_is_not_followed_to_another_host(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitors = []

    async def visit(request: web.Request) -> web.Response:
        visitors.append(request.path)
        return web.json_response({"user": "inside"})

    inside = web.Application()
    inside.router.add_get("/", visit)
    target = await serve(inside)
    server = await serve(client_session.create_app())
    written = f"HTTP/1.1 302 Found\r\nLocation: {target.url}\r\n"
    async with (
        upstream_that_writes(
            client_session,
            monkeypatch,
            written.encode() + b"Content-Length: 0\r\n\r\n",
        ),
        ClientSession(server.url) as client,
        client.get("fetch") as response,
    ):
        assert response.status == 502
    assert visitors == []


# An upstream that hangs


@pytest.fixture
def patient_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an upstream PATIENCE."""
    patience = ClientTimeout(total=PATIENCE, connect=PATIENCE)
    monkeypatch.setattr(client_session, "TIMEOUT", patience)


async def test_an_upstream_that_hangs_keeps_no_other_waiting(
    patient_upstream: None, serve: Serve, crowd: ClientSession
) -> None:
    # As many as the connector would have room for, were its limit the default.
    most = 100
    app = client_session.create_app(max_calls=most)
    server = await serve(app, handler_cancellation=True)
    slow = [
        asyncio.create_task(crowd.get(server.url / "fail" % {"how": "slow"}))
        for _ in range(most)
    ]
    await wait_for_calls(crowd, server.url, most)
    async with asyncio.timeout(TIMEOUT):
        async with crowd.get(server.url / "fetch") as response:
            assert response.status == 200
        async with crowd.get(
            server.url / "fail" % {"how": "status"}
        ) as response:
            assert response.status == 502
    assert not any(request.done() for request in slow)
    for request in slow:
        request.cancel()
    await wait_for_calls(crowd, server.url, 0)


async def test_a_call_that_gets_no_turn_is_a_503_and_logged(
    serve: Serve,
    crowd: ClientSession,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await serve(
        client_session.create_app(max_calls=2), handler_cancellation=True
    )
    url = server.url / "fail" % {"how": "slow"}
    slow = [asyncio.create_task(crowd.get(url)) for _ in range(2)]
    await wait_for_calls(crowd, server.url, 2)
    async with asyncio.timeout(TIMEOUT), crowd.get(url) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert await response.json() == {"error": "the upstream is busy"}
    assert warnings_in(caplog) == ["slow: 2 calls are running"]
    # The answer came before a turn was free.
    assert not any(request.done() for request in slow)
    for request in slow:
        request.cancel()
    await wait_for_calls(crowd, server.url, 0)


async def test_nobody_waits_for_a_turn_longer_than_their_own_caller_does(
    serve: Serve, crowd: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_session, "TURN_WAIT", PATIENCE)
    server = await serve(
        client_session.create_app(max_calls=1), handler_cancellation=True
    )
    url = server.url / "fail" % {"how": "slow"}
    slow = asyncio.create_task(crowd.get(url))
    await wait_for_calls(crowd, server.url, 1)
    headers = {"X-Request-Timeout": "0.1"}
    async with crowd.get(url, headers=headers) as response:
        assert response.status == 503
        assert await response.json() == {"error": "the upstream is busy"}
    # Its own deadline is three seconds away.
    assert not slow.done()
    slow.cancel()
    await wait_for_calls(crowd, server.url, 0)


async def test_more_calls_than_turns_wait_for_one(
    serve: Serve, crowd: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_session, "TURN_WAIT", TIMEOUT)
    server = await serve(client_session.create_app(max_calls=2))

    async def fetch() -> int:
        async with crowd.get(server.url / "fetch") as response:
            return response.status

    async with asyncio.timeout(TIMEOUT):
        statuses = await asyncio.gather(*(fetch() for _ in range(8)))
    assert statuses == [200] * 8
    await wait_for_calls(crowd, server.url, 0)


# Callers that leave


@pytest.mark.parametrize("leave", ["abort", "close"])
async def test_a_caller_that_leaves_ends_its_call(
    patient_upstream: None,
    serve: Serve,
    crowd: ClientSession,
    handler_cancellation: bool,
    leave: str,
) -> None:
    server = await serve(
        client_session.create_app(max_calls=1),
        handler_cancellation=handler_cancellation,
    )
    async with asyncio.timeout(TIMEOUT):
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                b"GET /fail?how=slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            await wait_for_calls(crowd, server.url, 1)
            # By a reset, or by an end of file.
            getattr(writer.transport, leave)()
            await wait_for_calls(crowd, server.url, 0)


async def test_a_caller_that_leaves_in_a_body_gives_its_connection_back(
    patient_upstream: None,
    serve: Serve,
    crowd: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    handler_cancellation: bool,
) -> None:
    server = await serve(
        client_session.create_app(), handler_cancellation=handler_cancellation
    )
    writing: asyncio.Event = asyncio.Event()
    left: asyncio.Event = asyncio.Event()

    async def drip(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"Content-Length: 9\r\n\r\n{")
        writing.set()
        await reader.read()
        left.set()
        writer.close()

    upstream = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    url = URL(f"http://localhost:{port}/")
    monkeypatch.setattr(client_session, "upstream_url", lambda request: url)
    async with upstream, asyncio.timeout(TIMEOUT):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /fetch HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await writing.wait()
        writer.transport.abort()
        await left.wait()
        await wait_for_calls(crowd, server.url, 0)


async def test_a_handler_has_cleaned_up_before_its_request_ends(
    serve: Serve, handler_cancellation: bool
) -> None:
    steps: asyncio.Queue[str] = asyncio.Queue()

    @web.middleware
    async def see_the_end(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            steps.put_nowait("ended")

    async def wait_and_clean_up(request: web.Request) -> web.Response:
        steps.put_nowait("begun")
        try:
            return await asyncio.sleep(PATIENCE, web.Response())
        finally:
            await asyncio.sleep(0.01)
            steps.put_nowait("cleaned up")

    app = client_session.create_app()
    app.middlewares.insert(0, see_the_end)
    app.router.add_get("/wait", wait_and_clean_up)
    server = await serve(app, handler_cancellation=handler_cancellation)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(TIMEOUT):
        assert await steps.get() == "begun"
        writer.close()
        assert [await steps.get() for _ in range(2)] == ["cleaned up", "ended"]


async def test_a_caller_that_left_is_a_499_in_the_access_log(
    serve: Serve, crowd: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "aiohttp.access")
    server = await serve(client_session.create_app())
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /fail?how=slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await wait_for_calls(crowd, server.url, 1)
    writer.transport.abort()
    await wait_for_calls(crowd, server.url, 0)
    line = '"GET /fail?how=slow HTTP/1.1" 499'
    async with asyncio.timeout(TIMEOUT):
        while line not in caplog.text:
            await wait_for_calls(crowd, server.url, 0)
    assert warnings_in(caplog) == []


# Connections, and errors that aiohttp makes


async def test_nothing_is_opened_before_the_first_call(
    client: ClientSession,
) -> None:
    for path in ("login-then-fetch?user=", "fail?how=other"):
        async with client.get(path) as response:
            assert response.status == 400
    assert await get(client, "stats") == {"connections": 0, "calls": 0}


async def test_the_connections_of_session_and_chains_are_counted(
    client: ClientSession,
) -> None:
    await get(client, "login-then-fetch", user="ann")
    await get(client, "fetch")
    assert await get(client, "stats") == {"connections": 1, "calls": 0}


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "nothing", 404, "Not Found"),
        ("POST", "fetch", 405, "Method Not Allowed"),
    ],
)
async def test_an_error_of_aiohttp_is_json_too(
    client: ClientSession, method: str, path: str, status: int, reason: str
) -> None:
    async with client.request(method, path) as response:
        assert response.status == status
        assert json.loads(await response.read()) == {"error": reason}


# Where a call may go


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "0177.0.0.1",
        "2130706433",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "①②⑦.⓪.⓪.①",
        "localhost.",
        "localhost.evil.example",
        "localhost@127.0.0.1",
        "169.254.169.254",
        "evil.example",
    ],
)
async def test_only_the_hosts_of_upstreams_are_called(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    host: str,
) -> None:
    server = await serve(client_session.create_app())
    url = URL(f"http://{host}:{server.port}/upstream")
    monkeypatch.setattr(client_session, "upstream_url", lambda request: url)
    async with ClientSession(server.url) as client:
        async with client.get("fetch") as response:
            assert response.status == 403
            reason = {"error": "this host is not called"}
            assert await response.json() == reason
        assert (await get(client, "stats"))["connections"] == 0
    [warning] = warnings_in(caplog)
    assert warning.startswith("visits: no call to ")


async def test_a_client_names_an_upstream_and_no_url(
    client: ClientSession,
) -> None:
    url = "http://169.254.169.254/"
    for path in ("fail?how=", "fetch?how=", "fetch?url="):
        async with client.get(path + url) as response:
            assert response.status == (400 if path.startswith("fail") else 200)


# Retries


class Upstream:
    """A server that answers each call with the next of `answers`."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.heads: list[str] = []

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode())
        writer.write(self.answers.pop(0) if self.answers else ANN)
        writer.close()


ANN = HEAD + b'Content-Length: 15\r\nConnection: close\r\n\r\n{"user": "ann"}'
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}"
CUT = b""
FAILED = b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def upstream_that_answers(
    monkeypatch: pytest.MonkeyPatch, *answers: bytes
) -> AsyncIterator[Upstream]:
    upstream = Upstream(*answers)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = URL(f"http://localhost:{port}/")
    monkeypatch.setattr(client_session, "upstream_url", lambda request: url)
    async with server:
        yield upstream


@pytest.mark.parametrize(
    ("answers", "calls", "status"),
    [
        ([BUSY], 2, 200),
        ([BUSY, BUSY], 3, 200),
        ([BUSY, BUSY, BUSY], 3, 502),
        # It is not a moment's, or nobody knows.
        ([FAILED], 1, 502),
        ([b"nonsense\r\n\r\n"], 1, 502),
    ],
)
async def test_what_may_be_done_twice_is_repeated_twice_at_most(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answers: list[bytes],
    calls: int,
    status: int,
) -> None:
    caplog.set_level("INFO")
    server = await serve(client_session.create_app())
    async with (
        upstream_that_answers(monkeypatch, *answers) as upstream,
        ClientSession(server.url) as client,
        client.get("fetch") as response,
    ):
        assert response.status == status
    assert len(upstream.heads) == calls
    assert len(warnings_in(caplog)) == (status == 502)
    # On call, it tells why an answer was late.
    again = [text for text in caplog.messages if "again, after" in text]
    assert again == ["visits: again, after status 503"] * (calls - 1)


async def test_a_pause_is_drawn_for_a_failure_alone_and_waited_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    def draw(shortest: float, longest: float) -> float:
        pauses.append((shortest, longest))
        return longest

    monkeypatch.setattr(random, "uniform", draw)
    server = await serve(client_session.create_app())
    started = time.monotonic()
    async with (
        upstream_that_answers(monkeypatch, BUSY, BUSY) as upstream,
        ClientSession(server.url) as client,
    ):
        for _ in range(2):
            assert (await get(client, "fetch"))["upstream"] == "ann"
    assert len(upstream.heads) == 4
    assert pauses == [(0, 0.1), (0, 0.2)]
    assert time.monotonic() - started >= 0.3


async def test_a_call_that_breaks_off_is_repeated(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(client_session.create_app())
    async with (
        upstream_that_answers(monkeypatch, CUT) as upstream,
        ClientSession(server.url) as client,
    ):
        assert (await get(client, "fetch"))["upstream"] == "ann"
    assert len(upstream.heads) == 2


async def test_an_upstream_that_is_down_gets_few_more_calls_than_asked_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_session, "LONGEST_PAUSES", (0, 0))
    server = await serve(client_session.create_app())
    asked = 50
    async with (
        upstream_that_answers(monkeypatch, *[BUSY] * 999) as upstream,
        ClientSession(server.url) as client,
    ):
        for _ in range(asked):
            async with client.get("fetch") as response:
                assert response.status == 502
    # Ten are saved up, and one is earned by ten calls.
    assert 10 <= len(upstream.heads) - asked <= 10 + asked / 10


async def test_a_failure_that_no_time_is_left_to_repeat_is_told_as_it_is(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def longer_than_waited_for(shortest: float, longest: float) -> float:
        return 5.0

    # Not a 504, after a pause in which nobody waits any more.
    monkeypatch.setattr(random, "uniform", longer_than_waited_for)
    server = await serve(client_session.create_app())
    headers = {"X-Request-Timeout": str(TIMEOUT)}
    async with (
        upstream_that_answers(monkeypatch, BUSY) as upstream,
        ClientSession(server.url) as client,
        client.get("fetch", headers=headers) as response,
    ):
        assert response.status == 502
    assert len(upstream.heads) == 1
    [warning] = warnings_in(caplog)
    assert "BusyError: status 503" in warning


async def test_a_call_that_was_slow_is_not_repeated(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    async def be_silent(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal calls
        calls += 1
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(be_silent, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    url = URL(f"http://localhost:{port}/")
    monkeypatch.setattr(client_session, "upstream_url", lambda request: url)
    server = await serve(client_session.create_app())
    # As long as a busy machine may need to make the call.
    headers = {"X-Request-Timeout": "1"}
    async with (
        silent,
        ClientSession(server.url) as client,
        client.get("fetch", headers=headers) as response,
    ):
        assert response.status == 504
    assert calls == 1


# Deadlines


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [(None, 1.5, 3), ("1.5", 0.01, 1.5), ("2", 0.5, 2), ("60", 1.5, 3)],
)
async def test_an_upstream_is_told_how_long_its_answer_is_waited_for(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    told: str | None,
    least: float,
    most: float,
) -> None:
    server = await serve(client_session.create_app())
    headers = {} if told is None else {"X-Request-Timeout": told}
    async with (
        upstream_that_answers(monkeypatch) as upstream,
        ClientSession(server.url) as client,
        client.get("login-then-fetch?user=ann", headers=headers) as response,
    ):
        assert response.status == 200
    first, second = (
        float(re.findall(r"X-Request-Timeout: (\S+)\r\n", head)[0])
        for head in upstream.heads
    )
    # One time for both.
    assert most >= first > second >= least


async def test_a_caller_that_waits_no_more_costs_no_call(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(client_session.create_app())
    headers = {"X-Request-Timeout": "0"}
    async with (
        upstream_that_answers(monkeypatch) as upstream,
        ClientSession(server.url) as client,
        client.get("fetch", headers=headers) as response,
    ):
        assert response.status == 504
        assert await response.json() == {"error": "the upstream is slow"}
    assert not upstream.heads


@pytest.mark.parametrize(
    "told",
    [[""], ["soon"], ["-1"], ["nan"], ["1e3"], ["9999999"], ["1", "1"]],
)
async def test_a_bad_deadline_is_a_400(
    client: ClientSession, told: list[str]
) -> None:
    headers = [("X-Request-Timeout", each) for each in told]
    async with client.get("fetch", headers=headers) as response:
        assert response.status == 400
        reason = {"error": "X-Request-Timeout must be one number of seconds"}
        assert await response.json() == reason
