"""The FAQ's claims, sentence by sentence, each measured.

Run on aiohttp 3.8 as well as on the newest: nothing here is newer than 3.8, but
for what a claim is about. What is printed becomes the transcript.
"""

import asyncio
import inspect
import textwrap
import types
import warnings
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
)
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

TIMEOUT = 10.0
SILENCE = 0.7
"""Seconds without an answer that count as a hang."""

claim = pytest.mark.claim


def run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main, TIMEOUT)

    asyncio.run(bounded())


@asynccontextmanager
async def serving(
    app: web.Application, host: str = "127.0.0.1"
) -> AsyncIterator[str]:
    """Serve on a free port, as `run_app` would; yield the URL."""
    of_site: dict[str, Any] = {}
    of_runner: dict[str, Any] = {"access_log": None}
    patience = {"shutdown_timeout": 0.5}
    # A parameter of the site until 3.9.
    if "shutdown_timeout" in inspect.signature(web.BaseRunner).parameters:
        of_runner.update(patience)
    else:
        of_site.update(patience)
    runner = web.AppRunner(app, **of_runner)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0, **of_site).start()
        yield f"http://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def ask(url: str, method: str = "GET", **options: Any) -> tuple[int, str]:
    """Send a request on a connection of its own; return status and text."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, **options) as response,
    ):
        text = await response.text()
        print(f"{method} {url} -> {response.status} {text[:60]!r}")
        return response.status, text


def app_with(*routes: web.AbstractRouteDef, **knobs: Any) -> web.Application:
    app = web.Application(**knobs)
    app.add_routes(routes)
    return app


async def say_hi(request: web.Request) -> web.Response:
    return web.Response(text="hi")


def needs(module: Any, name: str) -> Any:
    """Return an attribute, or skip the claim on versions without it."""
    if not hasattr(module, name):
        pytest.skip(f"{module.__name__} has no {name}")
    return getattr(module, name)


def warnings_of(call: Callable[[], object]) -> list[str]:
    """Return the deprecation warnings of a call, in words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    said = [
        str(each.message)
        for each in caught
        if not issubclass(each.category, ResourceWarning)
    ]
    print(f"warnings: {said}")
    return said


async def is_silent(answer: Awaitable[object]) -> bool:
    """Tell whether nothing comes for a while."""
    try:
        print(f"answered: {await asyncio.wait_for(answer, SILENCE)!r}")
    except asyncio.TimeoutError:
        print(f"no answer within {SILENCE} s")
        return True
    return False


# 1. Are there plans for an @app.route decorator like in Flask?


@claim(1, "RouteTableDef provides an API similar to Flask's @app.route")
def test_route_table_is_like_app_route() -> None:
    routes = web.RouteTableDef()
    routes.get("/get")(say_hi)

    async def main() -> None:
        async with serving(app_with(*routes)) as url:
            assert await ask(f"{url}/get") == (200, "hi")

    run(main())


@claim(1, "a RouteTableDef needs no app in the module's namespace")
def test_route_table_is_decoupled() -> None:
    routes = web.RouteTableDef()
    routes.get("/get")(say_hi)

    async def main() -> None:
        for app in (web.Application(), web.Application()):
            app.add_routes(routes)
            async with serving(app) as url:
                assert await ask(f"{url}/get") == (200, "hi")

    run(main())


@claim(1, "the printed table has handlers for GET and POST")
def test_printed_table_serves_get_and_post() -> None:
    routes = web.RouteTableDef()

    @routes.get("/get")
    async def handle_get(request: web.Request) -> web.Response:
        return web.Response(text="got")

    @routes.post("/post")
    async def handle_post(request: web.Request) -> web.Response:
        return web.Response(text="posted")

    async def main() -> None:
        async with serving(app_with(*routes)) as url:
            assert await ask(f"{url}/get") == (200, "got")
            assert await ask(f"{url}/post", "POST") == (200, "posted")
            assert (await ask(f"{url}/get", "POST"))[0] == 405

    run(main())


# 2. Does aiohttp have a concept like Flask's "blueprint" or Django's "app"?


@claim(2, "nested applications are similar to blueprints: a prefix of routes")
def test_nested_application_has_a_prefix() -> None:
    async def main() -> None:
        app, nested = web.Application(), app_with(web.get("/page", say_hi))
        app.add_subapp("/blog", nested)
        async with serving(app) as url:
            assert await ask(f"{url}/blog/page") == (200, "hi")
            assert (await ask(f"{url}/page"))[0] == 404

    run(main())


