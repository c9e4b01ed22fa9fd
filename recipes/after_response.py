# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4", "aiojobs>=1.3"]
# ///
"""How do I perform operations in a request handler after sending the response?

Spawn the work into a scheduler that the application owns, and return the
response: the client does not wait for the work. Send the response yourself
first, with `prepare()` and `write_eof()`, only where the work must not begin
before the answer is out. Do not do the work in the handler after that: the
client's next request on the same connection would wait for it.

Try it::

    $ curl -X POST "localhost:8080/ping?work=1.5"
    {"message": "PONG"}
    $ curl localhost:8080/count
    {"count": ..., "pending": 1}
    $ sleep 3
    $ curl localhost:8080/count
    {"count": ..., "pending": 0}

Good to know:

- The scheduler waits 5 seconds for the work at shutdown, then cancels it. What
  fails is logged.
- A scheduler runs up to 100 jobs at a time, unless it has `limit=None`.
- No middleware can change an answer that `write_eof()` has sent. Those around
  the handler have to look at `response.prepared`.
- Copied as it is, this file accepts a POST from a page of another site.
- The count belongs to one process. production/after_response.py keeps it in
  PostgreSQL, and stores the work before it answers.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator

from aiohttp import web
from aiojobs import Scheduler

SCHEDULER = web.AppKey("SCHEDULER", Scheduler)
COUNT = web.AppKey("COUNT", dict[str, int])

GRACE = 5.0
"""Seconds that the work has when the server ends."""

MAX_WORK = 1.5
"""Seconds that a client may ask for."""

routes = web.RouteTableDef()


# answer
async def open_scheduler(app: web.Application) -> AsyncIterator[None]:
    async with Scheduler(limit=None, wait_timeout=GRACE) as scheduler:
        app[SCHEDULER] = scheduler
        yield


@routes.post("/ping")
async def ping(request: web.Request) -> web.Response:
    """Start the work, and send PONG."""
    # Take from the request what the work needs. Its body cannot be read later.
    seconds = read_work(request)
    fail = read_fail(request)
    work = count_ping(request.app, seconds, fail)
    await request.app[SCHEDULER].spawn(work)
    return web.json_response({"message": "PONG"})


@routes.post("/ping-in-order")
async def ping_in_order(request: web.Request) -> web.Response:
    """Send PONG, and only then start the work."""
    seconds = read_work(request)
    fail = read_fail(request)
    response = web.json_response({"message": "PONG"})
    is_sent = False
    try:
        await response.prepare(request)
        await response.write_eof()
        is_sent = True
    except ConnectionError:
        if not has_left(request):
            raise
    finally:
        # The work of a client that has left is done all the same. Where the
        # server has failed to answer, the client will ask again.
        if is_sent or has_left(request):
            work = count_ping(request.app, seconds, fail)
            await request.app[SCHEDULER].spawn(work)
    # aiohttp needs the response, although it has been sent.
    return response


# end of answer


def has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def count_ping(app: web.Application, seconds: float, fail: bool) -> None:
    try:
        await asyncio.sleep(seconds)
        if fail:
            raise RuntimeError("this follow-up was told to fail")
        app[COUNT]["pings"] += 1
    except asyncio.CancelledError:
        # aiojobs logs what fails, and not what it cancels.
        app.logger.error("a follow-up was cancelled: the server ends")
        raise


def read_work(request: web.Request) -> float:
    texts = request.query.getall("work", ["0.05"])
    if len(texts) == 1 and re.fullmatch(r"[0-9](\.[0-9]{1,9})?", texts[0]):
        seconds = float(texts[0])
        if seconds <= MAX_WORK:
            return seconds
    reason = f"work must be one number, 0 to {MAX_WORK}"
    raise json_error(web.HTTPBadRequest, reason)


def read_fail(request: web.Request) -> bool:
    fails = request.query.getall("fail", ["0"])
    if fails not in (["0"], ["1"]):
        raise json_error(web.HTTPBadRequest, "fail must be 0 or 1, once")
    return fails == ["1"]


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.get("/count")
async def read_count(request: web.Request) -> web.Response:
    """Show the count, and how many follow-ups are pending."""
    pending = len(request.app[SCHEDULER])
    count = request.app[COUNT]["pings"]
    return web.json_response({"count": count, "pending": pending})


def create_app() -> web.Application:
    app = web.Application()
    app[COUNT] = {"pings": 0}
    # After the contexts that the work needs: the last to open closes first.
    app.cleanup_ctx.append(open_scheduler)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(
            create_app(), host="127.0.0.1", port=port, shutdown_timeout=5
        )
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
