"""Proofs for recipes/global_gzip.py."""

import asyncio
import gzip
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession, web
from aiohttp.typedefs import Handler
from packaging.version import Version

from recipes import global_gzip
from tests.conftest import Serve, in_turn
from tests.servers import TIMEOUT, Server, exchange

SIZE = 5000
COMPRESSED = [f"text?size={SIZE}", f"json?size={SIZE}", "missing"]
UNTOUCHED = [
    "text?size=0",
    "text?size=255",
    "secret?q=abc",
    "binary",
    "stream",
    "file",
    "empty",
]


@pytest.fixture
def application() -> web.Application:
    return global_gzip.create_app()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[ClientSession]:
    """A client that asks for no coding by itself, and unpacks nothing."""
    async with bare_client(server) as session:
        yield session


def bare_client(server: Server) -> ClientSession:
    return ClientSession(
        server.url, auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
    )


class Answer:
    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.vary = [
            value.decode()
            for name, value in response.raw_headers
            if name == b"Vary"
        ]
        self.body = body

    @property
    def coding(self) -> str | None:
        return self.headers.get("Content-Encoding")


async def fetch(
    client: ClientSession, path: str, method: str = "GET", **headers: str
) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.request(method, path, headers=names) as response:
        return Answer(response, await response.read())


@pytest.mark.parametrize("path", COMPRESSED)
@in_turn(
    "accepted",
    [
        "gzip",
        "GZIP",
        "*",
        "gzip, deflate, br",
        "deflate, gzip",
        "br;q=1.0, gzip;q=0.5",
        "gzip;q=0.5, deflate;q=0.9",
        "gzip ; q=1",
        "gzip; Q=0.001",
        "gzip;q=.5",
        "gzip;q=1.000",
        "*;q=0, gzip",
        "*;q=0.1",
        ",,gzip",
        ", ".join(f"x{number}" for number in range(199)) + ", gzip",
    ],
)
async def test_a_client_that_takes_gzip_gets_it(
    client: ClientSession, path: str, accepted: str
) -> None:
    plain = await fetch(client, path)
    packed = await fetch(client, path, Accept_Encoding=accepted)
    assert packed.status == plain.status
    assert packed.coding == "gzip"
    assert int(packed.headers["Content-Length"]) == len(packed.body)
    assert len(packed.body) < len(plain.body)
    assert gzip.decompress(packed.body) == plain.body
    assert packed.vary == ["Accept-Encoding"]


