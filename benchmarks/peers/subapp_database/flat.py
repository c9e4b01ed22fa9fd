"""The same visits without sub-applications: one handler, one connection.

Run with the path of a database.
"""

import sys
from collections.abc import AsyncIterator

from aiohttp import web
from aiosqlite import Connection, connect

from benchmarks.serve import serve
from recipes.subapp_database import COUNT, SCHEMA

DATABASE = web.AppKey("DATABASE", Connection)


async def open_database(app: web.Application) -> AsyncIterator[None]:
    async with connect(sys.argv[1], isolation_level=None) as connection:
        await connection.executescript(SCHEMA)
        app[DATABASE] = connection
        yield


async def count_visit(request: web.Request) -> web.Response:
    # The thread of the connection runs one statement after the other.
    [row] = await request.app[DATABASE].execute_fetchall(COUNT)
    return web.json_response({"app": "deeper", "visits": row[0]})


if __name__ == "__main__":
    app = web.Application()
    app.cleanup_ctx.append(open_database)
    app.router.add_get("/sub/deeper/", count_visit)
    serve(app)
