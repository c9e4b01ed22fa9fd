"""A bare pool of psycopg, with the statements of the production file.

Run with the address of a PostgreSQL.
"""

import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from aiohttp import web
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.serve import serve
from recipes.production.database import INSERT, MAX_CONNECTIONS, MIGRATIONS

POOL = web.AppKey("POOL", AsyncConnectionPool[AsyncConnection[dict[str, Any]]])


async def open_pool(app: web.Application) -> AsyncIterator[None]:
    async with AsyncConnectionPool[AsyncConnection[dict[str, Any]]](
        sys.argv[1],
        min_size=MAX_CONNECTIONS,
        max_size=MAX_CONNECTIONS,
        kwargs={"autocommit": True, "row_factory": dict_row},
    ) as pool:
        async with pool.connection() as connection:
            for statement in MIGRATIONS:
                await connection.execute(statement)
        app[POOL] = pool
        yield


async def add_note(request: web.Request) -> web.Response:
    text = (await request.json())["text"]
    async with (
        request.app[POOL].connection() as connection,
        connection.transaction(),
    ):
        cursor = await connection.execute(
            INSERT, {"texts": [text], "key": uuid4().hex}
        )
        [row] = await cursor.fetchall()
    return web.json_response({"id": row["id"], "text": text}, status=201)


async def read_note(request: web.Request) -> web.Response:
    async with request.app[POOL].connection() as connection:
        cursor = await connection.execute(
            "SELECT id, text FROM notes WHERE id = %s",
            [int(request.match_info["id"])],
        )
        [row] = await cursor.fetchall()
    return web.json_response(row)


if __name__ == "__main__":
    app = web.Application()
    app.cleanup_ctx.append(open_pool)
    app.router.add_post("/notes", add_note)
    app.router.add_get("/notes/{id}", read_note)
    serve(app)
