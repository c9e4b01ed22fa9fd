"""A database that nobody closes keeps the process from ending.

Since aiosqlite 0.22 a connection is a thread that the interpreter waits for at
its end (aiosqlite#299). `run_app` returns at SIGTERM, and then nothing happens,
until the platform loses patience and kills it. A cleanup context closes it.

Try it::

    $ curl localhost:8080/answer
    {"answer": 42}
    $ kill $SERVER; sleep 2; kill -0 $SERVER 2>/dev/null && echo still there
    still there
"""

import os

from aiohttp import web
from aiosqlite import Connection, connect

READER = web.AppKey("READER", Connection)

routes = web.RouteTableDef()


async def open_database(app: web.Application) -> None:
    app[READER] = await connect(os.environ.get("DATABASE", "notes.db"))  # wrong


@routes.get("/answer")
async def read_answer(request: web.Request) -> web.Response:
    """Let the database say 42."""
    [[answer]] = await request.app[READER].execute_fetchall("SELECT 42")
    return web.json_response({"answer": answer})


def create_app() -> web.Application:
    app = web.Application()
    app.on_startup.append(open_database)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
