"""The claims of aiohttp's FAQ, one test each, and what the FAQ does not say.

The FAQ is that of aiohttp 3.14. The tests run on aiohttp 3.8 and on every
release after it. What a test prints becomes the transcript.
"""

import asyncio
import contextlib
import inspect
import types
import warnings
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
)
from contextlib import asynccontextmanager
from textwrap import dedent
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from verdicts.claim import claim

TIMEOUT = 10.0
SILENCE = 0.7
"""Seconds without an answer that count as a hang."""


class NotMeasuredError(Exception):
    """Something went wrong before the test reached its claim."""


def given(condition: object, what: str) -> None:
    """Check what a test needs before it can measure its claim."""
    if not condition:
        raise NotMeasuredError(what)


def run(main: Coroutine[Any, Any, None], *, debug: bool = False) -> None:
    """Run a test in an event loop of its own, within a time limit."""

    async def bounded() -> None:
        await asyncio.wait_for(main, TIMEOUT)

    asyncio.run(bounded(), debug=debug)


@asynccontextmanager
async def serving(
    app: web.Application, host: str = "127.0.0.1"
) -> AsyncIterator[str]:
    """Serve on a free port, as `run_app` would; yield the URL."""
    of_site: dict[str, Any] = {}
    of_runner: dict[str, Any] = {"access_log": None}
    patience = {"shutdown_timeout": 0.5}
    # Until 3.9 it is a parameter of the site.
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


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def app_with(*routes: web.AbstractRouteDef, **options: Any) -> web.Application:
    app = web.Application(**options)
    app.add_routes(routes)
    return app


async def say_hi(request: web.Request) -> web.Response:
    return web.Response(text="hi")


def needs(module: Any, name: str) -> Any:
    """Return an attribute, or skip the claim on releases without it."""
    if not hasattr(module, name):
        pytest.skip(f"{module.__name__} has no {name}")
    return getattr(module, name)


def key(name: str, kind: type) -> Any:
    """Return an `AppKey`, or a string before 3.9, which has none."""
    return web.AppKey(name, kind) if hasattr(web, "AppKey") else name


def warnings_of(
    call: Callable[[], object], category: type[Warning] = Warning
) -> list[str]:
    """Return the warnings of a call: the category and the message of each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    # The garbage of an earlier test may be collected here.
    of_the_call = [
        each
        for each in caught
        if not issubclass(each.category, ResourceWarning)
    ]
    shown = [
        f"{each.category.__name__}: {_first_line(each.message)}"
        for each in of_the_call
    ]
    print(f"warnings: {shown}")
    return [
        text
        for each, text in zip(of_the_call, shown, strict=True)
        if issubclass(each.category, category)
    ]


def _first_line(message: Warning | str) -> str:
    return str(message).partition("\n")[0]


def log_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what aiohttp has logged, each with its exception."""
    messages = []
    for record in caplog.records:
        if not record.name.startswith("aiohttp"):
            continue
        message = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            message += f": {record.exc_info[1]!r}"
        messages.append(message)
        print("log:", message)
    return messages


async def is_silent(answer: Awaitable[object]) -> bool:
    """Return whether nothing comes for a while."""
    try:
        print(f"answered: {await asyncio.wait_for(answer, SILENCE)!r}")
    except asyncio.TimeoutError:
        print(f"no answer within {SILENCE} s")
        return True
    return False


# 1. Are there plans for an @app.route decorator like in Flask?


@claim(1, "RouteTableDef has an API like Flask's @app.route")
def test_route_table_is_like_app_route() -> None:
    routes = web.RouteTableDef()
    routes.get("/get")(say_hi)

    async def main() -> None:
        async with serving(app_with(*routes)) as url:
            assert await ask(f"{url}/get") == (200, "hi")

    run(main())


@claim(1, "A RouteTableDef needs no application: two can use the same table")
def test_route_table_is_decoupled() -> None:
    routes = web.RouteTableDef()
    routes.get("/get")(say_hi)

    async def main() -> None:
        for app in (web.Application(), web.Application()):
            app.add_routes(routes)
            async with serving(app) as url:
                assert await ask(f"{url}/get") == (200, "hi")

    run(main())


@claim(
    1,
    "The example registers a handler for GET and another for POST",
    printed="app.router.add_routes(routes)",
    note="3.11 to master print the decorators; some copies have lost them.",
)
def test_printed_table_serves_get_and_post() -> None:
    routes = web.RouteTableDef()

    @routes.get("/get")
    async def handle_get(request: web.Request) -> web.Response:
        return web.Response(text="got")

    @routes.post("/post")
    async def handle_post(request: web.Request) -> web.Response:
        return web.Response(text="posted")

    async def main() -> None:
        app = web.Application()
        app.router.add_routes(routes)
        async with serving(app) as url:
            assert await ask(f"{url}/get") == (200, "got")
            assert await ask(f"{url}/post", "POST") == (200, "posted")
            assert (await ask(f"{url}/get", "POST"))[0] == 405

    run(main())


# 2. Does aiohttp have a concept like Flask's "blueprint" or Django's "app"?