@pytest.mark.parametrize("path", COMPRESSED)
@in_turn(
    "accepted",
    [
        "",
        "identity",
        "br",
        "deflate",
        "gzip;q=0",
        "gzip;q=0.000",
        "gzip ; Q=0",
        "*;q=0",
        "gzip;q=0, *",
        "*, gzip;q=0.0",
        "x-gzip",
        "not-gzip-at-all",
        "gzip;q=no",
        "gzip;q=-1",
        "gzip;q=2",
        "gzip;q=nan",
        "gzip;q=inf",
        "gzip;level=9",
        "\udcff",
        "gzip\udcff",
        ";q=1",
        "q=1",
        "é",
        "; " * 2000,
    ],
)
async def test_a_client_that_does_not_gets_the_plain_answer(
    server: Server, path: str, accepted: str
) -> None:
    target = server.url.raw_path.encode() + path.encode()
    answer = await exchange(
        server,
        b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % target,
        b"Accept-Encoding: %b\r\n" % accepted.encode(errors="surrogateescape"),
        b"Connection: close\r\n\r\n",
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nVary: Accept-Encoding\r\n" in head
    assert b"Content-Encoding" not in head
    assert b"note" in body


async def test_a_client_that_says_nothing_gets_the_plain_answer(
    client: ClientSession,
) -> None:
    answer = await fetch(client, f"text?size={SIZE}")
    assert answer.coding is None
    assert answer.vary == ["Accept-Encoding"]
    assert len(answer.body) == SIZE


async def test_what_is_accepted_may_stand_in_two_lines(server: Server) -> None:
    path = server.url.raw_path.encode() + b"text?size=5000"
    answer = await exchange(
        server,
        b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Accept-Encoding: *\r\nAccept-Encoding: gzip;q=0\r\n",
        b"Connection: close\r\n\r\n",
    )
    assert b"Content-Encoding" not in answer


@pytest.mark.parametrize("path", UNTOUCHED)
async def test_what_is_small_or_packed_or_secret_is_not_touched(
    client: ClientSession, path: str
) -> None:
    plain = await fetch(client, path)
    answer = await fetch(client, path, Accept_Encoding="gzip")
    assert answer.status == plain.status < 300
    assert answer.body == plain.body
    assert {*answer.headers.items()} - {*plain.headers.items()} <= {
        ("Date", answer.headers["Date"])
    }
    assert answer.coding is None
    assert answer.vary == []


async def test_the_smallest_that_is_compressed_has_256_bytes(
    client: ClientSession,
) -> None:
    answer = await fetch(client, "text?size=256", Accept_Encoding="gzip")
    assert len(gzip.decompress(answer.body)) == 256


@pytest.mark.parametrize("size", [0, 1, 255, 256, 4096, 4097, 1_000_000])
async def test_a_text_has_the_size_asked_for(
    client: ClientSession, size: int
) -> None:
    text = await fetch(client, f"text?size={size}")
    assert len(text.body) == size
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    json = await fetch(client, f"json?size={size}")
    assert len(json.body) == size + len('{"text": ""}')
    assert json.headers["Content-Type"] == "application/json; charset=utf-8"


@in_turn(
    "query",
    [
        "",
        "size=",
        "size=-1",
        "size=1000001",
        "size=9999999",
        "size=1.5",
        "size=1e3",
        "size=nan",
        "size=1_000",
        "size=%2B1",
        "size=%D9%A1",
        "size=true",
        "size=1&size=2",
        "size=" + "9" * 5000,
    ],
)
@pytest.mark.parametrize("path", ["text", "json"])
async def test_a_bad_size_is_refused(
    client: ClientSession, path: str, query: str
) -> None:
    async with client.get(f"{path}?{query}") as response:
        assert response.status == 400
        assert list(await response.json()) == ["error"]


async def test_binary_is_what_nothing_makes_shorter(
    client: ClientSession,
) -> None:
    answer = await fetch(client, "binary", Accept_Encoding="gzip")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert len(gzip.compress(answer.body)) > len(answer.body) >= 256


async def test_the_text_of_the_stream_arrives(client: ClientSession) -> None:
    answer = await fetch(client, "stream", Accept_Encoding="gzip")
    whole = await fetch(client, "text?size=1000")
    # Long enough to be compressed, if it were no stream.
    assert len(answer.body) >= global_gzip.MIN_SIZE
    assert whole.body.startswith(answer.body)


async def test_the_empty_answer_arrives(client: ClientSession) -> None:
    answer = await fetch(client, "empty", Accept_Encoding="gzip")
    assert (answer.status, answer.body) == (204, b"")


async def test_a_range_of_the_file_is_its_bytes(client: ClientSession) -> None:
    whole = await fetch(client, "file")
    part = await fetch(
        client, "file", Accept_Encoding="gzip", Range="bytes=10-99"
    )
    assert part.status == 206
    assert part.body == whole.body[10:100]
    assert part.headers["Content-Range"] == f"bytes 10-99/{len(whole.body)}"


async def test_an_unchanged_file_is_not_sent_again(
    client: ClientSession,
) -> None:
    whole = await fetch(client, "file")
    again = await fetch(
        client,
        "file",
        Accept_Encoding="gzip",
        If_None_Match=whole.headers["ETag"],
    )
    assert (again.status, again.body) == (304, b"")


def oracle(answer: Answer, guess: bytes) -> int:
    """Tell how long an answer were, compressed, if it repeated the guess."""
    return len(gzip.compress(answer.body.replace(b"?", guess), mtime=0))


async def test_compression_would_tell_the_secret(
    client: ClientSession,
) -> None:
    answer = await fetch(client, "secret?q=%3F")
    token = global_gzip.CSRF_TOKEN.encode()
    wrong = bytes(ord("0") + ord("9") - char for char in token[:16])
    assert oracle(answer, token[:16]) < oracle(answer, wrong)


async def test_the_length_of_the_secret_answer_tells_nothing(
    client: ClientSession,
) -> None:
    token = global_gzip.CSRF_TOKEN
    assert {
        len(
            (await fetch(client, f"secret?q={guess}", Accept_Encoding="*")).body
        )
        for guess in (token[:16], token[-16:], "0123456789abcdef", "x" * 16)
    } == {len('{"q": "", "csrf_token": ""}') + 16 + len(token)}


async def test_a_search_for_bytes_that_are_no_text_is_answered(
    client: ClientSession,
) -> None:
    for query in ("", "q=", "q=%FF", "q=%ED%A0%80", "q=%00", "q=%22%0D%0A"):
        async with client.get(f"secret?{query}") as response:
            assert response.status == 200
            assert "q" in await response.json()


@pytest.mark.parametrize("path", COMPRESSED + UNTOUCHED)
@pytest.mark.parametrize("accepted", [b"gzip", b"identity"])
async def test_head_has_the_headers_of_get_and_no_body(
    server: Server, path: str, accepted: bytes
) -> None:
    target = server.url.raw_path.encode() + path.encode()
    rest = b" %b HTTP/1.1\r\nHost: localhost\r\n" % target
    rest += b"Accept-Encoding: %b\r\n" % accepted
    answers = await exchange(
        server,
        *(b"HEAD", rest, b"\r\n"),
        *(b"GET", rest, b"Connection: close\r\n\r\n"),
    )
    head, get, *_ = answers.split(b"\r\n\r\n", 2)
    assert get.startswith(b"HTTP/1.1 ")
    assert comparable(head) == comparable(get)


def comparable(head: bytes) -> set[bytes]:
    # To HEAD, aiohttp tells no length of an empty body.
    varying = (b"Date:", b"Connection:", b"Transfer-Enc", b"Content-Length: 0")
    lines = head.split(b"\r\n")
    return {line for line in lines if not line.startswith(varying)}


async def test_clients_that_leave_before_the_stream_cost_no_traceback(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    target = server.url.raw_path.encode() + b"stream"
    for _ in range(30):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
        writer.transport.abort()
    rest = b"Host: localhost\r\nConnection: close\r\n\r\n"
    await exchange(server, b"GET %b HTTP/1.1\r\n" % target, rest)
    await server.stop()
    assert "Traceback" not in caplog.text


# What the middleware does around other handlers than the recipe's own.

LONG = "Ann wrote a note. " * 100


def serving_only(make: Callable[[], web.StreamResponse]) -> web.Application:
    async def handler(request: web.Request) -> web.StreamResponse:
        return make()

    return around(handler)


def around(handler: Handler) -> web.Application:
    app = web.Application(middlewares=[global_gzip.compress])
    app.router.add_get("/", handler)
    return app


async def fetch_packed(
    serve: Serve, app: web.Application, method: str = "GET"
) -> Answer:
    async with bare_client(await serve(app)) as client:
        return await fetch(client, "", method, Accept_Encoding="gzip")


@pytest.mark.parametrize(
    ("tag", "sent"),
    [('"abc"', 'W/"abc"'), ('W/"abc"', 'W/"abc"'), ("", "")],
)
async def test_a_strong_tag_becomes_weak(
    serve: Serve, tag: str, sent: str
) -> None:
    app = serving_only(lambda: web.Response(text=LONG, headers={"ETag": tag}))
    answer = await fetch_packed(serve, app)
    assert answer.coding == "gzip"
    assert answer.headers["ETag"] == sent


async def test_a_tag_of_the_plain_answer_stays_strong(serve: Serve) -> None:
    headers = {"ETag": '"abc"'}
    app = serving_only(lambda: web.Response(text=LONG, headers=headers))
    async with bare_client(await serve(app)) as client:
        answer = await fetch(client, "")
    assert answer.headers["ETag"] == '"abc"'


@pytest.mark.parametrize(
    ("accepted", "tag"), [("gzip", 'W/"abc"'), ("identity", '"abc"')]
)
async def test_a_304_has_the_vary_and_the_etag_of_its_200(
    serve: Serve, accepted: str, tag: str
) -> None:
    headers = {"ETag": '"abc"'}
    app = serving_only(lambda: web.Response(status=304, headers=headers))
    async with bare_client(await serve(app)) as client:
        answer = await fetch(client, "", Accept_Encoding=accepted)
    assert (answer.status, answer.body) == (304, b"")
    assert answer.vary == ["Accept-Encoding"]
    assert answer.headers["ETag"] == tag
    assert answer.coding is None


@pytest.mark.parametrize(
    ("vary", "sent"),
    [
        ("Cookie", ["Cookie", "Accept-Encoding"]),
        ("Cookie, accept-encoding", ["Cookie, accept-encoding"]),
    ],
)
async def test_vary_is_kept_and_not_doubled(
    serve: Serve, vary: str, sent: list[str]
) -> None:
    app = serving_only(lambda: web.Response(text=LONG, headers={"Vary": vary}))
    assert (await fetch_packed(serve, app)).vary == sent


@pytest.mark.parametrize(
    "make",
    [
        lambda: web.Response(text=LONG, status=206),
        lambda: web.Response(text=LONG, status=204),
        lambda: web.Response(text=LONG, content_type="image/png"),
        lambda: web.Response(body=LONG.encode()),
        lambda: web.Response(
            # Without the second in which it was made: the test makes two.
            body=gzip.compress(LONG.encode() * 100, mtime=0),
            headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"},
        ),
        lambda: web.Response(
            text=LONG, headers={"Cache-Control": "public, No-Transform"}
        ),
        lambda: web.Response(),
        lambda: web.Response(status=204),
    ],
)
async def test_what_must_not_be_compressed_is_not(
    serve: Serve, make: Callable[[], web.Response]
) -> None:
    app = serving_only(make)
    answer = await fetch_packed(serve, app)
    expected = make()
    assert answer.status == expected.status
    assert answer.coding == expected.headers.get("Content-Encoding")
    assert answer.vary == []
    assert answer.body == (
        b"" if answer.status == 204 else expected.body or b""
    )


@pytest.mark.parametrize("status", [200, 201, 400, 500])
@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "text/css",
        "application/json",
        "application/xml",
        "application/javascript",
        "application/problem+json",
        "application/ld+json",
        "image/svg+xml",
    ],
)
async def test_text_of_any_kind_is_compressed(
    serve: Serve, status: int, content_type: str
) -> None:
    app = serving_only(
        lambda: web.Response(
            text=LONG, status=status, content_type=content_type
        )
    )
    answer = await fetch_packed(serve, app)
    assert (answer.status, answer.coding) == (status, "gzip")
    assert gzip.decompress(answer.body).decode() == LONG


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
async def test_a_file_with_a_gz_beside_it_is_sent_as_aiohttp_sends_it(
    serve: Serve, tmp_path: Path, accepted: str
) -> None:
    script = tmp_path / "app.js"
    script.write_text(LONG)
    beside = tmp_path / "app.js.gz"
    beside.write_bytes(gzip.compress(LONG.encode()))
    app = web.Application(middlewares=[global_gzip.compress])
    app.router.add_static("/", tmp_path)
    async with bare_client(await serve(app)) as client:
        answer = await fetch(client, "app.js", Accept_Encoding=accepted)
    if accepted == "gzip":
        assert answer.coding == "gzip"
        assert answer.vary == ["Accept-Encoding"]
        assert answer.body == beside.read_bytes()
    else:
        assert answer.coding is None
        assert answer.body == script.read_bytes()


