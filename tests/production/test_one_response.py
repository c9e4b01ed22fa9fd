"""Proofs for recipes/production/one_response.py, beside those of the answer."""

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import ClientSession, web
from aiohttp.typedefs import Handler, Middleware

from recipes.production import one_response
from recipes.production.one_response import REUSABLE
from tests.conftest import Serve
from tests.servers import TIMEOUT, Server, exchange
from tests.test_one_response import was_reused


@pytest.fixture
def application() -> web.Application:
    return one_response.create_app()


async def test_the_oldest_answer_makes_room(serve: Serve) -> None:
    server = await serve(one_response.create_app(max_answers=2))
    async with ClientSession(server.url) as client:
        for name in ("ann", "bob", "eve"):
            assert not await was_reused(client, f"greeting?name={name}")
        assert await was_reused(client, "greeting?name=eve")
        assert await was_reused(client, "greeting?name=bob")
        assert not await was_reused(client, "greeting?name=ann")


async def test_an_old_answer_is_not_reused(serve: Serve) -> None:
    server = await serve(one_response.create_app(max_age=0))
    async with ClientSession(server.url) as client:
        assert not await was_reused(client, "greeting?name=ann")
        assert not await was_reused(client, "greeting?name=ann")


async def test_answers_to_one_host_are_not_sent_to_another(
    server: Server,
) -> None:
    path = server.url.raw_path.encode() + b"greeting?name=ann"
    for host in (b"localhost", b"127.0.0.1"):
        answer = await exchange(
            server,
            b"GET %b HTTP/1.1\r\nHost: %b\r\n" % (path, host),
            b"Connection: close\r\n\r\n",
        )
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"Age: " not in answer


# What the middleware does around other handlers than the recipe's own.

Make = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


async def make_plain(request: web.Request, text: str) -> web.StreamResponse:
    headers = {"ETag": f'"{text}"', "Content-Language": "en"}
    return web.Response(text=text, headers=headers)


async def make_cookie(request: web.Request, text: str) -> web.StreamResponse:
    response = web.Response(text=text)
    response.set_cookie("user", text)
    return response


async def make_cookie_header(
    request: web.Request, text: str
) -> web.StreamResponse:
    return web.Response(text=text, headers={"set-cookie": f"user={text}"})


async def make_own_header(
    request: web.Request, text: str
) -> web.StreamResponse:
    return web.Response(text=text, headers={"X-Request-ID": text})


async def make_vary(request: web.Request, text: str) -> web.StreamResponse:
    return web.Response(text=text, headers={"Vary": "Accept-Language"})


async def make_created(request: web.Request, text: str) -> web.StreamResponse:
    return web.Response(text=text, status=201)


async def make_large(request: web.Request, text: str) -> web.StreamResponse:
    return web.Response(text=text.ljust(one_response.MAX_BODY + 1))


async def make_mutable(request: web.Request, text: str) -> web.StreamResponse:
    return web.Response(body=bytearray(text.encode()))


async def make_payload(request: web.Request, text: str) -> web.StreamResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield text.encode()

    return web.Response(body=pieces())


async def make_stream(request: web.Request, text: str) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(text.encode())
    return response


async def make_sent(request: web.Request, text: str) -> web.StreamResponse:
    response = web.Response(text=text)
    await response.prepare(request)
    await response.write_eof()
    return response


def numbered(make: Make, *middlewares: Middleware) -> web.Application:
    """Serve what `make` makes of the number of the call, marked as reusable."""
    numbers = itertools.count(1)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await make(request, str(next(numbers)))
        response[REUSABLE] = True
        return response

    cache = one_response.cache(max_age=60, max_answers=10)
    app = web.Application(middlewares=[*middlewares, cache])
    app.router.add_get("/", handler)
    app.router.add_post("/", handler)
    return app


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    clock = Clock()
    monkeypatch.setattr(one_response, "time", clock)
    return clock


