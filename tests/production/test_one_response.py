"""Proofs for recipes/production/one_response.py, beside those of the answer."""

import asyncio
import copy
import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiohttp import ClientSession, ClientTimeout, web
from aiohttp.typedefs import Handler, Middleware
from redis import Redis
from yarl import URL

from recipes.production import one_response
from recipes.production.one_response import CACHE, REUSABLE, Cache, forget
from tests.conftest import KillableRedis, Serve
from tests.engines import as_replica
from tests.servers import (
    PATIENCE,
    ROOT,
    START_TIMEOUT,
    TIMEOUT,
    Server,
    exchange,
    forked,
)
from tests.test_one_response import emptied, was_reused


@pytest.fixture
def url(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Redis without answers, which has the time of a busy machine."""
    monkeypatch.setattr(one_response, "REDIS_TIMEOUT", TIMEOUT)
    return emptied(redis_url)


@pytest.fixture
def application(url: str) -> web.Application:
    return one_response.create_app(redis_url=url)


class Browse(Protocol):
    """The fixture `browse`."""

    async def __call__(
        self, server: Server, **headers: str
    ) -> ClientSession: ...


@pytest.fixture
async def browse() -> AsyncIterator[Browse]:
    """A function that makes a client of a worker, under the name of all.

    In production, a proxy has this name, and chooses the worker.
    """
    async with AsyncExitStack() as stack:

        async def browse(server: Server, **headers: str) -> ClientSession:
            session = ClientSession(
                server.url,
                headers={"Host": "cook.example", **headers},
                timeout=ClientTimeout(total=TIMEOUT),
            )
            return await stack.enter_async_context(session)

        yield browse


Make = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


class Counter:
    """A handler that makes something of the number of its call.

    It waits at its gate, where a test has closed it.
    """

    def __init__(self, make: Make) -> None:
        self.make = make
        self.arrived = 0
        self.left = 0
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        text = str(self.calls)
        await self.gate.wait()
        response = await self.make(request, text)
        response[REUSABLE] = True
        return response

    async def until(self, calls: int, arrived: int, left: int = 0) -> None:
        """Wait for so many calls, and for requests that come and leave."""
        async with asyncio.timeout(TIMEOUT):
            while (  # noqa: ASYNC110
                self.calls < calls or self.arrived < arrived or self.left < left
            ):
                await asyncio.sleep(0)

    def create_app(self, url: str, *middlewares: Middleware) -> web.Application:
        """Make a worker that serves this handler at `/`."""

        @web.middleware
        async def count(
            request: web.Request, handler: Handler
        ) -> web.StreamResponse:
            self.arrived += 1
            try:
                return await handler(request)
            finally:
                self.left += 1

        app = create_app(self.handle, url, *middlewares)
        app.middlewares.insert(0, count)
        return app


def create_app(
    handler: Handler, url: str, *middlewares: Middleware
) -> web.Application:
    """Serve a handler at `/`, behind middlewares and those of the recipe."""
    app = one_response.create_app(redis_url=url)
    for middleware in reversed(middlewares):
        app.middlewares.insert(0, middleware)
    app.router.add_get("/", handler)
    app.router.add_post("/", handler)
    return app


async def make_plain(request: web.Request, text: str) -> web.StreamResponse:
    headers = {"ETag": f'"{text}"', "Content-Language": "en"}
    return web.Response(text=text, headers=headers)


async def until_reused(client: ClientSession, path: str) -> None:
    """Wait until an answer is taken from a Redis that is back."""
    async with asyncio.timeout(TIMEOUT):
        while not await was_reused(client, path):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def read(client: ClientSession, path: str = "", **options: Any) -> str:
    """Return the body of an answer."""
    async with client.get(path, **options) as response:
        return await response.text()


def grow_older(url: str, seconds: int) -> None:
    """Let time pass for all that is kept."""
    with Redis.from_url(url) as redis:
        for key in redis.scan_iter("one_response:answer:*"):
            left: Any = redis.ttl(key)
            # Redis deletes what has no time left.
            redis.expire(key, left - seconds)


def looks(url: str) -> int:
    """Count the looks for an answer since the counters of Redis were reset."""
    with Redis.from_url(url) as redis:
        commands: Any = redis.info("commandstats")
    return int(commands.get("cmdstat_ttl", {"calls": 0})["calls"])


def kept(url: str) -> list[str]:
    """Return the kinds of all that is in Redis: leases and answers."""
    with Redis.from_url(url, decode_responses=True) as redis:
        keys: Any = redis.scan_iter("one_response:[al]*:*")
        return [key.split(":")[1] for key in keys]


# What is kept


async def test_the_oldest_answer_makes_room_on_all_workers_together(
    serve: Serve, url: str, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_response, "MAX_ANSWERS", 2)
    workers = [
        await serve(one_response.create_app(redis_url=url)) for _ in range(2)
    ]
    here, there = [await browse(worker) for worker in workers]
    for name in ("ann", "bob"):
        assert not await was_reused(here, f"greeting?name={name}")
    assert not await was_reused(there, "greeting?name=eve")
    assert await was_reused(here, "greeting?name=eve")
    assert await was_reused(here, "greeting?name=bob")
    assert kept(url) == ["answer"] * 2
    assert not await was_reused(here, "greeting?name=ann")
    assert kept(url) == ["answer"] * 2
    with Redis.from_url(url) as redis:
        assert redis.zcard(one_response.INDEX) == 2


async def test_an_answer_has_its_age_and_is_sent_until_max_age(
    client: ClientSession, url: str
) -> None:
    ages = []
    for seconds in (0, 0, 40, 60):
        grow_older(url, seconds)
        async with client.get("greeting?name=ann") as response:
            ages.append(int(response.headers.get("Age", "-1")))
    new, fresh, old, new_again = ages
    assert new == new_again == -1
    # The test itself takes a moment.
    assert 0 <= fresh < 10
    assert 40 <= old < 50


async def test_redis_forgets_what_nobody_asks_for(
    client: ClientSession, url: str
) -> None:
    await was_reused(client, "greeting?name=ann")
    async with client.post("forget"):
        pass
    lives = {"answer": 60, "generation": 24 * 60 * 60}
    with Redis.from_url(url) as redis:
        for kind, seconds in lives.items():
            [key] = redis.scan_iter(f"one_response:{kind}:*")
            left: Any = redis.ttl(key)
            assert seconds - 10 < left <= seconds


async def test_a_refreshed_answer_is_not_evicted_first(
    client: ClientSession, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_response, "MAX_ANSWERS", 2)
    for name in ("ann", "bob"):
        assert not await was_reused(client, f"greeting?name={name}")
    grow_older(url, 60)
    assert not await was_reused(client, "greeting?name=ann")
    assert not await was_reused(client, "greeting?name=eve")
    assert await was_reused(client, "greeting?name=ann")


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


async def test_a_compressed_answer_is_compressed_on_a_hit(
    serve: Serve, url: str
) -> None:
    async def make(request: web.Request, text: str) -> web.StreamResponse:
        response = web.Response(text=text * 1000, headers={"ETag": '"x"'})
        response.enable_compression()
        return response

    server = await serve(Counter(make).create_app(url))
    async with ClientSession(server.url) as client:
        for accepted in ("gzip", "gzip", "identity", "gzip"):
            headers = {"Accept-Encoding": accepted}
            async with client.get("", headers=headers) as response:
                assert await response.text() == "1" * 1000
                coding = response.headers.get("Content-Encoding", "identity")
            assert coding == accepted
            # A cache on the way has to know.
            assert response.headers["Vary"] == "Accept-Encoding"
            assert response.headers["ETag"] == 'W/"x"'


async def test_an_answer_is_kept_with_its_headers(
    serve: Serve, url: str
) -> None:
    async def make(request: web.Request, text: str) -> web.StreamResponse:
        response = await make_plain(request, text)
        response.headers["Vary"] = "Accept-Encoding"
        return response

    server = await serve(Counter(make).create_app(url))
    async with ClientSession(server.url) as client:
        for _ in range(3):
            async with client.get("") as response:
                assert await response.text() == "1"
                assert response.headers["ETag"] == '"1"'
                assert response.headers["Content-Language"] == "en"
                assert response.headers["Vary"] == "Accept-Encoding"
                assert response.content_type == "text/plain"


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
    return web.Response(text=text, headers={"Vary": "Accept, Cookie"})


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
    serve: Serve, url: str, make: Make
) -> None:
    server = await serve(Counter(make).create_app(url))
    async with ClientSession(server.url) as client:
        for number in ("1", "2"):
            assert (await read(client)).rstrip() == number
    assert kept(url) == []


async def test_a_stream_that_was_not_begun_has_no_body_to_keep(
    serve: Serve, url: str
) -> None:
    async def make(request: web.Request, text: str) -> web.StreamResponse:
        return web.StreamResponse(headers={"ETag": f'"{text}"'})

    server = await serve(Counter(make).create_app(url))
    async with ClientSession(server.url) as client:
        for number in ("1", "2"):
            async with client.get("") as response:
                assert response.status == 200
            assert response.headers["ETag"] == f'"{number}"'


async def test_the_largest_body_is_kept(serve: Serve, url: str) -> None:
    async def make(request: web.Request, text: str) -> web.StreamResponse:
        return web.Response(body=os.urandom(one_response.MAX_BODY))

    server = await serve(Counter(make).create_app(url))
    async with ClientSession(server.url) as client:
        bodies = set()
        for cache in ("miss", "hit"):
            async with client.get("") as response:
                bodies.add(await response.read())
            assert response.headers["X-Cache"] == cache
        assert len(bodies) == 1


async def test_a_post_is_neither_kept_nor_answered_from_the_cache(
    serve: Serve, url: str
) -> None:
    server = await serve(Counter(make_plain).create_app(url))
    answers = []
    async with ClientSession(server.url) as client:
        for method in ("POST", "GET", "POST", "GET"):
            async with client.request(method, "") as response:
                answers.append(await response.text())
    assert answers == ["1", "2", "3", "2"]


async def test_a_get_with_a_body_is_neither_kept_nor_answered_from_the_cache(
    serve: Serve, url: str
) -> None:
    server = await serve(Counter(make_plain).create_app(url))
    async with ClientSession(server.url) as client:
        answers = [await read(client, data=body) for body in ("a", None, "a")]
    assert answers == ["1", "2", "3"]


async def test_a_header_set_further_out_is_in_one_response_only(
    serve: Serve, url: str
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

    counter = Counter(make_plain)
    server = await serve(counter.create_app(url, greet_user, drop_query))
    async with ClientSession(server.url) as client:
        for user in ("", "ann", "", "bob"):
            async with client.get("", params={"user": user}) as response:
                assert await response.text() == "1"
            assert response.headers.get("X-User", "") == user
            assert ("Set-Cookie" in response.headers) == bool(user)


@pytest.fixture
def long_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever waits for the answer of another wait for a minute."""
    monkeypatch.setattr(one_response, "LEASE", PATIENCE)


async def test_websockets_do_not_wait_for_each_other(
    long_lease: None, serve: Serve, url: str
) -> None:
    async def greet(request: web.Request, text: str) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(text)
        await socket.receive()
        return socket

    server = await serve(Counter(greet).create_app(url))
    async with (
        asyncio.timeout(TIMEOUT),
        ClientSession(server.url) as client,
        client.ws_connect("") as first,
        client.ws_connect("") as second,
    ):
        assert await first.receive_str() == "1"
        assert await second.receive_str() == "2"


async def test_streams_do_not_wait_for_each_other(
    long_lease: None, serve: Serve, url: str, browse: Browse
) -> None:
    ended = asyncio.Event()

    async def stream(request: web.Request, text: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(text.encode())
        await ended.wait()
        return response

    counter = Counter(stream)
    counter.gate.clear()
    client = await browse(await serve(counter.create_app(url)))
    # The second one comes before it is known that the first one is a stream.
    opening = []
    for number in range(1, 3):
        opening.append(asyncio.create_task(client.get("")))
        await counter.until(calls=1, arrived=number)
    counter.gate.set()
    async with asyncio.timeout(TIMEOUT):
        streams = [*await asyncio.gather(*opening), await client.get("")]
        pieces = [await each.content.readexactly(1) for each in streams]
    assert pieces == [b"1", b"2", b"3"]
    ended.set()
    for each in streams:
        each.close()


async def test_what_was_never_for_others_is_not_looked_for(
    serve: Serve, url: str
) -> None:
    app = one_response.create_app(redis_url=url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        await read(client, "fresh")
        with Redis.from_url(url) as redis:
            redis.config_resetstat()
            await read(client, "fresh")
        assert looks(url) == 0
        await was_reused(client, "greeting?name=ann")
        assert looks(url)


async def test_a_handler_that_has_refused_may_opt_in(
    client: ClientSession,
) -> None:
    async with client.get("greeting") as response:
        assert response.status == 400
    assert not await was_reused(client, "greeting?name=ann")
    assert await was_reused(client, "greeting?name=ann")


async def test_a_handler_may_opt_in_now_and_then(
    serve: Serve, url: str
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.Response(text="for all" if request.query else "for one")
        response[REUSABLE] = bool(request.query)
        return response

    server = await serve(create_app(handler, url))
    async with ClientSession(server.url) as client:
        await read(client)
        await read(client, "?all")
        assert not await was_reused(client, "?all")
        await read(client)
        assert await was_reused(client, "?all")


# Validators


@pytest.mark.parametrize(
    "known", ['"1"', 'W/"1"', '"0", "1"', "*", 'W/"0",W/"1"']
)
async def test_who_has_the_answer_gets_a_304(
    serve: Serve, url: str, known: str
) -> None:
    server = await serve(Counter(make_plain).create_app(url))
    headers = {"If-None-Match": known}
    async with ClientSession(server.url) as client:
        for method, cache in [("GET", "miss"), ("GET", "hit"), ("HEAD", "hit")]:
            async with client.request(method, "", headers=headers) as response:
                assert response.status == 304
                assert await response.read() == b""
            assert response.headers["ETag"] == '"1"'
            assert response.headers["X-Cache"] == cache
            assert "Content-Type" not in response.headers
        assert await read(client) == "1"


@pytest.mark.parametrize("known", ['"0"', "1", "", '"', "W/1", "\xff"])
async def test_who_has_another_answer_gets_this_one(
    serve: Serve, url: str, known: str
) -> None:
    server = await serve(Counter(make_plain).create_app(url))
    async with ClientSession(server.url) as client:
        for _ in range(2):
            assert await read(client, headers={"If-None-Match": known}) == "1"


async def test_an_answer_without_a_validator_gets_one(
    client: ClientSession,
) -> None:
    tags = set()
    for name in ("ann", "ann", "bob"):
        async with client.get(f"greeting?name={name}") as response:
            tags.add(response.headers["ETag"])
    assert len(tags) == 2


# Variants


@pytest.fixture
def by_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers may depend on the language: the name is a line of the file."""
    monkeypatch.setattr(one_response, "VARY_BY", ["accept-language"])


async def make_greeting(request: web.Request, text: str) -> web.StreamResponse:
    language = request.headers["Accept-Language"]
    headers = {"Vary": "Accept-Language, Accept-Encoding"}
    return web.Response(text=f"{language} {text}", headers=headers)


@pytest.mark.usefixtures("by_language")
async def test_an_answer_that_varies_is_kept_for_each_language(
    serve: Serve, url: str, browse: Browse
) -> None:
    counter = Counter(make_greeting)
    here = await serve(counter.create_app(url))
    there = await serve(counter.create_app(url))
    answers = []
    for worker in (here, there):
        for language in ("de", "fr", "de"):
            client = await browse(worker, **{"Accept-Language": language})
            answers.append(await read(client))
    assert answers == ["de 1", "fr 2", "de 1"] * 2


async def test_an_answer_that_varies_by_what_no_line_names_is_not_kept(
    serve: Serve, url: str, browse: Browse
) -> None:
    server = await serve(Counter(make_greeting).create_app(url))
    client = await browse(server, **{"Accept-Language": "de"})
    assert [await read(client) for _ in range(2)] == ["de 1", "de 2"]


@pytest.mark.usefixtures("by_language")
async def test_a_stampede_in_two_languages_has_two_answers_made(
    serve: Serve, url: str, browse: Browse
) -> None:
    counter = Counter(make_greeting)
    counter.gate.clear()
    server = await serve(counter.create_app(url))
    german = await browse(server, **{"Accept-Language": "de"})
    french = await browse(server, **{"Accept-Language": "fr"})
    reading = [
        asyncio.create_task(read(client)) for client in [german, french] * 20
    ]
    await counter.until(calls=2, arrived=40)
    counter.gate.set()
    answers = await asyncio.gather(*reading)
    assert len(set(answers)) == 2
    assert counter.calls == 2


# Who makes an answer


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_stampede_meets_the_handler_once(
    serve: Serve, url: str, browse: Browse, count: int
) -> None:
    counter = Counter(make_plain)
    counter.gate.clear()
    workers = [await serve(counter.create_app(url)) for _ in range(count)]
    browsers = [await browse(worker) for worker in workers]
    with Redis.from_url(url) as redis:
        redis.config_resetstat()
    reading = [asyncio.create_task(read(client)) for client in browsers * 30]
    await counter.until(calls=1, arrived=30 * count)
    async with asyncio.timeout(TIMEOUT):
        # Each worker has looked for it while nothing was there.
        while looks(url) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    counter.gate.set()
    assert set(await asyncio.gather(*reading)) == {"1"}
    assert counter.calls == 1
    assert kept(url) == ["answer"]


async def test_who_waits_for_another_worker_looks_now_and_then(
    long_lease: None, serve: Serve, url: str, browse: Browse
) -> None:
    counter = Counter(make_plain)
    counter.gate.clear()
    workers = [await serve(counter.create_app(url)) for _ in range(2)]
    here, there = [await browse(worker) for worker in workers]
    reading = [asyncio.create_task(read(here))]
    await counter.until(calls=1, arrived=1)
    reading.append(asyncio.create_task(read(there)))
    await counter.until(calls=1, arrived=2)
    with Redis.from_url(url) as redis:
        redis.config_resetstat()
        await asyncio.sleep(0.5)
    assert 1 <= looks(url) <= 12
    counter.gate.set()
    assert await asyncio.gather(*reading) == ["1", "1"]
    assert counter.calls == 1


async def test_an_answer_leaves_nothing_in_the_worker_that_made_it(
    serve: Serve, url: str
) -> None:
    app = Counter(make_plain).create_app(url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        await read(client)
    assert not app[CACHE].tasks
    assert not app[CACHE].shared


async def test_an_answer_that_another_worker_has_just_kept_is_not_made_again(
    serve: Serve, url: str, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter(make_plain)
    workers = [await serve(counter.create_app(url)) for _ in range(2)]
    here, there = [await browse(worker) for worker in workers]
    take_lease = one_response.take_lease

    async def keep_one_and_take_lease(cache: Cache, key: str) -> bool:
        # Nothing was kept when the first one looked.
        monkeypatch.setattr(one_response, "take_lease", take_lease)
        assert await read(there) == "1"
        return await take_lease(cache, key)

    monkeypatch.setattr(one_response, "take_lease", keep_one_and_take_lease)
    assert await read(here) == "1"
    assert counter.calls == 1
    assert kept(url) == ["answer"]


async def test_a_stampede_on_an_answer_that_is_too_old_makes_one(
    serve: Serve, url: str, browse: Browse
) -> None:
    counter = Counter(make_plain)
    workers = [await serve(counter.create_app(url)) for _ in range(2)]
    browsers = [await browse(worker) for worker in workers]
    assert await read(browsers[0]) == "1"
    grow_older(url, 60)
    counter.gate.clear()
    reading = [asyncio.create_task(read(client)) for client in browsers * 5]
    await counter.until(calls=2, arrived=11)
    counter.gate.set()
    assert set(await asyncio.gather(*reading)) == {"2"}
    assert counter.calls == 2


@pytest.mark.parametrize("leaving", [1, 2])
async def test_who_leaves_does_not_end_it_for_the_others(
    serve: Serve, url: str, browse: Browse, leaving: int
) -> None:
    counter = Counter(make_plain)
    counter.gate.clear()
    app = counter.create_app(url)
    client = await browse(await serve(app, handler_cancellation=True))
    reading = []
    for number in range(1, 4):
        reading.append(asyncio.create_task(read(client)))
        await counter.until(calls=1, arrived=number)
    for task in reading[:leaving]:
        task.cancel()
    await counter.until(calls=1, arrived=3, left=leaving)
    counter.gate.set()
    assert await reading[2] == "1"
    assert counter.calls == 1


async def test_an_error_whose_client_has_left_leaves_no_traceback(
    serve: Serve, url: str, browse: Browse, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: web.Request, text: str) -> web.StreamResponse:
        raise web.HTTPConflict(text=text)

    counter = Counter(fail)
    counter.gate.clear()
    app = counter.create_app(url)
    client = await browse(await serve(app, handler_cancellation=True))
    reading = asyncio.create_task(read(client))
    await counter.until(calls=1, arrived=1)
    reading.cancel()
    await counter.until(calls=1, arrived=1, left=1)
    counter.gate.set()
    async with asyncio.timeout(TIMEOUT):
        while app[CACHE].tasks:  # noqa: ASYNC110
            await asyncio.sleep(0)
    # An error that nobody got is told when it is collected.
    gc.collect()
    assert not caplog.messages


async def test_a_redirect_tells_the_time_it_took(
    serve: Serve, url: str
) -> None:
    async def move(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/elsewhere")

    server = await serve(create_app(move, url))
    async with (
        ClientSession(server.url) as client,
        client.get("", allow_redirects=False) as response,
    ):
        assert response.status == 302
        assert response.headers["Server-Timing"].startswith("app;dur=")


async def test_an_error_is_made_for_each_and_keeps_no_lease(
    long_lease: None, serve: Serve, url: str, browse: Browse
) -> None:
    async def fail(request: web.Request, text: str) -> web.StreamResponse:
        raise web.HTTPServiceUnavailable(
            text=text, content_type="application/json"
        )

    counter = Counter(fail)
    counter.gate.clear()
    workers = [await serve(counter.create_app(url)) for _ in range(2)]
    browsers = [await browse(worker) for worker in workers]
    reading = [asyncio.create_task(read(client)) for client in browsers * 5]
    await counter.until(calls=1, arrived=10)
    with Redis.from_url(url) as redis:
        [lease] = redis.scan_iter("one_response:lease:*")
        # Who dies would hold it for ever.
        assert 0 < redis.ttl(lease) <= PATIENCE
    counter.gate.set()
    async with asyncio.timeout(TIMEOUT):
        assert len(set(await asyncio.gather(*reading))) == 10
    assert kept(url) == []


async def test_a_handler_that_hangs_keeps_others_for_the_lease_only(
    serve: Serve, url: str, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_response, "LEASE", 0.3)
    counter = Counter(make_plain)
    counter.gate.clear()
    workers = [await serve(counter.create_app(url)) for _ in range(2)]
    browsers = [await browse(worker) for worker in workers]
    hanging = asyncio.create_task(read(browsers[0]))
    await counter.until(calls=1, arrived=1)
    # Who is called now does not hang.
    gate = counter.gate
    counter.gate = asyncio.Event()
    counter.gate.set()
    reading = [asyncio.create_task(read(client)) for client in browsers * 5]
    assert set(await asyncio.gather(*reading)) == {"2"}
    assert counter.calls == 2
    gate.set()
    assert await hanging == "1"


async def test_nobody_waits_for_longer_than_two_leases(
    long_lease: None,
    serve: Serve,
    url: str,
    browse: Browse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counter = Counter(make_plain)
    counter.gate.clear()
    workers = [await serve(counter.create_app(url)) for _ in range(2)]
    browsers = [await browse(worker) for worker in workers]
    hanging = asyncio.create_task(read(browsers[0]))
    await counter.until(calls=1, arrived=1)
    # The lease of the first is still there when the second gives up.
    monkeypatch.setattr(one_response, "LEASE", 0.1)
    gate = counter.gate
    counter.gate = asyncio.Event()
    counter.gate.set()
    assert await read(browsers[1]) == "2"
    gate.set()
    assert await hanging == "1"


PROGRAM = """
import asyncio
import sys

sys.path.insert(0, sys.argv[2])

from aiohttp import web

from recipes.production import one_response


async def handler(request):
    print("entered", flush=True)
    await asyncio.sleep(60)


app = one_response.create_app(redis_url=sys.argv[1])
app.router.add_get("/", handler)
web.run_app(app, host="127.0.0.1", port=0)
"""


@pytest.mark.slow("it waits for the lease of a dead process")
async def test_where_a_worker_is_killed_as_it_makes_an_answer_another_makes_it(
    serve: Serve, url: str, browse: Browse, tmp_path: Path
) -> None:
    counter = Counter(make_plain)
    worker = await serve(counter.create_app(url))
    script = tmp_path / "worker.py"
    script.write_text(PROGRAM)
    async with (
        asyncio.timeout(START_TIMEOUT),
        forked(script, url, str(ROOT), cwd=tmp_path) as process,
        ClientSession(headers={"Host": "cook.example"}) as client,
    ):
        port = process.port
        dying = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/"))
        while not kept(url):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        browser = await browse(worker)
        reading = [asyncio.create_task(read(browser)) for _ in range(10)]
        await counter.until(calls=0, arrived=10)
        assert await process.end(signal.SIGKILL) == -signal.SIGKILL
        assert set(await asyncio.gather(*reading)) == {"1"}
        assert counter.calls == 1
        await asyncio.wait([dying])
        assert dying.exception()


async def test_what_is_being_made_ends_with_the_application(
    serve: Serve, url: str, browse: Browse
) -> None:
    async def make(request: web.Request, text: str) -> web.StreamResponse:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            # What it has opened may need a moment to close.
            await asyncio.sleep(0.1)
        return await make_plain(request, text)

    counter = Counter(make)
    app = counter.create_app(url)
    server = await serve(app, handler_cancellation=True)
    client = await browse(server)
    reading = asyncio.create_task(read(client))
    await counter.until(calls=1, arrived=1)
    reading.cancel()
    await counter.until(calls=1, arrived=1, left=1)
    [task] = app[CACHE].tasks
    async with asyncio.timeout(TIMEOUT):
        await server.stop()
    assert task.cancelled()
    assert kept(url) == []


# Forgetting


async def test_what_is_forgotten_is_forgotten_on_all_workers(
    serve: Serve, url: str, browse: Browse
) -> None:
    workers = [
        await serve(one_response.create_app(redis_url=url)) for _ in range(2)
    ]
    here, there = [await browse(worker) for worker in workers]
    spellings = [
        "greeting?name=ann",
        "greeting?name=%61nn",
        "%67reeting?name=ann",
    ]
    paths = [URL(spelling, encoded=True) for spelling in spellings]
    for path in paths:
        assert not await was_reused(here, path)
        assert await was_reused(there, path)
    async with here.post("forget") as response:
        assert response.status == 204
    for path in paths:
        assert not await was_reused(there, path)
        assert await was_reused(here, path)


async def test_who_comes_after_a_change_gets_no_answer_from_before(
    serve: Serve, url: str, browse: Browse
) -> None:
    counter = Counter(make_plain)
    counter.gate.clear()
    apps = [counter.create_app(url) for _ in range(2)]
    browsers = [await browse(await serve(app)) for app in apps]
    before = asyncio.create_task(read(browsers[0]))
    await counter.until(calls=1, arrived=1)
    await forget(apps[1], "/")
    # On the worker that is making it, and on the other one.
    after = [asyncio.create_task(read(client)) for client in browsers * 5]
    await counter.until(calls=1, arrived=11)
    counter.gate.set()
    assert await before == "1"
    assert set(await asyncio.gather(*after)) == {"2"}
    assert counter.calls == 2
    assert [await read(client) for client in browsers] == ["2", "2"]


async def test_without_redis_nothing_can_be_forgotten_and_the_reason_is_said(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    app = one_response.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    killable_redis.stop()
    async with (
        asyncio.timeout(TIMEOUT),
        ClientSession(server.url) as client,
        client.post("forget") as response,
    ):
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert "make cluster" in (await response.json())["error"]


# Redis is away, or has something else


async def test_without_redis_it_starts_and_answers_and_recovers_by_itself(
    serve: Serve,
    killable_redis: KillableRedis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    killable_redis.stop()
    app = one_response.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for _ in range(3):
            assert not await was_reused(client, "greeting?name=ann")
        assert caplog.text.count("no cache: ") == 1
        killable_redis.start()
        await until_reused(client, "greeting?name=ann")
        # Its memory is lost, and each answer is made once more.
        killable_redis.stop()
        # A minute later.
        app[CACHE].warned -= one_response.MAX_AGE
        assert not await was_reused(client, "greeting?name=ann")
        killable_redis.start()
        await until_reused(client, "greeting?name=ann")
    assert caplog.text.count("no cache: ") == 2


async def test_without_redis_a_stampede_meets_the_handler_once_on_a_worker(
    serve: Serve, killable_redis: KillableRedis, browse: Browse
) -> None:
    killable_redis.stop()
    counter = Counter(make_plain)
    counter.gate.clear()
    client = await browse(await serve(counter.create_app(killable_redis.url)))
    reading = [asyncio.create_task(read(client)) for _ in range(50)]
    await counter.until(calls=1, arrived=50)
    counter.gate.set()
    assert set(await asyncio.gather(*reading)) == {"1"}


@contextmanager
def frozen(redis: KillableRedis) -> Iterator[None]:
    os.killpg(redis.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(redis.process.pid, signal.SIGCONT)


@contextmanager
def full(redis: KillableRedis) -> Iterator[None]:
    with Redis.from_url(redis.url) as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


async def test_a_frozen_redis_holds_a_request_for_half_a_second_only(
    serve: Serve, killable_redis: KillableRedis, browse: Browse
) -> None:
    app = one_response.create_app(redis_url=killable_redis.url)
    client = await browse(await serve(app))
    await was_reused(client, "greeting?name=ann")
    paths = [f"greeting?name=user{number}" for number in range(40)]
    with frozen(killable_redis):
        async with asyncio.timeout(TIMEOUT):
            reused = [was_reused(client, path) for path in paths]
            assert not any(await asyncio.gather(*reused))
    await until_reused(client, "greeting?name=ann")


async def test_a_redis_that_freezes_as_an_answer_is_made_loses_none(
    serve: Serve, killable_redis: KillableRedis, browse: Browse
) -> None:
    counter = Counter(make_plain)
    counter.gate.clear()
    client = await browse(await serve(counter.create_app(killable_redis.url)))
    reading = asyncio.create_task(read(client))
    await counter.until(calls=1, arrived=1)
    with frozen(killable_redis):
        counter.gate.set()
        async with asyncio.timeout(TIMEOUT):
            assert await reading == "1"


@pytest.mark.slow("it fills a Redis")
async def test_a_redis_that_is_full_is_read(
    serve: Serve,
    killable_redis: KillableRedis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = one_response.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        assert not await was_reused(client, "greeting?name=ann")
        with full(killable_redis):
            for _ in range(2):
                assert not await was_reused(client, "greeting?name=bob")
                assert await was_reused(client, "greeting?name=ann")
            assert "OutOfMemory" in caplog.text
            async with client.post("forget") as response:
                assert response.status == 503
        assert not await was_reused(client, "greeting?name=bob")
        assert await was_reused(client, "greeting?name=bob")


@pytest.mark.slow("it fills a Redis")
async def test_a_redis_that_is_full_delays_nobody_and_is_told_once(
    serve: Serve,
    killable_redis: KillableRedis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Whoever waits for a lease gives up.
    monkeypatch.setattr(one_response, "LEASE", PATIENCE)
    app = one_response.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        assert not await was_reused(client, "greeting?name=ann")
        with full(killable_redis):
            async with asyncio.timeout(TIMEOUT):
                for number in range(5):
                    path = f"greeting?name=user{number}"
                    assert not await was_reused(client, path)
                    assert await was_reused(client, "greeting?name=ann")
            assert caplog.text.count("no cache: ") == 1
        await until_reused(client, "greeting?name=bob")


async def test_no_connection_stays_at_a_redis_that_has_become_a_replica(
    serve: Serve, killable_redis: KillableRedis
) -> None:
    app = one_response.create_app(redis_url=killable_redis.url)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        assert not await was_reused(client, "greeting?name=ann")
        async with (
            as_replica(killable_redis.url),
            client.post("forget") as response,
        ):
            assert response.status == 503
        async with client.post("forget") as response:
            assert response.status == 204


async def test_a_redis_that_lost_its_memory_does_not_know_what_was_forgotten(
    serve: Serve, killable_redis: KillableRedis, browse: Browse
) -> None:
    counter = Counter(make_plain)
    counter.gate.clear()
    app = counter.create_app(killable_redis.url)
    client = await browse(await serve(app))
    reading = asyncio.create_task(read(client))
    await counter.until(calls=1, arrived=1)
    await forget(app, "/")
    with Redis.from_url(killable_redis.url) as redis:
        redis.flushall()
    counter.gate.set()
    assert await reading == "1"
    # The docstring says so: for a minute.
    assert await read(client) == "1"
    grow_older(killable_redis.url, one_response.MAX_AGE)
    assert await read(client) == "2"


@pytest.mark.parametrize(
    ("command", "value"),
    [
        ("LPUSH", "garbage"),
        # What another version of the file may have kept.
        ("SET", "\n"),
        ("SET", "\n{\n"),
        ("SET", "\nnull\n"),
        ("SET", "\n[1, 2, 3]\n"),
        ("SET", '\n{"a": 1, "b": 2}\n'),
    ],
)
async def test_what_is_no_answer_of_ours_is_replaced(
    serve: Serve, url: str, command: str, value: str
) -> None:
    server = await serve(Counter(make_plain).create_app(url))
    async with ClientSession(server.url) as client:
        await read(client)
        with Redis.from_url(url) as redis:
            [key] = redis.scan_iter("one_response:answer:*")
            redis.delete(key)
            redis.execute_command(command, key, value)
        assert [await read(client) for _ in range(2)] == ["2", "2"]


async def test_garbage_in_place_of_the_index_keeps_nobody_from_an_answer(
    serve: Serve, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(Counter(make_plain).create_app(url))
    with Redis.from_url(url) as redis:
        redis.set(one_response.INDEX, "garbage")
    async with ClientSession(server.url) as client:
        assert await read(client) == "1"
    assert "WRONGTYPE" in caplog.text


async def test_an_url_that_asks_for_text_changes_nothing(
    serve: Serve, url: str
) -> None:
    async def make(request: web.Request, text: str) -> web.StreamResponse:
        return web.Response(body=b"\xff\n")

    url = f"{url}&decode_responses=True"
    server = await serve(Counter(make).create_app(url))
    async with ClientSession(server.url) as client:
        for cache in ("miss", "hit"):
            async with client.get("") as response:
                assert await response.read() == b"\xff\n"
            assert response.headers["X-Cache"] == cache


# The wrong ways, which the docstrings describe.


async def answers(client: ClientSession) -> int:
    async with asyncio.timeout(TIMEOUT), client.get("") as response:
        return response.status


async def hangs(client: ClientSession) -> bool:
    """Say whether no answer comes within a second."""
    try:
        async with asyncio.timeout(1), client.get(""):
            return False
    except TimeoutError:
        return True


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
        assert await answers(client) == 200
        assert await hangs(client)
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
        assert await answers(client) == 403
        assert await hangs(client)


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