async def test_a_raised_304_has_the_vary_and_the_etag_of_its_200(
    serve: Serve,
) -> None:
    async def handler(request: web.Request) -> web.Response:
        tags = {tag.value for tag in request.if_none_match or ()}
        if "abc" in tags:
            raise web.HTTPNotModified(headers={"ETag": '"abc"'})
        return web.Response(text=LONG, headers={"ETag": '"abc"'})

    async with bare_client(await serve(around(handler))) as client:
        full = await fetch(client, "", Accept_Encoding="gzip")
        again = await fetch(
            client,
            "",
            Accept_Encoding="gzip",
            If_None_Match=full.headers["ETag"],
        )
    assert (full.status, full.coding) == (200, "gzip")
    assert (again.status, again.body) == (304, b"")
    assert again.vary == full.vary == ["Accept-Encoding"]
    assert again.headers["ETag"] == full.headers["ETag"] == 'W/"abc"'


async def test_a_length_that_the_handler_told_is_corrected(
    serve: Serve,
) -> None:
    headers = {"Content-Length": str(len(LONG))}
    app = serving_only(lambda: web.Response(text=LONG, headers=headers))
    answer = await fetch_packed(serve, app)
    assert gzip.decompress(answer.body).decode() == LONG
    assert int(answer.headers["Content-Length"]) == len(answer.body)