class Clock:
    """A clock that the test turns on: no test has to wait for an age."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


async def test_an_answer_has_its_age_and_is_made_again_at_max_age(
    client: ClientSession, clock: Clock
) -> None:
    ages = []
    for now in (1000.0, 1000.0, 1059.9, 1060.0, 1061.0):
        clock.now = now
        async with client.get("greeting?name=ann") as response:
            ages.append(response.headers.get("Age"))
    assert ages == [None, "0", "59", None, "1"]


async def test_a_refreshed_answer_is_not_evicted_first(
    serve: Serve, clock: Clock
) -> None:
    app = one_response.create_app(max_age=60, max_answers=2)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for name in ("ann", "bob"):
            assert not await was_reused(client, f"greeting?name={name}")
        clock.now += 60
        assert not await was_reused(client, "greeting?name=ann")
        assert not await was_reused(client, "greeting?name=eve")
        assert await was_reused(client, "greeting?name=ann")


async def test_a_compressed_answer_is_compressed_on_a_hit(
    serve: Serve,
) -> None:
    async def make(request: web.Request, text: str) -> web.StreamResponse:
        response = web.Response(text=text * 1000)
        response.enable_compression()
        return response

    server = await serve(numbered(make))
    async with ClientSession(server.url) as client:
        for accepted in ("gzip", "gzip", "identity", "gzip"):
            headers = {"Accept-Encoding": accepted}
            async with client.get("", headers=headers) as response:
                assert await response.text() == "1" * 1000
                coding = response.headers.get("Content-Encoding", "identity")
            assert coding == accepted


async def test_an_answer_is_kept_with_its_headers(serve: Serve) -> None:
    server = await serve(numbered(make_plain))
    async with ClientSession(server.url) as client:
        for _ in range(3):
            async with client.get("") as response:
                assert await response.text() == "1"
                assert response.headers["ETag"] == '"1"'
                assert response.headers["Content-Language"] == "en"
                assert response.content_type == "text/plain"


@pytest.mark.parametrize(
    "make",
    [
        make_cookie,
        make_cookie_header,
        make_own_header,
        make_vary,
        make_created,
        make_large,
        make_mutable,
        make_payload,
        make_stream,
        make_sent,
    ],
)
async def test_what_is_not_for_everybody_is_not_kept(
    serve: Serve, make: Make
) -> None:
    server = await serve(numbered(make))
    async with ClientSession(server.url) as client:
        for number in ("1", "2"):
            async with client.get("") as response:
                assert (await response.text()).rstrip() == number


async def test_the_largest_body_is_kept(serve: Serve) -> None:
    async def make(request: web.Request, text: str) -> web.StreamResponse:
        return web.Response(text=text.ljust(one_response.MAX_BODY))

    server = await serve(numbered(make))
    async with ClientSession(server.url) as client:
        assert not await was_reused(client, "")
        assert await was_reused(client, "")


async def test_a_post_is_neither_kept_nor_answered_from_the_cache(
    serve: Serve,
) -> None:
    server = await serve(numbered(make_plain))
    answers = []
    async with ClientSession(server.url) as client:
        for method in ("POST", "GET", "POST", "GET"):
            async with client.request(method, "") as response:
                answers.append(await response.text())
    assert answers == ["1", "2", "3", "2"]


async def test_a_header_set_further_out_is_in_one_response_only(
    serve: Serve,
) -> None:
    @web.middleware
    async def greet_user(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        response = await handler(request)
        if user := request.query.get("user"):
            response.set_cookie("user", user)
            response.headers["X-User"] = user
        return response

    @web.middleware
    async def drop_query(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        return await handler(request.clone(rel_url="/"))

    server = await serve(numbered(make_plain, greet_user, drop_query))
    async with ClientSession(server.url) as client:
        for user in ("", "ann", "", "bob"):
            async with client.get("", params={"user": user}) as response:
                assert await response.text() == "1"
            assert response.headers.get("X-User", "") == user
            assert ("Set-Cookie" in response.headers) == bool(user)


async def test_a_websocket_passes(serve: Serve) -> None:
    async def greet(request: web.Request, text: str) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(text)
        await socket.close()
        return socket

    server = await serve(numbered(greet))
    async with ClientSession(server.url) as client:
        for number in ("1", "2"):
            async with client.ws_connect("") as socket:
                assert await socket.receive_str(timeout=TIMEOUT) == number


# The wrong ways, which the docstrings describe.


async def answers(client: ClientSession, path: str = "") -> int | None:
    """Return the status, or None where no answer comes within a second."""
    try:
        async with asyncio.timeout(1), client.get(path) as response:
            return response.status
    except TimeoutError:
        return None


async def greet(request: web.Request) -> web.Response:
    return web.Response(text="hi")


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
async def test_the_middleware_of_the_faq_hangs_the_second_client(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def misbehaved_middleware() -> Middleware:
        cached = web.Response(status=200, text="Hi, I am cached!")

        @web.middleware
        async def middleware(
            request: web.Request, handler: Handler
        ) -> web.StreamResponse:
            _res = handler(request)
            return cached

        return middleware

    caplog.set_level("INFO", logger="aiohttp.access")
    app = web.Application(middlewares=[misbehaved_middleware()])
    app.router.add_get("/", greet)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        assert [await answers(client) for _ in range(2)] == [200, None]
    assert caplog.text.count('"GET / HTTP/1.1" 200') == 2


async def test_an_exception_raised_twice_hangs_the_second_client(
    serve: Serve,
) -> None:
    refusal = web.HTTPForbidden()

    async def refuse(request: web.Request) -> web.Response:
        raise refusal

    app = web.Application()
    app.router.add_get("/", refuse)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        assert [await answers(client) for _ in range(2)] == [403, None]


@pytest.mark.filterwarnings("ignore:old-style middleware:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:coroutine 'greet':RuntimeWarning")
async def test_a_middleware_without_its_decorator_is_a_server_error(
    serve: Serve,
) -> None:
    cached = web.Response(text="Hi, I am cached!")

    async def middleware(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        _res = handler(request)
        return cached

    app = web.Application(middlewares=[middleware])
    app.router.add_get("/", greet)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        assert [await answers(client) for _ in range(2)] == [500, 500]


async def test_a_middleware_whose_parameter_is_not_handler_is_a_server_error(
    serve: Serve,
) -> None:
    @web.middleware
    async def middleware(
        request: web.Request, h: Handler
    ) -> web.StreamResponse:
        return await h(request)

    app = web.Application(middlewares=[middleware])  # type: ignore[list-item]
    app.router.add_get("/", greet)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        assert await answers(client) == 500


async def test_a_copied_response_brings_the_cookie_of_another(
    serve: Serve,
) -> None:
    template = web.Response(text="hi")

    async def copied(request: web.Request) -> web.Response:
        response = copy.copy(template)
        if user := request.query.get("user"):
            response.set_cookie("user", user)
        return response

    app = web.Application()
    app.router.add_get("/", copied)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        async with client.get("?user=ann"):
            pass
        async with client.get("") as response:
            assert response.headers["Set-Cookie"] == "user=ann; Path=/"