@claim(2, "nested applications have middlewares of their own")
def test_nested_application_has_its_middlewares() -> None:
    seen = []

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        seen.append(request.path)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def main() -> None:
        app = app_with(web.get("/outside", say_hi))
        nested = app_with(web.get("/page", say_hi), middlewares=[note])
        app.add_subapp("/blog", nested)
        async with serving(app) as url:
            await ask(f"{url}/outside")
            await ask(f"{url}/blog/page")
        assert seen == ["/blog/page"]

    run(main())


@claim(2, "a nested application builds links that hold its prefix")
def test_nested_application_links_with_its_prefix() -> None:
    app, nested = web.Application(), web.Application()
    nested.router.add_get("/page", say_hi, name="page")
    app.add_subapp("/blog", nested)
    link = str(nested.router["page"].url_for())
    print(link)
    assert link == "/blog/page"


# 3. How do I create a route that matches urls with a given prefix?


def sink(path: str) -> web.Application:
    app = web.Application()
    app.router.add_route("*", path, say_hi)
    return app


@claim(3, "{tail:.+} matches URLs with the desired prefix")
def test_tail_matches_the_prefix() -> None:
    async def main() -> None:
        async with serving(sink("/path/to/{tail:.+}")) as url:
            assert (await ask(f"{url}/path/to/a/b"))[0] == 200
            assert (await ask(f"{url}/path/tower"))[0] == 404

    run(main())


@claim(3, "... also the prefix with nothing behind it")
def test_tail_matches_an_empty_rest() -> None:
    async def main() -> None:
        async with serving(sink("/path/to/{tail:.+}")) as url:
            assert (await ask(f"{url}/path/to/"))[0] == 200

    run(main())


@claim(3, "... also with an encoded newline in the rest")
def test_tail_matches_a_newline() -> None:
    async def main() -> None:
        async with serving(sink("/path/to/{tail:.+}")) as url:
            assert (await ask(f"{url}/path/to/a%0Ab"))[0] == 200

    run(main())


@claim(3, "... also a prefix with a letter outside of ASCII")
def test_tail_matches_behind_a_letter_outside_of_ascii() -> None:
    async def main() -> None:
        async with serving(sink("/chemin/été/{tail:.+}")) as url:
            assert (await ask(f"{url}/chemin/%C3%A9t%C3%A9/a"))[0] == 200

    run(main())


@claim(3, "* matches any HTTP method")
def test_star_matches_any_method() -> None:
    async def main() -> None:
        async with serving(sink("/path/to/{tail:.+}")) as url:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                assert (await ask(f"{url}/path/to/a", method))[0] == 200

    run(main())


@claim(3, "a more specific route beside it keeps its place (added after it)")
def test_specific_route_after_a_sink_is_reached() -> None:
    async def tell(request: web.Request) -> web.Response:
        return web.Response(text="exact")

    async def main() -> None:
        app = sink("/path/to/{tail:.+}")
        app.router.add_get("/path/to/exact", tell)
        async with serving(app) as url:
            assert await ask(f"{url}/path/to/exact") == (200, "exact")

    run(main())


# 4. Where do I put my database connection so handlers can access it?


@claim(4, "Application supports the dict interface")
def test_application_is_like_a_dict() -> None:
    app = web.Application()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app["db"] = 42
    print(app["db"], list(app))
    assert app["db"] == 42
    assert len(app) == 1


@claim(4, "... with string keys, and no warning")
def test_application_takes_string_keys_silently() -> None:
    app = web.Application()
    # aiohttp warns of a key once.
    assert not warnings_of(lambda: app.__setitem__("another_db", 42))


@claim(4, 'db_key = web.AppKey("db_key", DB)')
def test_app_key_is_a_key() -> None:
    key = needs(web, "AppKey")("db_key", int)
    app = web.Application()
    app[key] = 42
    print(key, app[key])
    assert app[key] == 42


@claim(4, "handlers reach what was put there before the start")
def test_handlers_reach_the_application() -> None:
    async def go(request: web.Request) -> web.Response:
        return web.Response(text=str(request.app["db"]))

    async def main() -> None:
        app = app_with(web.get("/", go))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            app["db"] = 42
        async with serving(app) as url:
            assert await ask(url) == (200, "42")

    run(main())


@claim(4, "Application(loop=loop), as printed, is how to make one")
def test_application_takes_a_loop_silently() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert not warnings_of(lambda: web.Application(loop=loop))

    run(main())


PRINTED_INIT = """
async def init_app(loop):
    app = Application(loop=loop)
    db = await create_connection(user='user', password='123')
    app[db_key] = db
    app.router.add_get('/', go)
    return app
"""


