# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""Why is creating a ClientSession outside of an event loop dangerous?

A session belongs to the loop that it was made in, and has to be closed before
that loop ends. Make it in a cleanup context, which does both. The FAQ's
`mod.py` does not hang any more: since aiohttp 3.10 it fails on import with
`RuntimeError` (aiohttp#8555). What is left is the session that outlives its
loop, kept by a module, a class or a fixture: it fails in the next loop.

Try it::

    $ curl localhost:8080/fetch
    {"upstream": "made and used in one loop"}
    $ curl localhost:8080/demonstration
    {"outside": "...no running event loop", "second_loop": "...loop is closed"}

Good to know:

- Without a running loop, connectors, cookie jars and resolvers raise as well;
  `TraceConfig` and `web.Application` do not. Yet an application serves only
  one loop, so export a factory, as `create_app` here.
- Each `asyncio.run` is a new loop, and so is each test in most set-ups: the
  first test passes, the second fails.
- While the first loop lives, in another thread say, the message misleads:
  "Timeout context manager should be used inside a task" (aiohttp#10153).
- A `loop=` argument hides the mistake until the first request fails so.
- With uvloop, use `uvloop.run` or `asyncio.Runner(loop_factory=...)`, so that
  the loop is chosen before anything is made in it.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from yarl import URL

SESSION = web.AppKey("SESSION", ClientSession)
UPSTREAM = web.AppKey("UPSTREAM", URL)
DEADLINE = 3.0

routes = web.RouteTableDef()


@asynccontextmanager
async def upstream(app: web.Application) -> AsyncIterator[None]:
    """Serve something to fetch, so that the recipe needs no network."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text="made and used in one loop")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        app[UPSTREAM] = URL(f"http://127.0.0.1:{site.port}/")
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def session(app: web.Application) -> AsyncIterator[None]:
    """Make the session in the loop that serves, and close it there."""
    async with ClientSession(timeout=ClientTimeout(DEADLINE)) as session:
        app[SESSION] = session
        yield


@routes.get("/fetch")
async def fetch(request: web.Request) -> web.Response:
    """Fetch through the session of the loop that serves."""
    try:
        text = await read(request.app[SESSION], request.app[UPSTREAM])
    except (ClientError, TimeoutError) as error:
        raise web.HTTPBadGateway(
            text='{"error": "the upstream did not answer"}',
            content_type="application/json",
        ) from error
    return web.json_response({"upstream": text})


async def read(session: ClientSession, url: URL) -> str:
    async with session.get(url) as response:
        return await response.text()


@routes.get("/demonstration")
async def demonstrate(request: web.Request) -> web.Response:
    """Make both mistakes, each in a thread that has no loop of its own."""
    outside, second_loop = await asyncio.gather(
        asyncio.to_thread(ClientSession),
        asyncio.to_thread(use_in_second_loop, request.app[UPSTREAM]),
        return_exceptions=True,
    )
    return web.json_response(
        {"outside": tell(outside), "second_loop": tell(second_loop)}
    )


def use_in_second_loop(url: URL) -> str:
    async def make() -> ClientSession:
        return ClientSession()

    async def use(session: ClientSession) -> str:
        # No thread can be cancelled: it has to bound what it does.
        async with asyncio.timeout(DEADLINE), session:
            return await read(session, url)

    return asyncio.run(use(asyncio.run(make())))


def tell(outcome: object) -> str:
    return f"{type(outcome).__name__}: {outcome}"


def create_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.extend([upstream, session])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
