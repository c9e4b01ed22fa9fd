"""Proofs for recipes/prefix_sink.py."""

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from recipes import prefix_sink
from tests.servers import Server, exchange

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@pytest.fixture
def application() -> web.Application:
    return prefix_sink.create_app()


@pytest.mark.parametrize("method", METHODS)
async def test_the_sink_answers_every_method(
    client: ClientSession, method: str
) -> None:
    async with client.request(method, "path/to/a/b?page=2") as response:
        answer = await response.json()
    assert response.status == 200
    assert answer["method"] == method
    assert answer["tail"] == "a/b"
    assert answer["query"] == "page=2"


async def test_head_has_the_headers_of_get_and_no_body(
    client: ClientSession,
) -> None:
    async with client.get("path/to/a/b") as get:
        pass
    async with client.head("path/to/a/b") as head:
        assert await head.read() == b""
    assert head.status == 200
    # The answer names the method, which is one letter longer.
    assert head.content_length == (get.content_length or 0) + len("D")


@pytest.mark.parametrize(
    ("sent", "tail"),
    [
        ("", ""),
        ("/x", "/x"),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a%0Ab", "a\nb"),
        ("a%0D%0Ab", "a\r\nb"),
        ("a+b", "a+b"),
        ("%C3%A9", "é"),
        ("%FF%FE", "%FF%FE"),
        ("..", ".."),
        ("%2e%2e/etc", "../etc"),
        ("%00", "\0"),
    ],
)
async def test_a_tail_is_decoded_once(
    client: ClientSession, server: Server, sent: str, tail: str
) -> None:
    url = URL(f"{server.url}path/to/{sent}", encoded=True)
    async with client.get(url) as response:
        answer = await response.json()
    assert answer["tail"] == tail
    assert answer["raw_path"] == url.raw_path


async def test_an_encoded_prefix_reaches_the_sink_too(
    client: ClientSession, server: Server
) -> None:
    url = URL(f"{server.url}%70ath/to/a%2Fb", encoded=True)
    async with client.get(url) as response:
        answer = await response.json()
    assert answer["tail"] == "a/b"
    assert answer["raw_path"] == url.raw_path


@pytest.mark.parametrize("method", METHODS)
async def test_the_bare_prefix_is_redirected_with_its_query(
    client: ClientSession, server: Server, method: str
) -> None:
    async with client.request(
        method, "path/to?page=2", allow_redirects=False
    ) as response:
        pass
    assert response.status == 308
    location = f"{server.url.path}path/to/?page=2"
    assert response.headers["Location"] == location


async def test_a_longer_name_is_not_the_prefix(client: ClientSession) -> None:
    async with client.get("path/toa") as response:
        assert response.status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_more_specific_route_keeps_its_place(
    client: ClientSession, method: str
) -> None:
    async with client.request(method, "path/to/exact") as response:
        body = await response.read()
    assert response.status == 200
    assert body == (b'{"exact": true}' if method == "GET" else b"")


@pytest.mark.parametrize("method", METHODS[1:])
async def test_a_wrong_method_on_it_does_not_fall_into_the_sink(
    client: ClientSession, method: str
) -> None:
    async with client.request(method, "path/to/exact") as response:
        answer = await response.json()
    assert response.status == 405
    assert response.headers["Allow"] == "GET,HEAD"
    assert answer == {"error": f"{method} is not allowed here"}


@pytest.mark.parametrize("path", ["path/to/x", "path/to/exact"])
async def test_trace_is_refused(client: ClientSession, path: str) -> None:
    async with client.request("TRACE", path) as response:
        assert response.status == 405
        assert "TRACE" not in response.headers["Allow"]


async def test_a_body_that_nobody_read_does_not_disturb_the_next_request(
    server: Server,
) -> None:
    path = server.url.raw_path.encode() + b"path/to/x"
    answers = await exchange(
        server,
        b"POST %b HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000,
        b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Connection: close\r\n\r\n",
    )
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b'"method": "GET"' in answers


async def test_an_absolute_target_is_cut_to_its_path(server: Server) -> None:
    target = str(server.url.with_host("localhost")).encode() + b"path/to/a"
    answer = await exchange(
        server,
        b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % target,
        b"Connection: close\r\n\r\n",
    )
    assert b'"tail": "a"' in answer