@claim(4, "the printed init_app runs, with web, db_key and go at hand")
def test_printed_init_app_runs() -> None:
    names: dict[str, Any] = {"web": web, "db_key": "db_key", "go": say_hi}
    exec(PRINTED_INIT, names)

    async def main() -> None:
        await names["init_app"](asyncio.get_running_loop())

    run(main())


# 5. How can middleware store data for web handlers to use?


@claim(5, "data may be stored inside a request object")
def test_request_carries_data() -> None:
    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            request["unique_key"] = "data"
        answer: web.StreamResponse = await handler(request)
        return answer

    async def tell(request: web.Request) -> web.Response:
        return web.Response(text=request["unique_key"])

    async def main() -> None:
        app = app_with(web.get("/", tell), middlewares=[note])
        async with serving(app) as url:
            assert await ask(url) == (200, "data")

    run(main())


@claim(5, "request['unique_key'] = data, with no warning")
def test_request_takes_string_keys_silently() -> None:
    said = []

    async def note(request: web.Request) -> web.Response:
        said.extend(
            # aiohttp warns of a key once.
            warnings_of(lambda: request.__setitem__("another_key", "data"))
        )
        return web.Response()

    async def main() -> None:
        async with serving(app_with(web.get("/", note))) as url:
            await ask(url)

    run(main())
    assert not said


@claim(5, "aiohttp_session.get_session(request) keeps it under SESSION_KEY")
def test_get_session_uses_session_key() -> None:
    import aiohttp_session

    async def main() -> None:
        async def tell(request: web.Request) -> web.Response:
            session = await aiohttp_session.get_session(request)
            same = request[aiohttp_session.SESSION_KEY] is session
            return web.Response(text=str(same))

        app = app_with(web.get("/", tell))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            aiohttp_session.setup(app, aiohttp_session.SimpleCookieStorage())
            async with serving(app) as url:
                assert await ask(url) == (200, "True")

    run(main())


