"""What a sub-application writes at its end meets a closed database.

aiohttp 3.14 leaves cleanup contexts from the outside in: the parent's first,
then those of what is nested in it. A connection that the parent opened is
closed when the sub-application wants to write its last line. The exception
stops the clean-up of every application after it, too.

Try it::

    $ curl localhost:8080/sub/
    {"app": "sub", "visits": 1}
    $ kill $SERVER; sleep 1
    Log: ValueError: no active connection
"""

import os
from collections.abc import AsyncIterator
from functools import partial

import aiosqlite
from aiohttp import web

DATABASE = web.AppKey("DATABASE", aiosqlite.Connection)

routes = web.RouteTableDef()


async def connection(
    app: web.Application, sub: web.Application
) -> AsyncIterator[None]:
    async with aiosqlite.connect(":memory:") as db:
        await db.execute("CREATE TABLE journal (event TEXT)")
        sub[DATABASE] = app[DATABASE] = db
        yield


async def journal(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[DATABASE].execute("INSERT INTO journal VALUES ('closed')")


@routes.get("/")
async def count_visit(request: web.Request) -> web.Response:
    """Count a visit to the sub-application."""
    db = request.app[DATABASE]
    await db.execute("INSERT INTO journal VALUES ('visit')")
    [[visits]] = await db.execute_fetchall("SELECT count(*) FROM journal")
    return web.json_response({"app": "sub", "visits": visits})


def create_app() -> web.Application:
    app, sub = web.Application(), web.Application()
    sub.cleanup_ctx.append(journal)
    sub.add_routes(routes)
    app.cleanup_ctx.append(partial(connection, sub=sub))
    app.add_subapp("/sub", sub)  # wrong
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
