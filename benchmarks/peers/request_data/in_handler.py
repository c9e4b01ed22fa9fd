"""The handler makes the id and its header by itself: no middleware, no signal.

Nor has it a session, which the answer looks for in no request.
"""

import os

from aiohttp import web

from benchmarks.serve import serve


async def read_request_id(request: web.Request) -> web.Response:
    request_id = request.headers.get("X-Request-ID") or os.urandom(16).hex()
    return web.json_response(
        {"request_id": request_id}, headers={"X-Request-ID": request_id}
    )


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/", read_request_id)
    serve(app)
