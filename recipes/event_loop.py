# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10,<4"]
# ///
"""Why is creating a ClientSession outside of an event loop dangerous?

Make the session in a cleanup context. It runs in the loop that serves, and
closes the session before that loop ends. A session belongs to the loop that it
was made in. On import there is no loop, so aiohttp raises. A session from an
earlier loop fails when it is used. An application serves one loop, too: make it
in a function.

Try it::

    $ curl localhost:8080/fetch
    {"upstream": "made and used in one loop"}
    $ curl localhost:8080/demonstration
    {"outside": "...no running event loop", "second_loop": "...loop is closed"}

Good to know:

- Each `asyncio.run` has its own loop, and so has each test. For tests, make a
  session in an async fixture of function scope: testing/test_event_loop.py.
- Choose uvloop where the server starts:
  `web.run_app(create_app(), loop=uvloop.new_event_loop())`.
- Connectors, cookie jars and resolvers need a running loop as well.
- The FAQ of aiohttp 3.14 says that its `mod.py` hangs. It raises: on import
  since aiohttp 3.10. On 3.7.4 and 3.9.5 the first request fails with "Timeout
  context manager should be used inside a task".
"""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from yarl import URL

SESSION = web.AppKey("SESSION", ClientSession)
# Seconds for a call. It bounds the threads below, too: none can be cancelled.
TIMEOUT = ClientTimeout(total=3)

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


# answer
async def client_session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(timeout=TIMEOUT) as session:
        app[SESSION] = session
        yield


@routes.get("/fetch")
async def fetch(request: web.Request) -> web.Response:
    """Fetch through the session of the loop that serves."""
    text = await fetch_text(request.app[SESSION], upstream_url(request))
    return web.json_response({"upstream": text})


# end of answer


async def fetch_text(session: ClientSession, url: URL) -> str:
    try:
        async with session.get(url, raise_for_status=True) as response:
            return await response.text("utf-8")
    except (ClientError, TimeoutError, ValueError) as error:
        reason = "the upstream failed"
        logger.warning("%s: %s: %s", reason, type(error).__name__, error)
        body = json.dumps({"error": reason})
        raise web.HTTPBadGateway(
            text=body, content_type="application/json"
        ) from error


@routes.get("/demonstration")
async def demonstrate(request: web.Request) -> web.Response:
    """Make both mistakes, each in a thread that has no loop of its own."""
    outside, second_loop = await asyncio.gather(
        asyncio.to_thread(ClientSession),
        asyncio.to_thread(use_in_second_loop, upstream_url(request)),
        return_exceptions=True,
    )
    answer = {
        "outside": describe(outside),
        "second_loop": describe(second_loop),
    }
    return web.json_response(answer)


def use_in_second_loop(url: URL) -> None:
    session = asyncio.run(make_session())
    asyncio.run(use_session(session, url))


async def make_session() -> ClientSession:
    return ClientSession(timeout=TIMEOUT)


async def use_session(session: ClientSession, url: URL) -> None:
    async with session:
        await session.get(url)


def describe(outcome: object) -> str:
    return f"{type(outcome).__name__}: {outcome}"


# Only for this demonstration:


def upstream_url(request: web.Request) -> URL:
    """Return the address of the route below, which plays the upstream."""
    # The port is not the one of the Host header, where a client can write any.
    port = port_of(request, "sockname")
    url = URL.build(scheme="http", host="localhost", port=port)
    return url.join(request.app.router["upstream"].url_for())


def port_of(request: web.Request, end: str) -> int:
    # There is none on a Unix socket, and none where the client has left.
    address = request.get_extra_info(end)
    return int(address[1]) if isinstance(address, tuple) else 1


@routes.get("/upstream", name="upstream")
async def answer_as_upstream(request: web.Request) -> web.Response:
    """Answer what is fetched."""
    return web.Response(text="made and used in one loop")


# answer
def create_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(client_session)
    app.add_routes(routes)
    return app


# end of answer


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(
            create_app(), host="127.0.0.1", port=port, shutdown_timeout=5
        )
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
