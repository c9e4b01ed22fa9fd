"""The shape that the FAQ of aiohttp gives: the handler works on."""

import asyncio

from aiohttp import web

from benchmarks.peers.after_response import WORK
from benchmarks.serve import serve

COUNT = web.AppKey("COUNT", dict[str, int])


async def ping(request: web.Request) -> web.Response:
    response = web.json_response({"message": "PONG"})
    await response.prepare(request)
    await response.write_eof()
    await asyncio.sleep(WORK)
    request.app[COUNT]["pings"] += 1
    return response


if __name__ == "__main__":
    app = web.Application()
    app[COUNT] = {"pings": 0}
    app.router.add_post("/ping", ping)
    serve(app)