@claim(5, "all response objects are dict-like structures as well")
def test_response_is_like_a_dict() -> None:
    for response in (web.Response(), web.StreamResponse(), web.HTTPFound("/")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            response["key"] = 42
        print(type(response).__name__, list(response))
        assert response["key"] == 42


@claim(5, "... and what a handler stores there, a middleware can read")
def test_response_carries_data_outwards() -> None:
    seen = []

    @web.middleware
    async def read(request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        seen.append(response["key"])
        return response

    async def mark(request: web.Request) -> web.Response:
        response = web.Response()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            response["key"] = 42
        return response

    async def main() -> None:
        app = app_with(web.get("/", mark), middlewares=[read])
        async with serving(app) as url:
            await ask(url)
        assert seen == [42]

    run(main())


# 6. Can a handler receive incoming events from different sources in parallel?


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(message.data)
    return ws


@claim(6, "parallel WebSocketResponse.receive() calls are forbidden")
def test_parallel_receive_is_forbidden() -> None:
    said: list[str] = []

    async def receive_twice(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        outcomes = await asyncio.gather(
            ws.receive(), ws.receive(), return_exceptions=True
        )
        said.extend(repr(each) for each in outcomes)
        return ws

    async def main() -> None:
        app = app_with(web.get("/ws", receive_twice))
        async with (
            serving(app) as url,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{url}/ws") as ws,
        ):
            await ws.send_str("hi")
            await ws.receive()
        print(*said, sep="\n")
        assert any("Concurrent call to receive()" in each for each in said)

    run(main())


@claim(6, "other tasks may use the same WebSocket object for sending")
def test_other_tasks_may_send() -> None:
    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        task = asyncio.ensure_future(ws.send_str("from a task"))
        async for message in ws:
            await ws.send_str(message.data)
        await task
        return ws

    async def main() -> None:
        async with (
            serving(app_with(web.get("/ws", handler))) as url,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{url}/ws") as ws,
        ):
            await ws.send_str("from the peer")
            got = [await ws.receive_str() for _ in range(2)]
            print(got)
            assert sorted(got) == ["from a task", "from the peer"]

    run(main())


@claim(6, "async for ends when the peer has left")
def test_async_for_ends_with_the_peer() -> None:
    ended = asyncio.Event

    async def main() -> None:
        done = ended()

        async def handler(request: web.Request) -> web.WebSocketResponse:
            ws = await echo(request)
            done.set()
            return ws

        async with serving(app_with(web.get("/ws", handler))) as url:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{url}/ws") as ws,
            ):
                await ws.send_str("hi")
                assert await ws.receive_str() == "hi"
            await asyncio.wait_for(done.wait(), 2)
            print("the loop has ended")

    run(main())


@claim(6, "channel, = await redis.subscribe(...): the printed reader runs")
def test_printed_reader_runs_with_redis_py() -> None:
    import redis
    from redis.asyncio import Redis

    print(f"redis-py {redis.__version__}")
    assert hasattr(Redis(), "subscribe")


@claim(6, "the printed handler is whole: it returns no response")
def test_printed_handler_without_return_is_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: web.Request) -> Any:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for _ in ws:
            pass

    async def main() -> None:
        async with (
            serving(app_with(web.get("/ws", handler))) as url,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{url}/ws"),
        ):
            pass

    run(main())
    said = [record.getMessage() for record in caplog.records]
    print("log:", *said)
    assert not said


# 7. How do I programmatically close a WebSocket server-side?


def with_logout(handler: Any) -> web.Application:
    """The FAQ's registry, with one user, and `await gather` in the logout."""
    sockets: set[web.WebSocketResponse] = set()

    async def echo_handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(timeout=1.5)
        await ws.prepare(request)
        sockets.add(ws)
        try:
            await handler(ws)
        finally:
            sockets.discard(ws)
        return ws

    async def logout_handler(request: web.Request) -> web.Response:
        closers = [ws.close() for ws in sockets if not ws.closed]
        if closers:
            await asyncio.gather(*closers)
        return web.Response(text="OK")

    return app_with(
        web.get("/echo", echo_handler), web.post("/logout", logout_handler)
    )


async def receive_all(ws: web.WebSocketResponse) -> None:
    async for _ in ws:
        pass


async def upgrade_and_fall_silent(url: str) -> asyncio.StreamWriter:
    """Open a WebSocket whose peer never answers a close frame."""
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    return writer


@claim(7, "close() on all of the registry closes a user's WebSockets")
def test_registry_closes_all() -> None:
    async def main() -> None:
        async with (
            serving(with_logout(receive_all)) as url,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{url}/echo") as one,
            session.ws_connect(f"{url}/echo") as other,
        ):
            assert await ask(f"{url}/logout", "POST") == (200, "OK")
            for ws in (one, other):
                message = await ws.receive(2)
                print(message)
                assert message.type is aiohttp.WSMsgType.CLOSE

    run(main())


@claim(7, "the logout does not answer until all are closed (a silent peer)")
def test_logout_waits_for_a_silent_peer() -> None:
    async def main() -> None:
        async with serving(with_logout(receive_all)) as url:
            writer = await upgrade_and_fall_silent(url)
            try:
                assert await is_silent(ask(f"{url}/logout", "POST"))
            finally:
                writer.close()

    run(main())


@claim(7, "... (a silent peer, whose handler is busy)")
def test_logout_waits_for_a_busy_handler() -> None:
    async def be_busy(ws: web.WebSocketResponse) -> None:
        await asyncio.sleep(3)

    async def main() -> None:
        async with serving(with_logout(be_busy)) as url:
            writer = await upgrade_and_fall_silent(url)
            try:
                assert await is_silent(ask(f"{url}/logout", "POST"))
            finally:
                writer.close()

    run(main())


@claim(7, "... (a peer that does not read what was sent before)")
def test_logout_waits_for_a_peer_that_does_not_read() -> None:
    async def send_much(ws: web.WebSocketResponse) -> None:
        for _ in range(400):
            await ws.send_str("news " * 20_000)

    async def main() -> None:
        async with serving(with_logout(send_much)) as url:
            writer = await upgrade_and_fall_silent(url)
            transport: Any = writer.transport
            transport.pause_reading()
            await asyncio.sleep(0.5)
            try:
                assert await is_silent(ask(f"{url}/logout", "POST"))
            finally:
                transport.abort()

    run(main())


@claim(7, "the printed /echo is an echo server")
def test_printed_echo_echoes() -> None:
    async def printed(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for msg in ws:
            ws.send_str(msg.data)  # type: ignore[unused-coroutine]
        return ws

    async def main() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            async with (
                serving(app_with(web.get("/echo", printed))) as url,
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{url}/echo") as ws,
            ):
                await ws.send_str("hi")
                silent = await is_silent(ws.receive())
        assert not silent

    run(main())


@claim(7, "/logout_user, when invoked, closes them: the printed route")
def test_printed_logout_is_where_the_text_says() -> None:
    async def main() -> None:
        async with serving(with_logout(receive_all)) as url:
            assert (await ask(f"{url}/logout_user", "POST"))[0] == 200

    run(main())


# 8. How do I make a request from a specific IP address?


async def tell_remote(request: web.Request) -> web.Response:
    return web.Response(text=str(request.remote))


async def seen_from(host: str, target: str, **knobs: Any) -> str:
    """Return the address that a server on `host` sees."""
    app = app_with(web.get("/", tell_remote))
    async with serving(app, host) as url:
        port = url.rpartition(":")[2]
        connector = aiohttp.TCPConnector(**knobs)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://{target}:{port}/") as response,
        ):
            seen = await response.text()
    print(f"local_addr={knobs.get('local_addr')!r} is seen as {seen}")
    return seen


@claim(8, "you may choose one of several IP interfaces by local_addr")
def test_local_addr_chooses() -> None:
    async def main() -> None:
        local = ("127.0.0.2", 0)
        seen = await seen_from("127.0.0.1", "127.0.0.1", local_addr=local)
        assert seen == "127.0.0.2"

    run(main())


@claim(8, "local_addr=('', 0), as printed, can be used")
def test_printed_local_addr_can_be_used() -> None:
    async def main() -> None:
        await seen_from("127.0.0.1", "127.0.0.1", local_addr=("", 0))

    run(main())


@claim(8, "... also for a target that has IPv6 only")
def test_printed_local_addr_can_be_used_for_ipv6() -> None:
    async def main() -> None:
        await seen_from("::1", "[::1]", local_addr=("", 0))

    run(main())


@claim(8, "TCPConnector(loop=loop), as printed, with no warning")
def test_connector_takes_a_loop_silently() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[aiohttp.TCPConnector] = []
        said = warnings_of(lambda: made.append(aiohttp.TCPConnector(loop=loop)))
        await made[0].close()
        assert not said

    run(main())


# 9. What is the API stability and deprecation policy?


@claim(9, "deprecated things raise DeprecationWarning: Application(loop=)")
def test_deprecated_loop_of_an_application_warns() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert warnings_of(lambda: web.Application(loop=loop))

    run(main())


@claim(9, "deprecated things raise DeprecationWarning: ClientSession(loop=)")
def test_deprecated_loop_of_a_session_warns() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[aiohttp.ClientSession] = []
        said = warnings_of(
            lambda: made.append(aiohttp.ClientSession(loop=loop))
        )
        await made[0].close()
        assert said

    run(main())


@claim(9, "deprecated things raise DeprecationWarning: plain def handlers")
def test_deprecated_bare_handler_warns() -> None:
    def bare(request: web.Request) -> web.Response:
        return web.Response()

    handler: Any = bare
    assert warnings_of(lambda: app_with(web.get("/", handler)))


@claim(9, "a 3.Y release never removes: ClientSession() without a loop")
def test_no_minor_release_takes_a_session_away(
    outside: asyncio.AbstractEventLoop,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = aiohttp.ClientSession()
    print("made where no loop runs")
    outside.run_until_complete(session.close())


@claim(9, "a 3.Y release never removes: Python 3.8 is enough")
def test_no_minor_release_takes_a_python_away() -> None:
    from importlib.metadata import metadata

    needed = metadata("aiohttp")["Requires-Python"]
    print(f"Requires-Python: {needed}")
    oldest = int(needed.removeprefix(">=").split(".")[1])
    assert oldest <= 8


@claim(9, "a 3.Y release never removes: the default time to connect")
def test_no_release_changes_the_time_to_connect() -> None:
    from aiohttp.client import DEFAULT_TIMEOUT

    print(DEFAULT_TIMEOUT)
    assert DEFAULT_TIMEOUT.sock_connect is None


# 10. How do I enable gzip compression globally for my entire application?


@web.middleware
async def compress(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    response.enable_compression()
    return response


async def coding_of(app: web.Application, accepts: str) -> str:
    async with (
        serving(app) as url,
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(url, headers={"Accept-Encoding": accepts}) as response,
    ):
        coding = response.headers.get("Content-Encoding", "identity")
        print(f"Accept-Encoding: {accepts} -> {response.status} {coding}")
        return coding


async def send_text(request: web.Request) -> web.Response:
    return web.Response(text="text " * 1000)


@claim(10, "it is impossible")
def test_global_compression_is_impossible() -> None:
    async def main() -> None:
        app = app_with(web.get("/", send_text), middlewares=[compress])
        assert await coding_of(app, "gzip") == "identity"

    run(main())


@claim(10, "write a custom middleware: enable_compression() in it compresses")
def test_a_middleware_compresses() -> None:
    async def main() -> None:
        app = app_with(web.get("/", send_text), middlewares=[compress])
        assert await coding_of(app, "gzip") == "gzip"

    run(main())


@claim(10, "choosing is tricky: a middleware for everything answers a 204")
def test_a_naive_middleware_answers_a_204() -> None:
    async def answer_nothing(request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def main() -> None:
        app = app_with(web.get("/", answer_nothing), middlewares=[compress])
        assert await coding_of(app, "gzip") == "identity"

    run(main())


@claim(10, "choosing is tricky: enable_compression() honours gzip;q=0")
def test_compression_reads_weights() -> None:
    async def main() -> None:
        app = app_with(web.get("/", send_text), middlewares=[compress])
        assert await coding_of(app, "gzip;q=0") == "identity"

    run(main())


# 11. How do I manage a ClientSession within a web server?


class Upstream:
    """Counts connections, and sets a cookie."""

    def __init__(self) -> None:
        self.peers: set[object] = set()
        self.app = app_with(web.get("/", self.answer))

    async def answer(self, request: web.Request) -> web.Response:
        self.peers.add(request.transport)
        response = web.Response(text=request.cookies.get("user", "nobody"))
        if "user" in request.query:
            response.set_cookie("user", request.query["user"])
        return response


async def text_of(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        text = await response.text()
        print(f"GET {url} -> {text}")
        return text


@claim(11, "one ClientSession benefits from connection pooling")
def test_one_session_pools() -> None:
    async def main() -> None:
        upstream = Upstream()
        async with (
            serving(upstream.app) as url,
            aiohttp.ClientSession() as session,
        ):
            for _ in range(3):
                await text_of(session, url)
        print(f"{len(upstream.peers)} connections")
        assert len(upstream.peers) == 1

    run(main())


@claim(11, "... and one for each request does not")
def test_many_sessions_do_not_pool() -> None:
    async def main() -> None:
        upstream = Upstream()
        async with serving(upstream.app) as url:
            for _ in range(3):
                async with aiohttp.ClientSession() as session:
                    await text_of(session, url)
        print(f"{len(upstream.peers)} connections")
        assert len(upstream.peers) == 3

    run(main())


@claim(11, "sessions save cookies internally")
def test_sessions_save_cookies() -> None:
    async def main() -> None:
        async with (
            serving(Upstream().app) as url,
            aiohttp.ClientSession() as session,
        ):
            await text_of(session, f"{url}/?user=ann")
            assert await text_of(session, url) == "ann"

    run(main())


@claim(11, "... of any host: also of one that is an IP address")
def test_sessions_save_cookies_of_addresses() -> None:
    async def main() -> None:
        async with (
            serving(Upstream().app) as url,
            aiohttp.ClientSession() as session,
        ):
            address = url.replace("localhost", "127.0.0.1")
            await text_of(session, f"{address}/?user=ann")
            assert await text_of(session, address) == "ann"

    run(main())


@claim(11, "DummyCookieJar: no cookie processing")
def test_dummy_cookie_jar_keeps_nothing() -> None:
    async def main() -> None:
        jar = aiohttp.DummyCookieJar()
        async with (
            serving(Upstream().app) as url,
            aiohttp.ClientSession(cookie_jar=jar) as session,
        ):
            await text_of(session, f"{url}/?user=ann")
            assert await text_of(session, url) == "nobody"

    run(main())


@claim(11, "separate sessions on one TCPConnector have separate cookies")
def test_sessions_on_one_connector_have_their_cookies() -> None:
    async def main() -> None:
        upstream = Upstream()
        connector = aiohttp.TCPConnector()
        knobs: dict[str, Any] = {
            "connector": connector,
            "connector_owner": False,
        }
        async with serving(upstream.app) as url:
            async with aiohttp.ClientSession(**knobs) as session:
                await text_of(session, f"{url}/?user=ann")
            async with aiohttp.ClientSession(**knobs) as session:
                text = await text_of(session, url)
            await connector.close()
        assert text == "nobody"
        assert len(upstream.peers) == 1

    run(main())


# 12. How do I access database connections from a subapplication?


@claim(12, "access from a subapplication to the outer app is restricted")
def test_request_app_is_the_nested_one() -> None:
    async def tell(request: web.Request) -> web.Response:
        return web.Response(text=str("db" in request.app))

    async def main() -> None:
        app, nested = web.Application(), app_with(web.get("/page", tell))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            app["db"] = 42
        app.add_subapp("/blog", nested)
        async with serving(app) as url:
            assert await ask(f"{url}/blog/page") == (200, "False")

    run(main())


@claim(12, "... by any way: request.config_dict does not reach it either")
def test_config_dict_is_isolated_too() -> None:
    async def tell(request: web.Request) -> web.Response:
        return web.Response(text=str("db" in request.config_dict))

    async def main() -> None:
        app, nested = web.Application(), app_with(web.get("/page", tell))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            app["db"] = 42
        app.add_subapp("/blog", nested)
        async with serving(app) as url:
            assert await ask(f"{url}/blog/page") == (200, "False")

    run(main())


@claim(12, "subapp[db_key] = mainapp[db_key] shares what is there already")
def test_copied_key_shares() -> None:
    async def tell(request: web.Request) -> web.Response:
        return web.Response(text=str(request.app["db"]))

    async def main() -> None:
        app, nested = web.Application(), app_with(web.get("/page", tell))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            app["db"] = 42
            nested["db"] = app["db"]
        app.add_subapp("/prefix", nested)
        async with serving(app) as url:
            assert await ask(f"{url}/prefix/page") == (200, "42")

    run(main())


@claim(12, "... also what a cleanup context of the outer app opens")
def test_copied_key_shares_what_is_opened_later() -> None:
    async def database(app: web.Application) -> AsyncIterator[None]:
        app["db"] = 42
        yield

    app, nested = web.Application(), web.Application()
    app.cleanup_ctx.append(database)
    nested["db"] = app["db"]


# 13. How do I perform operations in a request handler after sending the
# response?


@claim(13, "middlewares run after every request")
def test_middlewares_run_after_every_request() -> None:
    seen = []

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        finally:
            seen.append(request.path)
        return response

    async def main() -> None:
        app = app_with(web.get("/page", say_hi), middlewares=[note])
        async with serving(app) as url:
            await ask(f"{url}/page")
            await ask(f"{url}/missing")
        assert seen == ["/page", "/missing"]

    run(main())


def with_follow_up(
    follow_up: Callable[[], Awaitable[object]],
) -> web.Application:
    async def ping(request: web.Request) -> web.Response:
        response = web.json_response({"message": "PONG"})
        await response.prepare(request)
        await response.write_eof()
        await follow_up()
        return response

    return app_with(web.get("/ping", ping), web.get("/next", say_hi))


@claim(13, "write_eof() sends before the handler returns")
def test_write_eof_sends_before_the_handler_returns() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        async with serving(with_follow_up(gate.wait)) as url:
            status, _ = await ask(f"{url}/ping")
            assert not gate.is_set()
            gate.set()
            assert status == 200

    run(main())


@claim(13, "... and the follow-up keeps nobody waiting")
def test_follow_up_delays_no_request() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        async with (
            serving(with_follow_up(gate.wait)) as url,
            aiohttp.ClientSession() as session,
        ):
            await text_of(session, f"{url}/ping")
            silent = await is_silent(text_of(session, f"{url}/next"))
            gate.set()
        assert not silent

    run(main())


@claim(13, "the printed ping_handler runs")
def test_printed_ping_handler_compiles() -> None:
    compile(
        textwrap.dedent(
            """
            def ping_handler(request):
                resp = web.json_response({'message': 'PONG'})
                await resp.prepare(request)
                await resp.write_eof()
                return resp
            """
        ),
        "faq.py",
        "exec",
    )


@claim(13, "a response must be returned, even though it has been sent")
def test_response_must_be_returned(caplog: pytest.LogCaptureFixture) -> None:
    async def ping(request: web.Request) -> Any:
        response = web.Response(text="PONG")
        await response.prepare(request)
        await response.write_eof()

    async def main() -> None:
        async with serving(app_with(web.get("/ping", ping))) as url:
            assert await ask(f"{url}/ping") == (200, "PONG")

    run(main())
    said = [record.getMessage() for record in caplog.records]
    print("log:", *said)
    assert said


# 14. How do I make sure my custom middleware response will behave correctly?


@claim(14, "a custom response is fine, if it is a new one each time")
def test_new_responses_are_fine() -> None:
    @web.middleware
    async def answer(request: web.Request, handler: Any) -> web.StreamResponse:
        await handler(request)
        return web.Response(text="mine")

    async def main() -> None:
        app = app_with(web.get("/", say_hi), middlewares=[answer])
        async with serving(app) as url:
            for _ in range(3):
                assert await ask(url) == (200, "mine")

    run(main())


@claim(14, "a response that has been sent cannot be used again")
def test_sent_response_cannot_be_sent_again() -> None:
    async def main() -> None:
        cached = web.Response(text="Hi, I am cached!")

        async def send(request: web.Request) -> web.Response:
            return cached

        async with serving(app_with(web.get("/", send))) as url:
            assert await ask(url) == (200, "Hi, I am cached!")
            assert await is_silent(ask(url))

    run(main())


async def second_answer(middleware: Any) -> bool:
    """Tell whether the second request waits in vain, the first answered."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app = app_with(web.get("/", say_hi), middlewares=[middleware])
        async with serving(app) as url:
            assert (await ask(url))[0] == 200
            return await is_silent(ask(url))


@claim(14, "the printed middleware hangs at the second response")
def test_printed_middleware_hangs() -> None:
    async def main() -> None:
        cached = web.Response(status=200, text="Hi, I am cached!")

        async def middleware(request: Any, handler: Any) -> Any:
            _res = handler(request)
            return cached

        assert await second_answer(middleware)

    run(main())


@claim(14, "... with the decorator that the text leaves out")
def test_decorated_middleware_hangs() -> None:
    async def main() -> None:
        cached = web.Response(status=200, text="Hi, I am cached!")

        @web.middleware
        async def middleware(request: Any, handler: Any) -> Any:
            _res = handler(request)
            return cached

        assert await second_answer(middleware)

    run(main())


# 15. Why is creating a ClientSession outside of an event loop dangerous?


PRINTED_MODULE = """
import aiohttp

session = aiohttp.ClientSession()

async def fetch(url):
    async with session.get(url) as resp:
        return await resp.text()
"""

PRINTED_CLASS = """
import aiohttp

class A:
    session = aiohttp.ClientSession()
"""


@pytest.fixture
def outside() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that is set, as in a main thread, and does not run."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


def import_printed(source: str) -> types.ModuleType:
    module = types.ModuleType("mod")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(source, vars(module))
    except RuntimeError as error:
        print(f"import mod: {error!r}")
        raise
    print("import mod: done")
    return module


@claim(15, "mod.py, which makes a session on import, can be imported")
def test_printed_module_can_be_imported(
    outside: asyncio.AbstractEventLoop,
) -> None:
    import_printed(PRINTED_MODULE)


@claim(15, "a class body is the same problem as mod.py")
def test_class_body_is_the_same(outside: asyncio.AbstractEventLoop) -> None:
    outcomes = []
    for source in (PRINTED_MODULE, PRINTED_CLASS):
        try:
            import_printed(source)
            outcomes.append("imported")
        except RuntimeError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@claim(15, "the fetch() call of mod.py hangs")
def test_printed_fetch_hangs(outside: asyncio.AbstractEventLoop) -> None:
    module = import_printed(PRINTED_MODULE)

    async def main() -> None:
        async with serving(app_with(web.get("/", say_hi))) as url:
            try:
                silent = await is_silent(module.fetch(url))
            except Exception as error:
                print(f"fetch: {error!r}")
                raise
            assert silent

    # A loop of another kind, as uvloop's would be.
    other = asyncio.SelectorEventLoop()
    other.run_until_complete(main())
    other.close()


@claim(15, "a session made in an async function works")
def test_session_made_inside_works() -> None:
    async def main() -> None:
        async with (
            serving(app_with(web.get("/", say_hi))) as url,
            aiohttp.ClientSession() as session,
        ):
            assert await text_of(session, url) == "hi"

    run(main())


@claim(15, "the same policy works for web.Application: not outside of a loop")
def test_application_cannot_be_made_outside() -> None:
    app = app_with(web.get("/", say_hi))

    async def main() -> None:
        async with serving(app) as url:
            status, _ = await ask(url)
        assert status != 200, "made outside, it serves"

    run(main())


@claim(15, "... at least, an application serves no second loop")
def test_application_serves_one_loop() -> None:
    app = app_with(web.get("/", say_hi))

    async def main() -> None:
        async with serving(app) as url:
            await ask(url)

    run(main())
    with pytest.raises(RuntimeError) as raised:
        run(main())
    print(repr(raised.value))


@claim(15, "each test of a library with a loop of its own needs a new session")
def test_session_fails_in_a_second_loop() -> None:
    kept: list[aiohttp.ClientSession] = []

    async def first() -> None:
        kept.append(aiohttp.ClientSession())
        async with serving(app_with(web.get("/", say_hi))) as url:
            await text_of(kept[0], url)

    async def second() -> None:
        async with serving(app_with(web.get("/", say_hi))) as url:
            await text_of(kept[0], url)

    run(first())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError) as raised:
            run(second())
    print(repr(raised.value))


@claim(15, "in the best case it is a warning about an unclosed resource")
def test_forgotten_session_warns() -> None:
    async def main() -> None:
        session = aiohttp.ClientSession()
        with pytest.warns(ResourceWarning) as caught:
            del session
        print(caught[0].message)

    run(main())