@claim(2, "A nested application is like a blueprint: its routes have a prefix")
def test_nested_application_has_a_prefix() -> None:
    async def main() -> None:
        app, nested = web.Application(), app_with(web.get("/page", say_hi))
        app.add_subapp("/blog", nested)
        async with serving(app) as url:
            assert await ask(f"{url}/blog/page") == (200, "hi")
            assert (await ask(f"{url}/page"))[0] == 404

    run(main())


@claim(2, "A nested application has middlewares of its own", said=False)
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


@claim(2, "url_for() of a nested application adds the prefix", said=False)
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


@claim(
    3,
    "{tail:.+} matches URLs with the desired prefix",
    printed="app.router.add_route('*', '/path/to/{tail:.+}', sink_handler)",
)
def test_tail_matches_the_prefix() -> None:
    async def main() -> None:
        async with serving(sink("/path/to/{tail:.+}")) as url:
            assert (await ask(f"{url}/path/to/a/b"))[0] == 200
            assert (await ask(f"{url}/path/tower"))[0] == 404

    run(main())


@claim(3, "{tail:.+} matches an empty tail", said=False)
def test_tail_matches_an_empty_rest() -> None:
    async def main() -> None:
        async with serving(sink("/path/to/{tail:.+}")) as url:
            assert (await ask(f"{url}/path/to/"))[0] == 200

    run(main())


@claim(3, "{tail:.+} matches a tail with an encoded newline", said=False)
def test_tail_matches_a_newline() -> None:
    async def main() -> None:
        async with serving(sink("/path/to/{tail:.+}")) as url:
            assert (await ask(f"{url}/path/to/a%0Ab"))[0] == 200

    run(main())


@claim(3, "The prefix may have a letter outside of ASCII", said=False)
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


async def answer_exact(request: web.Request) -> web.Response:
    return web.Response(text="exact")


@claim(3, "A literal path that is added after the sink is reached", said=False)
def test_literal_path_after_a_sink_is_reached() -> None:
    async def main() -> None:
        app = sink("/path/to/{tail:.+}")
        app.router.add_get("/path/to/exact", answer_exact)
        async with serving(app) as url:
            assert await ask(f"{url}/path/to/exact") == (200, "exact")

    run(main())


@claim(3, "/path/to/{id} that is added after the sink is reached", said=False)
def test_variable_path_after_a_sink_is_reached() -> None:
    async def main() -> None:
        app = sink("/path/to/{tail:.+}")
        app.router.add_get(r"/path/to/{id:\d+}", answer_exact)
        async with serving(app) as url:
            assert await ask(f"{url}/path/to/7") == (200, "exact")

    run(main())


# 4. Where do I put my database connection so handlers can access it?


@claim(4, "An Application can be used like a dict")
def test_application_is_like_a_dict() -> None:
    app = web.Application()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app["db"] = 42
    print(app["db"], list(app))
    assert app["db"] == 42
    assert len(app) == 1


@claim(4, "A string as key of an Application gives no warning", said=False)
def test_application_takes_string_keys_silently() -> None:
    app = web.Application()
    # aiohttp warns of a key once.
    assert not warnings_of(lambda: app.__setitem__("another_db", 42))


@claim(
    4,
    "A web.AppKey is a key of an Application",
    printed='db_key = web.AppKey("db_key", DB)',
)
def test_app_key_is_a_key() -> None:
    key = needs(web, "AppKey")("db_key", int)
    app = web.Application()
    app[key] = 42
    print(key, app[key])
    assert app[key] == 42


@claim(
    4,
    "Handlers find in the Application what was stored there",
    printed="db = request.app[db_key]",
)
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


PRINTED_INIT = """
    async def init_app(loop):
        app = Application(loop=loop)
        db = await create_connection(user='user', password='123')
        app[db_key] = db
        app.router.add_get('/', go)
        return app
"""


@claim(
    4,
    "The example makes an application, and opens a connection for it",
    printed=PRINTED_INIT,
    note="`Application` and `create_connection` have to be imported. Master"
    " prints it without `loop`.",
    fails=TypeError,
)
def test_printed_init_app_runs() -> None:
    db_key = key("db_key", str)

    async def create_connection(**options: str) -> str:
        return "connected"

    async def go(request: web.Request) -> web.Response:
        return web.Response(text=request.app[db_key])

    names: dict[str, Any] = {
        "Application": web.Application,
        "create_connection": create_connection,
        "db_key": db_key,
        "go": go,
    }
    exec(dedent(PRINTED_INIT), names)

    async def main() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            app = await names["init_app"](asyncio.get_running_loop())
            async with serving(app) as url:
                assert await ask(url) == (200, "connected")

    run(main())


@claim(
    4,
    "Application(loop=loop) gives no warning",
    said=False,
    note="The FAQ prints it up to 3.15, master does not.",
    fails=TypeError,
)
def test_application_takes_a_loop_silently() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert not warnings_of(lambda: web.Application(loop=loop))

    run(main())


# 5. How can middleware store data for web handlers to use?


PRINTED_MIDDLEWARE = """
    request_id_key = web.RequestKey("request_id_key", str)

    @web.middleware
    async def request_id_middleware(request, handler):
        request[request_id_key] = "some_request_id"
        return await handler(request)
"""