async def test_a_chunked_response_is_left_alone(serve: Serve) -> None:
    def make() -> web.Response:
        response = web.Response(text=LONG)
        response.enable_chunked_encoding()
        return response

    app = serving_only(make)
    assert (await fetch_packed(serve, app)).body.decode() == LONG
    head = await fetch_packed(serve, serving_only(make), "HEAD")
    assert (head.coding, head.body) == (None, b"")


async def test_an_answer_sent_by_the_handler_is_left_alone(
    serve: Serve,
) -> None:
    answered = []

    async def handler(request: web.Request) -> web.Response:
        response = web.Response(text=LONG)
        await response.prepare(request)
        await response.write_eof()
        answered.append(response)
        return response

    answer = await fetch_packed(serve, around(handler))
    assert (answer.coding, answer.body.decode()) == (None, LONG)
    assert "Vary" not in answered[0].headers


async def test_a_body_made_piece_by_piece_is_left_alone(serve: Serve) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield LONG.encode()

    app = serving_only(
        lambda: web.Response(body=pieces(), content_type="text/plain")
    )
    answer = await fetch_packed(serve, app)
    assert (answer.coding, answer.body.decode()) == (None, LONG)


async def test_events_arrive_while_the_stream_goes_on(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(f"data: {LONG}\n\n".encode())
        await arrived.wait()
        return response

    arrived = asyncio.Event()
    async with (
        bare_client(await serve(around(handler))) as client,
        client.get("", headers={"Accept-Encoding": "gzip"}) as response,
    ):
        event = await response.content.readuntil(b"\n\n")
        arrived.set()
    assert event == f"data: {LONG}\n\n".encode()


async def test_a_websocket_is_left_alone(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(LONG)
        await socket.close()
        return socket

    async with (
        bare_client(await serve(around(handler))) as client,
        client.ws_connect("", headers={"Accept-Encoding": "gzip"}) as socket,
    ):
        assert await socket.receive_str(timeout=TIMEOUT) == LONG


async def test_a_crash_stays_a_server_error(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise RuntimeError("on purpose")

    answer = await fetch_packed(serve, around(handler))
    assert (answer.status, answer.coding) == (500, None)


# What `enable_compression()` is, alone, and what the docstring says of it.


async def naive(request: web.Request) -> web.StreamResponse:
    kind = request.query["kind"]
    response: web.StreamResponse = web.Response(text=LONG)
    if kind == "empty":
        response = web.Response()
    elif kind == "file":
        response = web.FileResponse(__file__)
    response.enable_compression()
    return response


@pytest.fixture
async def naive_server(serve: Serve) -> Server:
    app = web.Application()
    app.router.add_get("/", naive)
    return await serve(app)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip;q=0", "gzip"), ("gzip, deflate", "deflate"), ("*", None)],
)
async def test_aiohttp_alone_does_not_weigh(
    naive_server: Server, accepted: str, coding: str | None
) -> None:
    async with bare_client(naive_server) as client:
        answer = await fetch(client, "?kind=text", Accept_Encoding=accepted)
    assert answer.coding == coding
    assert answer.vary == []


async def test_aiohttp_alone_drops_the_connection_over_an_empty_body(
    naive_server: Server,
) -> None:
    answer = await exchange(
        naive_server,
        b"GET /?kind=empty HTTP/1.1\r\nHost: localhost\r\n",
        b"Accept-Encoding: gzip\r\nConnection: close\r\n\r\n",
    )
    assert answer == b""


async def test_aiohttp_alone_writes_a_body_after_head_of_a_file(
    naive_server: Server,
) -> None:
    answer = await exchange(
        naive_server,
        b"HEAD /?kind=file HTTP/1.1\r\nHost: localhost\r\n",
        b"Accept-Encoding: gzip\r\nConnection: close\r\n\r\n",
    )
    assert answer.partition(b"\r\n\r\n")[2] != b""


class NotingZlib:
    """The standard zlib, noting which thread compresses."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(zlib, name)

    def compressobj(self, **options: Any) -> "NotingCompressor":
        return NotingCompressor(zlib.compressobj(**options), self.threads)


class NotingCompressor:
    def __init__(
        self, compressor: Any, threads: list[threading.Thread]
    ) -> None:
        self.flush = compressor.flush
        self._compressor = compressor
        self._threads = threads

    def compress(self, data: bytes) -> Any:
        self._threads.append(threading.current_thread())
        return self._compressor.compress(data)


@pytest.fixture
def noting_zlib() -> Iterator[NotingZlib]:
    backend: Any = NotingZlib()
    aiohttp.set_zlib_backend(backend)
    yield backend
    aiohttp.set_zlib_backend(zlib)


@pytest.mark.skipif(
    Version(aiohttp.__version__) < Version("3.14"),
    reason="older releases compress in the event loop",
)
async def test_a_large_body_is_compressed_in_a_thread(
    client: ClientSession, noting_zlib: NotingZlib
) -> None:
    await fetch(client, "text?size=4096", Accept_Encoding="gzip")
    await fetch(client, "text?size=4097", Accept_Encoding="gzip")
    small, large = noting_zlib.threads
    assert small is threading.main_thread()
    assert large is not threading.main_thread()
