"""The FAQ's `subapp[db_key] = mainapp[db_key]` is a KeyError.

Applications are built before there is an event loop, and the database is opened
when they start. At the time of the copy there is nothing to copy
(aiohttp#2412). To have it sooner, people open the connection on import, and
then nobody closes it. Share it in a cleanup context, once it is open.

Try it::

    $ curl localhost:8080/sub/ 2>/dev/null || echo no answer
    no answer
    Log: KeyError: <AppKey(__main__.DATABASE, ...
"""

import os
from collections.abc import AsyncIterator

import aiosqlite
from aiohttp import web

DATABASE = web.AppKey("DATABASE", aiosqlite.Connection)

routes = web.RouteTableDef()


async def connection(app: web.Application) -> AsyncIterator[None]:
    async with aiosqlite.connect(":memory:") as app[DATABASE]:
        yield


@routes.get("/")
async def count_visit(request: web.Request) -> web.Response:
    """Count a visit to the sub-application."""
    db = request.app[DATABASE]
    [[visits]] = await db.execute_fetchall("SELECT 1")
    return web.json_response({"app": "sub", "visits": visits})


def create_app() -> web.Application:
    app, sub = web.Application(), web.Application()
    app.cleanup_ctx.append(connection)
    sub.add_routes(routes)
    sub[DATABASE] = app[DATABASE]  # wrong
    app.add_subapp("/sub", sub)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