@claim(
    5,
    "A middleware stores data under a web.RequestKey, and the handler reads it",
    printed=PRINTED_MIDDLEWARE,
    note="3.11 to 3.13 print `request['unique_key'] = data` in a handler.",
)
def test_request_key_carries_data() -> None:
    needs(web, "RequestKey")
    # A key is named after its module.
    names: dict[str, Any] = {"__name__": "faq", "web": web}
    exec(dedent(PRINTED_MIDDLEWARE), names)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=request[names["request_id_key"]])

    async def main() -> None:
        middlewares = [names["request_id_middleware"]]
        app = app_with(web.get("/", handler), middlewares=middlewares)
        async with serving(app) as url:
            assert await ask(url) == (200, "some_request_id")

    run(main())


@claim(5, "A Request can be used like a dict")
def test_request_carries_data() -> None:
    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            request["unique_key"] = "data"
        answer: web.StreamResponse = await handler(request)
        return answer

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=request["unique_key"])

    async def main() -> None:
        app = app_with(web.get("/", show), middlewares=[note])
        async with serving(app) as url:
            assert await ask(url) == (200, "data")

    run(main())


@claim(
    5,
    "A string as key of a Request gives no warning",
    said=False,
    note="3.11 to 3.13 print a string.",
)
def test_request_takes_string_keys_silently() -> None:
    found: list[str] = []

    async def note(request: web.Request) -> web.Response:
        # aiohttp warns of a key once.
        found.extend(
            warnings_of(lambda: request.__setitem__("another_key", "data"))
        )
        return web.Response()

    async def main() -> None:
        async with serving(app_with(web.get("/", note))) as url:
            await ask(url)

    run(main())
    assert not found


@claim(5, "aiohttp_session keeps the session in the request, under SESSION_KEY")
def test_get_session_uses_session_key() -> None:
    import aiohttp_session

    async def main() -> None:
        async def show(request: web.Request) -> web.Response:
            session = await aiohttp_session.get_session(request)
            same = request[aiohttp_session.SESSION_KEY] is session
            return web.Response(text=str(same))

        app = app_with(web.get("/", show))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            aiohttp_session.setup(app, aiohttp_session.SimpleCookieStorage())
            async with serving(app) as url:
                assert await ask(url) == (200, "True")

    run(main())


