"""A bare pool of asyncpg, with the statements of the production file.

Run with the address of a PostgreSQL. asyncpg speaks the protocol in a dialect
of its own: a statement is prepared once for each connection, and its values
are numbered.
"""

import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
from aiohttp import web

from benchmarks.serve import serve
from recipes.production.database import INSERT, MAX_CONNECTIONS, MIGRATIONS

POOL = web.AppKey("POOL", asyncpg.Pool)

NUMBERED = INSERT.replace("%(key)s", "$1").replace("%(texts)s", "$2")


async def open_pool(app: web.Application) -> AsyncIterator[None]:
    async with asyncpg.create_pool(
        sys.argv[1], min_size=MAX_CONNECTIONS, max_size=MAX_CONNECTIONS
    ) as pool:
        for statement in MIGRATIONS:
            await pool.execute(statement)
        app[POOL] = pool
        yield


async def add_note(request: web.Request) -> web.Response:
    text = (await request.json())["text"]
    async with (
        request.app[POOL].acquire() as connection,
        connection.transaction(),
    ):
        [row] = await connection.fetch(NUMBERED, uuid4().hex, [text])
    return web.json_response({"id": row["id"], "text": text}, status=201)


async def read_note(request: web.Request) -> web.Response:
    row = await request.app[POOL].fetchrow(
        "SELECT id, text FROM notes WHERE id = $1",
        int(request.match_info["id"]),
    )
    return web.json_response(dict(row))


if __name__ == "__main__":
    app = web.Application()
    app.cleanup_ctx.append(open_pool)
    app.router.add_post("/notes", add_note)
    app.router.add_get("/notes/{id}", read_note)
    serve(app)
