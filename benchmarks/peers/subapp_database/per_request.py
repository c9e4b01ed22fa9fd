"""A connection for each request, so that nothing has to be handed down.

Run with the path of a database.
"""

import sys
from contextlib import closing
from sqlite3 import connect as connect_now

from aiohttp import web
from aiosqlite import connect

from benchmarks.serve import serve
from recipes.subapp_database import COUNT, SCHEMA


async def count_visit(request: web.Request) -> web.Response:
    async with connect(sys.argv[1], isolation_level=None) as connection:
        await connection.execute("PRAGMA synchronous = NORMAL")
        [row] = await connection.execute_fetchall(COUNT)
    return web.json_response({"app": "deeper", "visits": row[0]})


if __name__ == "__main__":
    with closing(connect_now(sys.argv[1])) as connection:
        connection.executescript(SCHEMA)
    app = web.Application()
    app.router.add_get("/sub/deeper/", count_visit)
    serve(app)
