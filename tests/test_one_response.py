"""Proofs for recipes/one_response.py; they hold for the production file too."""

import asyncio
import time
from typing import Any

import pytest
from aiohttp import ClientSession, web
from redis import Redis
from yarl import URL

from tests.conftest import Serve, Tier
from tests.servers import TIMEOUT, Server, exchange


def emptied(redis_url: str) -> str:
    """Return the URL of a database that is empty, and no other test's."""
    url = f"{redis_url}?db=1"
    with Redis.from_url(url) as redis:
        redis.flushdb()
    return url


@pytest.fixture
def options(
    recipe: Tier, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The production file has its answers in Redis."""
    if ".production." in recipe.__name__:
        # On a busy machine, it answers later.
        monkeypatch.setattr(recipe, "REDIS_TIMEOUT", TIMEOUT)
        return {"redis_url": emptied(redis_url)}
    return {}


@pytest.fixture
def application(recipe: Tier, options: dict[str, Any]) -> web.Application:
    return recipe.create_app(**options)


async def was_reused(client: ClientSession, path: str | URL) -> bool:
    async with client.get(path) as response:
        await response.read()
    return response.headers["X-Cache"] == "hit"


async def test_the_first_answer_is_made_and_the_others_are_reused(
    client: ClientSession,
) -> None:
    answers = []
    for _ in range(3):
        async with client.get("greeting?name=ann") as response:
            assert response.status == 200
            assert await response.json() == {"greeting": "Hello, ann!"}
            answers.append(response.headers["X-Cache"])
    assert answers == ["miss", "hit", "hit"]


async def test_three_requests_on_one_connection_are_answered(
    server: Server,
) -> None:
    path = server.url.raw_path.encode() + b"greeting?name=ann"
    get = b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % path
    answers = await exchange(
        server, get, b"\r\n", get, b"\r\n", get, b"Connection: close\r\n\r\n"
    )
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.count(b'{"greeting": "Hello, ann!"}') == 3


async def test_three_requests_on_new_connections_are_answered(
    server: Server,
) -> None:
    for _ in range(3):
        async with (
            ClientSession(server.url) as client,
            client.get("greeting?name=ann") as response,
        ):
            assert await response.json() == {"greeting": "Hello, ann!"}


async def test_fifty_concurrent_requests_are_answered(
    client: ClientSession,
) -> None:
    async def greet() -> str:
        async with client.get("greeting?name=ann") as response:
            assert response.status == 200
            return await response.text()

    async with asyncio.timeout(TIMEOUT):
        bodies = await asyncio.gather(*(greet() for _ in range(50)))
    assert set(bodies) == {'{"greeting": "Hello, ann!"}'}


async def test_names_do_not_share_an_answer(client: ClientSession) -> None:
    for name in ("ann", "bob", "ann", "bob", "é", "a+b", "a%2Bb"):
        async with client.get(f"greeting?name={name}") as response:
            assert response.status == 200
            text = await response.json()
        assert text == {"greeting": f"Hello, {response.url.query['name']}!"}


async def test_head_of_a_kept_answer_has_its_headers_and_no_body(
    server: Server,
) -> None:
    path = server.url.raw_path.encode() + b"greeting?name=ann"
    rest = b" %b HTTP/1.1\r\nHost: localhost\r\n" % path
    await exchange(server, b"GET", rest, b"Connection: close\r\n\r\n")
    answers = await exchange(
        server,
        *(b"HEAD", rest, b"\r\n"),
        *(b"GET", rest, b"Connection: close\r\n\r\n"),
    )
    head, get, body = answers.split(b"\r\n\r\n")
    assert comparable(head) == comparable(get)
    assert b"X-Cache: hit" in head
    assert body == b'{"greeting": "Hello, ann!"}'


def comparable(head: bytes) -> list[bytes]:
    passing = (b"Age:", b"Date:", b"Connection:", b"Server-Timing:")
    return [
        line for line in head.split(b"\r\n") if not line.startswith(passing)
    ]


async def test_head_stores_nothing(client: ClientSession) -> None:
    async with client.head("greeting?name=ann") as response:
        assert response.status == 200
    assert not await was_reused(client, "greeting?name=ann")


async def test_what_was_not_opted_in_is_made_each_time(
    client: ClientSession,
) -> None:
    tickets = set()
    for _ in range(3):
        async with client.get("fresh") as response:
            assert "X-Cache" not in response.headers
            tickets.add((await response.json())["ticket"])
    assert len(tickets) == 3


async def test_an_error_is_raised_anew_each_time(server: Server) -> None:
    path = server.url.raw_path.encode() + b"missing"
    get = b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % path
    answers = await exchange(
        server, get, b"\r\n", get, b"\r\n", get, b"Connection: close\r\n\r\n"
    )
    assert answers.count(b"HTTP/1.1 404 Not Found") == 3
    assert answers.count(b'{"error": "there is nothing here"}') == 3


@pytest.mark.parametrize(
    "query",
    [
        "",
        "name=",
        "name=ann&name=bob",
        "name=" + "x" * 65,
        "name=%00",
        "name=a%0D%0Ab",
        "name=%C2%85",
        "name=%E2%80%AE",
    ],
)
async def test_a_bad_name_is_refused_each_time(
    client: ClientSession, query: str
) -> None:
    for _ in range(2):
        async with client.get(f"greeting?{query}") as response:
            answer = await response.json()
        assert response.status == 400
        assert list(answer) == ["error"]
        assert "X-Cache" not in response.headers


@pytest.mark.parametrize("query", [b"name=\xff", b"name=%ED%A0%80", b"name"])
async def test_a_name_that_is_no_utf_8_is_no_server_error(
    server: Server, query: bytes
) -> None:
    path = server.url.raw_path.encode() + b"greeting?" + query
    answer = await exchange(
        server,
        b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Connection: close\r\n\r\n",
    )
    assert answer.split(b" ", 2)[1] in {b"200", b"400"}


async def test_another_method_is_not_answered_from_the_cache(
    client: ClientSession,
) -> None:
    await was_reused(client, "greeting?name=ann")
    async with client.post("greeting?name=ann") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"


async def test_an_answer_is_made_of_bytes_with_its_content_type(
    client: ClientSession,
) -> None:
    types = []
    for _ in range(2):
        async with client.get("greeting?name=ann") as response:
            types.append(response.headers["Content-Type"])
    assert types == ["application/json; charset=utf-8"] * 2


@pytest.mark.parametrize(
    "path", ["greeting?name=ann", "fresh", "missing", "nowhere"]
)
async def test_each_response_has_headers_of_its_own(
    client: ClientSession, path: str
) -> None:
    for _ in range(3):
        began = time.monotonic()
        async with client.get(path) as response:
            [timing] = response.headers.getall("Server-Timing")
        elapsed = (time.monotonic() - began) * 1000
        name, milliseconds = timing.split(";dur=")
        assert name == "app"
        assert 0 <= float(milliseconds) <= elapsed


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "nowhere", 404), ("POST", "greeting", 405)],
)
async def test_an_error_of_aiohttp_is_json_each_time(
    client: ClientSession, method: str, path: str, status: int
) -> None:
    for _ in range(2):
        async with client.request(method, path) as response:
            assert response.status == status
            assert list(await response.json()) == ["error"]


async def test_the_oldest_answer_makes_room(
    serve: Serve,
    recipe: Any,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipe, "MAX_ANSWERS", 10)
    server = await serve(recipe.create_app(**options))
    async with ClientSession(server.url) as client:
        for number in range(10):
            assert not await was_reused(client, f"greeting?name={number}")
        assert await was_reused(client, "greeting?name=0")
        assert not await was_reused(client, "greeting?name=new")
        assert await was_reused(client, "greeting?name=1")
        assert not await was_reused(client, "greeting?name=0")


async def test_an_answer_that_is_marked_as_not_reusable_is_not_kept(
    serve: Serve, recipe: Any, options: dict[str, Any]
) -> None:
    numbers = iter("123")

    async def handler(request: web.Request) -> web.Response:
        response = web.Response(text=next(numbers))
        response[recipe.REUSABLE] = False
        return response

    app = recipe.create_app(**options)
    app.router.add_get("/number", handler)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for number in "12":
            async with client.get("number") as response:
                assert await response.text() == number


async def test_bytes_without_a_content_type_are_kept(
    serve: Serve, recipe: Any, options: dict[str, Any]
) -> None:
    async def handler(request: web.Request) -> web.Response:
        response = web.Response(body=b"bytes")
        response[recipe.REUSABLE] = True
        return response

    app = recipe.create_app(**options)
    app.router.add_get("/bytes", handler)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for cache in ("miss", "hit"):
            async with client.get("bytes") as response:
                assert await response.read() == b"bytes"
                assert response.content_type == "application/octet-stream"
                assert response.headers["X-Cache"] == cache


async def test_a_stream_is_neither_kept_nor_changed(
    serve: Serve, recipe: Any, options: dict[str, Any]
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response[recipe.REUSABLE] = True
        await response.prepare(request)
        await response.write(b"piece")
        return response

    app = recipe.create_app(**options)
    app.router.add_get("/stream", handler)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for _ in range(2):
            async with client.get("stream") as response:
                assert await response.text() == "piece"
                assert "X-Cache" not in response.headers


async def test_two_applications_share_no_answers(
    serve: Serve, recipe: Any, options: dict[str, Any]
) -> None:
    for _ in range(2):
        server = await serve(recipe.create_app(**options))
        async with ClientSession(server.url) as client:
            assert not await was_reused(client, "greeting?name=ann")


async def test_a_handler_without_an_answer_is_a_server_error_each_time(
    serve: Serve,
    recipe: Tier,
    options: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def forget(request: web.Request) -> web.Response:
        return None  # type: ignore[return-value]

    app = recipe.create_app(**options)
    app.router.add_get("/forgetful", forget)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for _ in range(2):
            async with client.get("forgetful") as response:
                assert response.status == 500
    assert "Missing return statement" in caplog.text