@claim(5, "All responses can be used like a dict", fails=TypeError)
def test_response_is_like_a_dict() -> None:
    for response in (web.Response(), web.StreamResponse(), web.HTTPFound("/")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            response["key"] = 42
        print(type(response).__name__, list(response))
        assert response["key"] == 42


@claim(
    5,
    "A middleware reads what the handler stored in the response",
    said=False,
)
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


@claim(6, "Two tasks may not wait in receive() of one WebSocket")
def test_parallel_receive_is_forbidden() -> None:
    outcomes: list[str] = []

    async def receive_twice(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        received = await asyncio.gather(
            ws.receive(), ws.receive(), return_exceptions=True
        )
        outcomes.extend(repr(each) for each in received)
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
        print(*outcomes, sep="\n")
        assert any("Concurrent call to receive()" in each for each in outcomes)

    run(main())


@claim(6, "Other tasks may send on the same WebSocket")
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


@claim(6, "async for ends when the peer has left", said=False)
def test_async_for_ends_with_the_peer() -> None:
    async def main() -> None:
        done = asyncio.Event()

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


PRINTED_READER = """
    async def read_subscription(ws, redis):
        channel, = await redis.subscribe('channel:1')

        try:
            async for msg in channel.iter():
                answer = process_the_message(msg)  # your function here
                await ws.send_str(answer)
        finally:
            await redis.unsubscribe('channel:1')
"""


@claim(
    6,
    "The example reads a Redis channel (by redis-py)",
    printed=PRINTED_READER,
    note="`subscribe()` and `iter()` are those of aioredis 1, which redis-py"
    " has replaced.",
    fails=AttributeError,
)
def test_printed_reader_runs_with_redis_py() -> None:
    import redis
    from redis.asyncio import Redis

    print(f"redis-py {redis.__version__}")
    names: dict[str, Any] = {"process_the_message": str}
    exec(dedent(PRINTED_READER), names)

    async def main() -> None:
        # Nobody listens on port 1: the call fails before it needs a server.
        client = Redis(host="127.0.0.1", port=1)
        await names["read_subscription"](None, client)

    run(main())


@claim(
    6,
    "The example's handler is complete: it ends without return ws",
    printed="""
        finally:
            task.cancel()
""",
    note="3.11 to master print no `return ws` here; question 7 has it.",
)
def test_printed_handler_needs_no_return(
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

    # The connection ends with the WebSocket either way, so only the log tells.
    # Before 3.10, aiohttp writes it in debug mode only.
    run(main(), debug=True)
    assert not log_of(caplog)


# 7. How do I programmatically close a WebSocket server-side?


PRINTED_ECHO = """
    async def echo_handler(request):

        ws = web.WebSocketResponse()
        user_id = authenticate_user(request)
        await ws.prepare(request)
        request.app[websockets_key][user_id].add(ws)
        try:
            async for msg in ws:
                ws.send_str(msg.data)
        finally:
            request.app[websockets_key][user_id].remove(ws)

        return ws
"""

WEBSOCKETS = key("WEBSOCKETS", dict)


def printed_echo() -> Any:
    """Return the printed `echo_handler`; its user is always ann."""
    names: dict[str, Any] = {
        "web": web,
        "websockets_key": WEBSOCKETS,
        "authenticate_user": lambda request: "ann",
    }
    exec(dedent(PRINTED_ECHO), names)
    return names["echo_handler"]


async def log_out(request: web.Request) -> web.Response:
    """Close all WebSockets of ann, as the FAQ does."""
    sockets = request.app[WEBSOCKETS]["ann"]
    closers = [ws.close() for ws in sockets if not ws.closed]
    await asyncio.gather(*closers)
    return web.Response(text="OK")


def with_logout(echo_handler: Any) -> web.Application:
    """Return an application with a registry, `/echo` and `/logout`."""
    app = app_with(web.get("/echo", echo_handler), web.post("/logout", log_out))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app[WEBSOCKETS] = defaultdict(set)
    return app


def registering(use: Callable[[web.WebSocketResponse], Awaitable[None]]) -> Any:
    """Return a handler that registers its WebSocket, and then uses it."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(timeout=1.5)
        await ws.prepare(request)
        sockets = request.app[WEBSOCKETS]["ann"]
        sockets.add(ws)
        try:
            await use(ws)
        finally:
            sockets.discard(ws)
        return ws

    return handler


async def receive_all(ws: web.WebSocketResponse) -> None:
    async for _ in ws:
        pass


async def upgrade_and_fall_silent(url: str) -> asyncio.StreamWriter:
    """Open a WebSocket whose peer never answers a close frame."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
    writer.write(
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    head = await reader.readuntil(b"\r\n\r\n")
    given(head.startswith(b"HTTP/1.1 101 "), "no WebSocket was opened")
    return writer


@claim(
    7,
    "The logout closes all WebSockets of the user",
    printed="""
        ws_closers = [ws.close()
                      for ws in request.app[websockets_key][user_id]
                      if not ws.closed]
""",
    note="The text calls the address `/logout_user`; the code registers"
    " `/logout`.",
)
def test_registry_closes_all() -> None:
    async def main() -> None:
        async with (
            serving(with_logout(printed_echo())) as url,
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


@claim(
    7,
    "A WebSocket that ends leaves the registry",
    printed="request.app[websockets_key][user_id].remove(ws)",
)
def test_printed_registry_forgets_what_has_ended() -> None:
    async def main() -> None:
        app = with_logout(printed_echo())
        async with serving(app) as url:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{url}/echo"),
            ):
                given(app[WEBSOCKETS]["ann"], "nothing was registered")
            await asyncio.sleep(0.1)
            print("registry:", dict(app[WEBSOCKETS]))
            assert not app[WEBSOCKETS]["ann"]

    run(main())


@claim(
    7,
    "/echo sends back what it receives",
    printed="ws.send_str(msg.data)",
    note="3.11 to master print it without `await`.",
)
def test_printed_echo_echoes() -> None:
    async def main() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            async with (
                serving(with_logout(printed_echo())) as url,
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{url}/echo") as ws,
            ):
                await ws.send_str("hi")
                silent = await is_silent(ws.receive())
        assert not silent

    run(main())


@claim(7, "The logout waits for a WebSocket whose handler is busy")
def test_logout_waits_for_a_busy_handler() -> None:
    async def be_busy(ws: web.WebSocketResponse) -> None:
        await asyncio.sleep(3)

    async def main() -> None:
        async with serving(with_logout(registering(be_busy))) as url:
            writer = await upgrade_and_fall_silent(url)
            try:
                assert await is_silent(ask(f"{url}/logout", "POST"))
            finally:
                writer.close()

    run(main())


@claim(7, "The logout waits for a peer that does not read what was sent before")
def test_logout_waits_for_a_peer_that_does_not_read() -> None:
    async def send_much(ws: web.WebSocketResponse) -> None:
        for _ in range(400):
            await ws.send_str("news " * 20_000)

    async def main() -> None:
        async with serving(with_logout(registering(send_much))) as url:
            writer = await upgrade_and_fall_silent(url)
            transport: Any = writer.transport
            transport.pause_reading()
            await asyncio.sleep(0.5)
            try:
                assert await is_silent(ask(f"{url}/logout", "POST"))
            finally:
                transport.abort()

    run(main())


@claim(
    7,
    "The logout does not wait for a silent peer whose handler is in receive()",
    said=False,
    note="`close()` waits for the peer's answer only where nobody receives.",
)
def test_logout_waits_for_no_answer_while_the_handler_receives() -> None:
    async def main() -> None:
        async with serving(with_logout(registering(receive_all))) as url:
            writer = await upgrade_and_fall_silent(url)
            try:
                assert not await is_silent(ask(f"{url}/logout", "POST"))
            finally:
                writer.close()

    run(main())


@claim(
    7,
    "close(code=4001) in another task sends the code 4001",
    said=False,
    note="Until 3.9 the peer reads 1000.",
)
def test_close_code_reaches_the_peer() -> None:
    async def main() -> None:
        app = with_logout(registering(receive_all))
        async with (
            serving(app) as url,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{url}/echo") as ws,
        ):
            [of_ann] = app[WEBSOCKETS]["ann"]
            closing = asyncio.ensure_future(of_ann.close(code=4001))
            message = await ws.receive(2)
            await closing
            print(message)
            given(message.type is aiohttp.WSMsgType.CLOSE, "no close frame")
            assert message.data == 4001

    run(main())


# 8. How do I make a request from a specific IP address?


async def show_remote(request: web.Request) -> web.Response:
    return web.Response(text=str(request.remote))


async def seen_from(host: str, target: str, **options: Any) -> str:
    """Return the address that a server on `host` sees."""
    app = app_with(web.get("/", show_remote))
    async with serving(app, host) as url:
        connector = aiohttp.TCPConnector(**options)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://{target}:{port_of(url)}/") as response,
        ):
            seen = await response.text()
    print(f"local_addr={options.get('local_addr')!r} is seen as {seen}")
    return seen


@claim(8, "local_addr chooses one of several IP interfaces")
def test_local_addr_chooses() -> None:
    async def main() -> None:
        local = ("127.0.0.2", 0)
        seen = await seen_from("127.0.0.1", "127.0.0.1", local_addr=local)
        assert seen == "127.0.0.2"

    run(main())


@claim(
    8,
    "The example sends from 127.0.0.1",
    printed="conn = aiohttp.TCPConnector("
    "local_addr=('127.0.0.1', 0), loop=loop)",
    note="Master prints it without `loop`.",
    fails=TypeError,
)
def test_printed_connector_sends_from_its_address() -> None:
    async def main() -> None:
        options: dict[str, Any] = {
            "local_addr": ("127.0.0.1", 0),
            "loop": asyncio.get_running_loop(),
        }
        seen = await seen_from("127.0.0.1", "127.0.0.1", **options)
        assert seen == "127.0.0.1"

    run(main())


@claim(
    8,
    "local_addr=('127.0.0.1', 0) reaches a target that has IPv6 only",
    said=False,
    fails=aiohttp.ClientConnectorError,
)
def test_address_of_one_family_reaches_the_other() -> None:
    async def main() -> None:
        await seen_from("::1", "[::1]", local_addr=("127.0.0.1", 0))

    run(main())


@claim(
    8,
    "local_addr=('', 0) can be used",
    said=False,
    note="No edition prints it: copies have lost the address.",
    fails=aiohttp.ClientConnectorError,
)
def test_empty_local_addr_can_be_used() -> None:
    async def main() -> None:
        await seen_from("127.0.0.1", "127.0.0.1", local_addr=("", 0))

    run(main())


@claim(
    8,
    "TCPConnector(loop=loop) gives no warning",
    said=False,
    note="The FAQ prints it up to 3.15, master does not.",
    fails=TypeError,
)
def test_connector_takes_a_loop_silently() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[aiohttp.TCPConnector] = []
        found = warnings_of(
            lambda: made.append(aiohttp.TCPConnector(loop=loop))
        )
        await made[0].close()
        assert not found

    run(main())


# 9. What is the API stability and deprecation policy?


@claim(
    9,
    "What is deprecated gives a DeprecationWarning: Application(loop=)",
    fails=TypeError,
)
def test_deprecated_loop_of_an_application_warns() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert warnings_of(
            lambda: web.Application(loop=loop), DeprecationWarning
        )

    run(main())


@claim(
    9,
    "What is deprecated gives a DeprecationWarning: ClientSession(loop=)",
    fails=TypeError,
)
def test_deprecated_loop_of_a_session_warns() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[aiohttp.ClientSession] = []
        found = warnings_of(
            lambda: made.append(aiohttp.ClientSession(loop=loop)),
            DeprecationWarning,
        )
        await made[0].close()
        assert found

    run(main())


@claim(
    9,
    "What is deprecated gives a DeprecationWarning: plain def handlers",
    fails=TypeError,
)
def test_deprecated_bare_handler_warns() -> None:
    def bare(request: web.Request) -> web.Response:
        return web.Response()

    handler: Any = bare
    assert warnings_of(
        lambda: app_with(web.get("/", handler)), DeprecationWarning
    )


@claim(
    9,
    "A release 3.Y removes nothing: ClientSession() without a running loop",
    fails=RuntimeError,
)
def test_no_minor_release_takes_a_session_away(
    outside: asyncio.AbstractEventLoop,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = aiohttp.ClientSession()
    print("made where no loop runs")
    outside.run_until_complete(session.close())


@claim(9, "A release 3.Y still runs on Python 3.8", said=False)
def test_no_minor_release_takes_a_python_away() -> None:
    from importlib.metadata import metadata

    needed = metadata("aiohttp")["Requires-Python"]
    print(f"Requires-Python: {needed}")
    oldest = int(needed.removeprefix(">=").split(".")[1])
    assert oldest <= 8


@claim(9, "A release 3.Y keeps the default time to connect", said=False)
def test_no_release_changes_the_time_to_connect() -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            print(session.timeout)
            assert session.timeout.sock_connect is None

    run(main())


# 10. How do I enable gzip compression globally for my entire application?


@web.middleware
async def compress(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    response.enable_compression()
    return response


async def fetch_compressed(
    app: web.Application, accepts: str = "gzip"
) -> tuple[str, bytes]:
    """Return the coding of an answer, and its body as it was sent."""
    async with (
        serving(app) as url,
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(url, headers={"Accept-Encoding": accepts}) as response,
    ):
        coding = response.headers.get("Content-Encoding", "identity")
        body = await response.read()
    print(
        f"Accept-Encoding: {accepts} -> {response.status} {coding},"
        f" {len(body)} bytes"
    )
    return coding, body


def compressing(text: str) -> web.Application:
    """Return an application that answers with a text, compressed."""

    async def send(request: web.Request) -> web.Response:
        return web.Response(text=text)

    return app_with(web.get("/", send), middlewares=[compress])


@claim(10, "It is impossible: an Application has no option for it")
def test_application_has_no_option_to_compress() -> None:
    options = list(inspect.signature(web.Application).parameters)
    print("options:", *options)
    assert not any("compress" in each or "gzip" in each for each in options)


@claim(10, "A custom middleware compresses everything")
def test_a_middleware_compresses() -> None:
    async def main() -> None:
        coding, _ = await fetch_compressed(compressing("text " * 1000))
        assert coding == "gzip"

    run(main())


@claim(10, "It is tricky to choose what to compress: a short text grows")
def test_choosing_what_to_compress_is_tricky() -> None:
    async def main() -> None:
        _, body = await fetch_compressed(compressing("ok"))
        assert len(body) > len("ok")

    run(main())


@claim(
    10,
    "A middleware that compresses everything answers a 204",
    said=False,
    fails=aiohttp.ServerDisconnectedError,
)
def test_a_naive_middleware_answers_a_204() -> None:
    async def answer_nothing(request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def main() -> None:
        app = app_with(web.get("/", answer_nothing), middlewares=[compress])
        await fetch_compressed(app)

    run(main())


@claim(10, "enable_compression() obeys gzip;q=0", said=False)
def test_compression_reads_weights() -> None:
    async def main() -> None:
        app = compressing("text " * 1000)
        coding, _ = await fetch_compressed(app, "gzip;q=0")
        assert coding == "identity"

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


@claim(11, "A single ClientSession pools its connections")
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


@claim(11, "A ClientSession for each request pools nothing")
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


@claim(11, "A session saves cookies")
def test_sessions_save_cookies() -> None:
    async def main() -> None:
        async with (
            serving(Upstream().app) as url,
            aiohttp.ClientSession() as session,
        ):
            await text_of(session, f"{url}/?user=ann")
            assert await text_of(session, url) == "ann"

    run(main())


@claim(11, "A session saves the cookies of an IP address", said=False)
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


@claim(11, "A session with a DummyCookieJar saves no cookies")
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


@claim(11, "Two sessions on one TCPConnector have cookies of their own")
def test_sessions_on_one_connector_have_their_cookies() -> None:
    async def main() -> None:
        upstream = Upstream()
        connector = aiohttp.TCPConnector()
        options: dict[str, Any] = {
            "connector": connector,
            "connector_owner": False,
        }
        async with serving(upstream.app) as url:
            async with aiohttp.ClientSession(**options) as session:
                await text_of(session, f"{url}/?user=ann")
            async with aiohttp.ClientSession(**options) as session:
                text = await text_of(session, url)
            await connector.close()
        assert text == "nobody"
        assert len(upstream.peers) == 1

    run(main())


# 12. How do I access database connections from a subapplication?


def with_nested(handler: Any) -> web.Application:
    """Return an application with a `db`, and one mounted in it without."""
    app, nested = web.Application(), app_with(web.get("/page", handler))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app["db"] = 42
    app.add_subapp("/prefix", nested)
    return app


@claim(12, "A subapplication does not see the keys of the outer application")
def test_request_app_is_the_nested_one() -> None:
    async def show(request: web.Request) -> web.Response:
        return web.Response(text=str("db" in request.app))

    async def main() -> None:
        async with serving(with_nested(show)) as url:
            assert await ask(f"{url}/prefix/page") == (200, "False")

    run(main())


@claim(
    12,
    "Copying the key shares a database that is open already",
    printed="subapp[db_key] = mainapp[db_key]",
    note="The copy needs the database first: an async factory opens it.",
)
def test_copied_key_shares() -> None:
    db_key = key("db_key", str)

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=request.app[db_key])

    async def init_app() -> web.Application:
        mainapp, subapp = web.Application(), app_with(web.get("/page", show))
        await asyncio.sleep(0)
        mainapp[db_key] = "connected"
        subapp[db_key] = mainapp[db_key]
        mainapp.add_subapp("/prefix", subapp)
        return mainapp

    async def main() -> None:
        async with serving(await init_app()) as url:
            assert await ask(f"{url}/prefix/page") == (200, "connected")

    run(main())


PRINTED_CONTEXT = """
   @contextlib.asynccontextmanager
   async def db_context(app: web.Application) -> AsyncIterator[None]:
      async with create_db() as db:
         mainapp[db_key] = mainapp[subapp_key][db_key] = db
         yield

   mainapp[subapp_key] = subapp
   mainapp.add_subapp("/prefix", subapp)
   mainapp.cleanup_ctx.append(db_context)
"""


PLAIN_CONTEXT = PRINTED_CONTEXT.replace("@contextlib.asynccontextmanager", "")

DB = key("db_key", str)


def sharing(
    source: str, subapp: web.Application, order: list[str]
) -> web.Application:
    """Run a printed cleanup context, and return the main application.

    What ends is noted in `order`.
    """

    @asynccontextmanager
    async def create_db() -> AsyncIterator[str]:
        yield "connected"
        order.append("the database")

    mainapp = web.Application()
    names: dict[str, Any] = {
        "AsyncIterator": AsyncIterator,
        "contextlib": contextlib,
        "create_db": create_db,
        "db_key": DB,
        "mainapp": mainapp,
        "subapp": subapp,
        "subapp_key": key("subapp_key", web.Application),
        "web": web,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(dedent(source), names)
    return mainapp


async def show_shared(request: web.Request) -> web.Response:
    return web.Response(text=request.app[DB])


async def share(source: str) -> None:
    """Serve with a printed context, and ask the subapplication."""
    order: list[str] = []
    subapp = app_with(web.get("/page", show_shared))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with serving(sharing(source, subapp, order)) as url:
            assert await ask(f"{url}/prefix/page") == (200, "connected")
    assert order == ["the database"]


@claim(
    12,
    "A cleanup context shares the database, too",
    printed=PRINTED_CONTEXT,
    note="3.11 to 3.13 print it without `@contextlib.asynccontextmanager`.",
    fails=AttributeError,
)
def test_printed_context_shares() -> None:
    run(share(PRINTED_CONTEXT))


@claim(
    12,
    "A cleanup context may be an async generator without a decorator",
    said=False,
    note="3.11 to 3.13 print it so.",
)
def test_plain_context_shares() -> None:
    run(share(PLAIN_CONTEXT))


@claim(
    12,
    "The subapplication's own contexts end before the database is closed",
    said=False,
)
def test_database_is_closed_after_the_nested_contexts() -> None:
    order: list[str] = []

    async def of_subapp(app: web.Application) -> AsyncIterator[None]:
        yield
        order.append("the subapplication's context")

    async def main() -> None:
        subapp = web.Application()
        subapp.cleanup_ctx.append(of_subapp)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            async with serving(sharing(PLAIN_CONTEXT, subapp, order)):
                pass

    run(main())
    print("ended:", ", then ".join(order))
    assert order == ["the subapplication's context", "the database"]


@claim(
    12,
    "request.config_dict finds the keys of the outer application",
    said=False,
)
def test_config_dict_reaches_the_outer_application() -> None:
    async def show(request: web.Request) -> web.Response:
        return web.Response(text=str("db" in request.config_dict))

    async def main() -> None:
        async with serving(with_nested(show)) as url:
            assert await ask(f"{url}/prefix/page") == (200, "True")

    run(main())


# 13. How do I perform operations in a request handler after sending the
# response?


@claim(13, "Middlewares run after every request")
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


@claim(
    13,
    "write_eof() sends the response before the handler returns",
    printed="await resp.write_eof()",
)
def test_write_eof_sends_before_the_handler_returns() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        async with serving(with_follow_up(gate.wait)) as url:
            status, _ = await ask(f"{url}/ping")
            assert not gate.is_set()
            gate.set()
            assert status == 200

    run(main())


PRINTED_PING = """
    def ping_handler(request):
        \"\"\"Send PONG and increase DB counter.\"\"\"

        # explicitly send the response
        resp = web.json_response({'message': 'PONG'})
        await resp.prepare(request)
        await resp.write_eof()

        # increase the pong count
        request.app[db_key].inc_pong()

        return resp
"""


@claim(
    13,
    "The example sends PONG, then counts it",
    printed=PRINTED_PING,
    note="3.11 to master print `def` in place of `async def`.",
    fails=SyntaxError,
)
def test_printed_ping_handler_compiles() -> None:
    compile(dedent(PRINTED_PING), "faq.py", "exec")


async def ask_twice(url: str) -> tuple[bytes, bytes]:
    """Send two requests, one after the other, on the same connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
    answers = []
    for number in ("first", "second"):
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(1000), 2)
        except ConnectionError:
            answer = b""
        first_line = answer.partition(b"\r\n")[0].decode()
        print(f"{number} request: {first_line or 'the connection has ended'}")
        answers.append(answer)
        await asyncio.sleep(0.1)
    writer.close()
    return answers[0], answers[1]


@claim(13, "A response must be returned, even if it has been sent")
def test_response_must_be_returned(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[bytes] = []

    async def ping(request: web.Request) -> Any:
        response = web.Response(text="PONG")
        await response.prepare(request)
        await response.write_eof()

    async def main() -> None:
        async with serving(app_with(web.get("/", ping))) as url:
            answers.extend(await ask_twice(url))
        given(b"PONG" in answers[0], "the first request was not answered")

    # Before 3.10, aiohttp ends the connection, and logs it in debug mode only.
    run(main(), debug=True)
    was_logged = bool(log_of(caplog))
    was_ended = not answers[1]
    assert was_logged or was_ended


@claim(
    13,
    "The next request on the connection is answered during the follow-up",
    said=False,
)
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


# 14. How do I make sure my custom middleware response will behave correctly?


@claim(14, "A middleware may send a response that is new each time")
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


@claim(14, "A response that was sent cannot be used again")
def test_sent_response_cannot_be_sent_again() -> None:
    async def main() -> None:
        cached = web.Response(text="Hi, I am cached!")

        async def send(request: web.Request) -> web.Response:
            return cached

        async with serving(app_with(web.get("/", send))) as url:
            assert await ask(url) == (200, "Hi, I am cached!")
            assert await is_silent(ask(url))

    run(main())


PRINTED_CACHE = """
    def misbehaved_middleware():
        # don't do this!
        cached = web.Response(status=200, text='Hi, I am cached!')

        @web.middleware
        async def middleware(request, handler):
            # ignoring response for the sake of this example
            _res = handler(request)
            return cached

        return middleware
"""


async def hangs_at_the_second_response(source: str) -> bool:
    """Serve below a printed middleware, and ask twice."""
    names: dict[str, Any] = {"web": web}
    exec(dedent(source), names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        middlewares = [names["misbehaved_middleware"]()]
        app = app_with(web.get("/", say_hi), middlewares=middlewares)
        async with serving(app) as url:
            if (await ask(url))[0] != 200:
                return False
            return await is_silent(ask(url))


@claim(
    14,
    "A middleware that sends one response twice hangs at the second",
    printed=PRINTED_CACHE,
)
def test_printed_middleware_hangs() -> None:
    async def main() -> None:
        assert await hangs_at_the_second_response(PRINTED_CACHE)

    run(main())


@claim(
    14,
    "Without @web.middleware, the middleware hangs as well",
    said=False,
    note="Master prints it without, which is right for aiohttp 4.0.",
)
def test_undecorated_middleware_hangs() -> None:
    undecorated = PRINTED_CACHE.replace("@web.middleware", "")

    async def main() -> None:
        assert await hangs_at_the_second_response(undecorated)

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
    class A:
        session = aiohttp.ClientSession()
"""


@pytest.fixture
def outside() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that is set, as in a main thread, and does not run."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


def import_printed(source: str) -> types.ModuleType:
    """Run a printed module, as `import mod` would."""
    module = types.ModuleType("mod")
    vars(module)["aiohttp"] = aiohttp
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(dedent(source), vars(module))
    except RuntimeError as error:
        print(f"import mod: {error!r}")
        raise
    print("import mod: done")
    return module


@claim(
    15,
    "mod.py makes its session while it is imported",
    printed="session = aiohttp.ClientSession()",
    fails=RuntimeError,
)
def test_printed_module_can_be_imported(
    outside: asyncio.AbstractEventLoop,
) -> None:
    import_printed(PRINTED_MODULE)


@claim(
    15,
    "A class variable is the same mistake as mod.py",
    printed=PRINTED_CLASS,
)
def test_class_body_is_the_same(outside: asyncio.AbstractEventLoop) -> None:
    outcomes = []
    for source in (PRINTED_MODULE, PRINTED_CLASS):
        try:
            import_printed(source)
            outcomes.append("imported")
        except RuntimeError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@claim(
    15,
    "fetch() of mod.py hangs where uvloop was installed after the import",
    note="It raises `RuntimeError` at once; since 3.10 the import does.",
    fails=RuntimeError,
)
def test_printed_fetch_hangs(outside: asyncio.AbstractEventLoop) -> None:
    import uvloop

    module = import_printed(PRINTED_MODULE)

    async def main() -> None:
        async with serving(app_with(web.get("/", say_hi))) as url:
            try:
                silent = await is_silent(module.fetch(url))
            except Exception as error:
                print(f"fetch: {error!r}")
                raise
            assert silent

    # The main.py of the FAQ runs uvloop after the import.
    other = uvloop.new_event_loop()
    other.run_until_complete(main())
    other.close()


@claim(15, "A session that is made in an async function works")
def test_session_made_inside_works() -> None:
    async def main() -> None:
        async with (
            serving(app_with(web.get("/", say_hi))) as url,
            aiohttp.ClientSession() as session,
        ):
            assert await text_of(session, url) == "hi"

    run(main())


@claim(
    15,
    "The same is true of web.Application: it serves one event loop only",
)
def test_application_serves_one_loop() -> None:
    app = app_with(web.get("/", say_hi))

    async def main() -> None:
        async with serving(app) as url:
            await ask(url)

    run(main())
    with pytest.raises(RuntimeError) as raised:
        run(main())
    print(repr(raised.value))


@claim(15, "A session that one test leaves to the next fails there")
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


@claim(15, "A session that is not closed gives a warning, in the best case")
def test_forgotten_session_warns() -> None:
    async def main() -> None:
        session = aiohttp.ClientSession()
        with pytest.warns(ResourceWarning) as caught:
            del session
        print(caught[0].message)

    run(main())


@claim(
    15,
    "A web.Application may be made where no event loop runs",
    said=False,
)
def test_application_can_be_made_outside() -> None:
    app = app_with(web.get("/", say_hi))

    async def main() -> None:
        async with serving(app) as url:
            assert await ask(url) == (200, "hi")

    run(main())


# 16. How do I enable Kernel TLS, and should I do it?


@claim(
    16,
    "The extra speedups installs aiofastnet, which Kernel TLS needs",
    note="3.15 and master have this question. Whether the kernel encrypts was"
    " not measured: that needs Python 3.12, aiofastnet and the kernel module"
    " tls.",
)
def test_speedups_bring_what_kernel_tls_needs() -> None:
    from importlib.metadata import requires

    speedups = [
        each for each in requires("aiohttp") or [] if "speedups" in each
    ]
    print("\n".join(speedups))
    if not any("aiofastnet" in each for each in speedups):
        pytest.skip("aiohttp has nothing for Kernel TLS")
