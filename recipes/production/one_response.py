# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4", "redis>=5.0.1"]
# ///
"""How do I make sure my custom middleware response will behave correctly?

Start from this file when you go live with several workers. They share one
cache, in Redis. Of many requests that come at once, on any worker, one has the
answer made, and the others wait for it. Without Redis, each worker makes its
own.

Try it::

    $ curl -X POST localhost:8080/forget
    $ curl -i "localhost:8080/greeting?name=ann" | tee first
    HTTP/1.1 200 OK...X-Cache: miss...{"greeting": "Hello, ann!"}
    $ curl -i "localhost:8080/greeting?name=ann"
    HTTP/1.1 200 OK...Age: ...X-Cache: hit...{"greeting": "Hello, ann!"}
    $ ETAG=$(grep -i '^etag' first | cut -d '"' -f 2)
    $ curl -iH "If-None-Match: \\"$ETAG\\"" "localhost:8080/greeting?name=ann"
    HTTP/1.1 304 Not Modified...X-Cache: hit...
    $ curl localhost:8080/fresh
    {"ticket": "..."}
    $ curl localhost:8080/missing
    {"error": "there is nothing here"}

Good to know:

- Only a handler knows that its answer is the same for everybody: it opts in, by
  `response[REUSABLE] = True`. A cookie, or a header that is not in
  `KEPT_HEADERS`, keeps it out all the same.
- An answer may vary by `Accept-Encoding`, and by what `VARY_BY` names. One that
  varies by anything else is not kept.
- `await forget(app, path)` where you change what an answer was made of. On all
  workers, who comes later gets a new one, even if an old one is being made.
- An answer is made in a task of the application. The client who came first may
  leave; the others still get it.
- An answer is sent for a minute. Redis keeps 1000 of at most 64 KiB, and tells
  their age: the clocks of workers may differ.
- A cache that is away takes no page down. A Redis that is frozen holds each
  request for half a second. Only forgetting is a 503: it cannot be promised.
- A Redis that comes back without its memory costs a new answer for each. One
  that comes back with older data, or while an answer is made, may not know that
  this was forgotten, and sends it for a minute at most.
- When Redis is full, it answers from what it has, and keeps nothing new.
- Who waits for an answer waits for 3 s. Then one of them has it made, too: its
  worker may have died, or hang. So a handler that is slower runs again every
  3 s, until there is an answer. Set `LEASE` above the time of your slowest.
- `request.host` is what the client sent. A client that invents hosts evicts the
  answers of others. Let the proxy in front refuse hosts that are not yours.
"""

import asyncio
import hashlib
import json
import logging
import os
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import ETag, hdrs, web
from aiohttp.typedefs import Handler
from redis.asyncio import BlockingConnectionPool, Redis, RedisError

# Seconds for which an answer is sent, and an outage is not logged again.
MAX_AGE = 60
# Answers that are kept. The one that was stored first makes room.
MAX_ANSWERS = 1000
# Bytes of the largest body that is kept: 64 MiB for all answers.
MAX_BODY = 2**16
# Seconds for which all others leave an answer to the one who makes it.
LEASE = 3.0
# Seconds between two looks for the answer of another worker.
LOOK_AGAIN = 0.05
# Seconds that Redis has to answer.
REDIS_TIMEOUT = 0.5

# Headers that are the same for everybody. Any other keeps an answer out.
KEPT_HEADERS = {"content-type", "content-language", "etag", "vary"}
# Headers of a request that answers depend on, such as "accept-language". Each
# of their values has answers of its own: name no more than your handlers read.
VARY_BY: list[str] = []

# Each answer, and the lease of the worker that makes it.
ANSWER = "one_response:answer:"
LEASED = "one_response:lease:"
# When each answer was stored, the oldest first.
INDEX = "one_response:index"
# The generation of a path, a random number, is a part of its answers. A new one
# forgets them all, those in the making, too.
GENERATION = "one_response:generation:"
# Seconds that it stays: longer than any answer is made and kept.
GENERATION_AGE = 24 * 60 * 60

# Headers of a 503: come again after a second.
LATER = {hdrs.RETRY_AFTER: "1"}

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()

# Set to True by a handler whose answer is the same for everybody.
REUSABLE = web.ResponseKey("REUSABLE", bool)


class Answer(NamedTuple):
    """What a response is made of: nothing can change."""

    headers: tuple[tuple[str, str], ...]
    is_compressed: bool
    body: bytes


# Where others wait for an answer. None: there is none for them. It is cancelled
# if the answer was forgotten while it was made.
Shared = asyncio.Future[Answer | None]


@dataclass
class Cache:
    """The answers in Redis, and those that this worker looks for or makes.

    `opts_in` says of each handler that has answered whether it ever opted in,
    `warned` when the log was last told that Redis is away.
    """

    redis: Redis
    opts_in: dict[Any, bool] = field(default_factory=lambda: defaultdict(bool))
    shared: dict[str, Shared] = field(default_factory=dict)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    is_away: bool = False
    warned: float = float("-inf")


class Call(NamedTuple):
    """A request, and the key of all requests for the same answer."""

    cache: Cache
    request: web.Request
    handler: Handler
    key: str


CACHE = web.AppKey("CACHE", Cache)
SHARED = web.RequestKey("SHARED", Shared)


# answer
@web.middleware
async def reuse_answers(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Send what is kept. Where nothing is, have it made once for all."""
    cache = request.app[CACHE]
    if not may_share(request):
        return await handler(request)
    endpoint = request.match_info.handler
    if cache.opts_in.get(endpoint) is False:
        response = await handler(request)
        cache.opts_in[endpoint] |= read_answer(response) is not None
        return response
    call = Call(cache, request, handler, make_key(request))
    if request.method == hdrs.METH_HEAD:
        # Of HEAD, a handler may leave the body out: it fills nothing.
        _, answer = await look(call)
    elif shared := await wait_for_others(cache, call.key):
        answer = shared.result()
    else:
        return await take_off(call)
    return respond(request, answer) if answer else await handler(request)


# end of answer


def may_share(request: web.Request) -> bool:
    """Say whether others may get the same answer; one reason a line."""
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return False
    # Another body may have another answer, and a WebSocket has none.
    if request.body_exists or hdrs.UPGRADE in request.headers:
        return False
    # aiohttp itself refuses this path, or this method.
    return request.match_info.http_exception is None


def make_key(request: web.Request) -> str:
    accepted = [request.headers.getall(name, []) for name in VARY_BY]
    # Without the host, links that begin with one host go to another.
    return digest(request.host, request.raw_path, accepted)


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


async def wait_for_others(cache: Cache, key: str) -> Shared | None:
    """Return what others have got, or None where we have to get it."""
    while shared := cache.shared.get(key):
        await asyncio.wait([shared], timeout=LEASE)
        if shared.done() and not shared.cancelled():
            return shared
        if cache.shared.get(key) is shared:
            # It hangs, or is slow. One more may try: the others wait for that.
            return None
    return None


async def take_off(call: Call) -> web.StreamResponse:
    """Fly in a task: it goes on for the others where its client leaves."""
    shared: Shared = asyncio.get_running_loop().create_future()
    call.request[SHARED] = shared
    call.cache.shared[call.key] = shared
    task = asyncio.create_task(fly(call))
    call.cache.tasks.add(task)
    task.add_done_callback(call.cache.tasks.discard)
    await asyncio.wait([task])
    return task.result()


async def fly(call: Call) -> web.StreamResponse:
    """Find an answer, or make it, for all who wait for it."""
    cache, request, handler, key = call
    shared = request[SHARED]
    answer = None
    try:
        generation, answer = await find(call)
        if answer is not None:
            return respond(request, answer)
        try:
            response = await handler(request)
            answer = read_answer(response)
            # An error says nothing of the answers to come, nor does no answer.
            if response is not None and response.status == 200:
                cache.opts_in[request.match_info.handler] |= answer is not None
        finally:
            if not cache.is_away:
                await ask(cache, land(call, generation, answer))
        return respond(request, answer, "miss") if answer else response
    finally:
        # Of one more who tries, perhaps. Who comes now finds what we have kept.
        cache.shared.pop(key, None)
        if not shared.done():
            shared.set_result(answer)


async def let_others_go(
    request: web.Request, response: web.StreamResponse
) -> None:
    """Before headers are sent: a handler that sends has nothing to share."""
    if (shared := request.get(SHARED)) and not shared.done():
        shared.set_result(None)


async def find(call: Call) -> tuple[bytes, Answer | None]:
    """Look for an answer that is kept, until there is one or we may make it.

    Wait while another worker makes it, for two leases at most.
    """
    is_ours = False
    for _ in range(round(2 * LEASE / LOOK_AGAIN)):
        generation, answer = await look(call)
        if answer or is_ours or call.cache.is_away:
            break
        # Once more after this: another worker may have kept one, and be done.
        is_ours = await take_lease(call.cache, call.key)
        await asyncio.sleep(0 if is_ours else LOOK_AGAIN)
    if is_ours and answer:
        await ask(call.cache, call.cache.redis.delete(LEASED + call.key))
    return generation, answer


async def look(call: Call) -> tuple[bytes, Answer | None]:
    """Return the generation of a path, and an answer of it that is kept."""
    async with call.cache.redis.pipeline() as transaction:
        path = GENERATION + digest(call.request.path)
        transaction.mget(path, ANSWER + call.key)
        transaction.ttl(ANSWER + call.key)
        reply = await ask(call.cache, transaction.execute())
    [number, value], seconds = reply or [(None, None), 0]
    generation = number or b""
    age = (hdrs.AGE, str(max(0, MAX_AGE - seconds)))
    # Another version of this file may have kept something else: no answer.
    with suppress(TypeError, ValueError):
        made_in, details, body = (value or b"").split(b"\n", 2)
        is_compressed, pairs = json.loads(details)
        headers = tuple((name, text) for name, text in [*pairs, age])
        if made_in == generation:
            return generation, Answer(headers, is_compressed, body)
    return generation, None


async def take_lease(cache: Cache, key: str) -> bool:
    lease = cache.redis.set(LEASED + key, "", nx=True, px=round(1000 * LEASE))
    # A Redis that is full gives none: whoever waited for it would wait in vain.
    return bool(await ask(cache, lease)) or cache.is_away


async def land(call: Call, generation: bytes, answer: Answer | None) -> None:
    """Keep what was made, if it is for others, and give the lease back."""
    name = ANSWER + call.key
    async with call.cache.redis.pipeline() as transaction:
        if answer is not None:
            details = json.dumps([answer.is_compressed, answer.headers])
            value = b"\n".join([generation, details.encode(), answer.body])
            transaction.set(name, value, ex=MAX_AGE)
            transaction.zadd(INDEX, {name: time.time()})
        transaction.delete(LEASED + call.key)
        transaction.zrange(INDEX, 0, -1 - MAX_ANSWERS)
        transaction.get(GENERATION + digest(call.request.path))
        *_, oldest, number = await transaction.execute()
    if (number or b"") != generation:
        # It was forgotten while it was made. Others may have come after that.
        call.request[SHARED].cancel()
    if oldest:
        await call.cache.redis.unlink(*oldest)
        await call.cache.redis.zrem(INDEX, *oldest)


async def ask(cache: Cache, command: Awaitable[Any]) -> Any:
    """Return what Redis answers, or None where it is away."""
    try:
        async with asyncio.timeout(REDIS_TIMEOUT):
            reply = await command
    # uvloop raises a RuntimeError where a connection was reset.
    except (RedisError, OSError, RuntimeError) as error:
        # A Redis that is full can be read: it comes and goes with each command.
        if time.monotonic() >= cache.warned + MAX_AGE:
            # A TimeoutError has no text, and the errors of redis-py 8 show none
            # in %r.
            logger.warning("no cache: %s: %s", type(error).__name__, error)
            cache.warned = time.monotonic()
        # After a failover, all connections may lead to the replica.
        if "read only" in str(error):
            await cache.redis.connection_pool.disconnect(False)
        cache.is_away = True
        return None
    cache.is_away = False
    return reply


def read_answer(response: web.StreamResponse) -> Answer | None:
    """Return what may be sent to everybody, or None; one reason a line."""
    # A stream or a WebSocket has no body to keep.
    if not isinstance(response, web.Response) or response.prepared:
        return None
    if not response.get(REUSABLE, False) or response.status != 200:
        return None
    # A payload can be read once, and a bytearray can change.
    body = response.body
    if not isinstance(body, bytes) or len(body) > MAX_BODY:
        return None
    # Cookies become headers when the response is sent, not before.
    if response.cookies:
        return None
    if not {name.lower() for name in response.headers} <= KEPT_HEADERS:
        return None
    vary = ",".join(response.headers.getall(hdrs.VARY, [])).lower()
    choosers = {name.strip() for name in vary.split(",")}
    if not choosers <= {*VARY_BY, "accept-encoding", ""}:
        return None
    add_validators(response, body)
    return Answer(tuple(response.headers.items()), response.compression, body)


def add_validators(response: web.Response, body: bytes) -> None:
    """Say how a client can ask whether its copy is still good."""
    etag = response.etag or ETag(hashlib.sha256(body).hexdigest()[:32])
    if response.compression:
        # Weak: it is the same in each coding.
        etag = ETag(etag.value, is_weak=True)
        response.headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    response.etag = etag


def respond(
    request: web.Request, answer: Answer, cache: str = "hit"
) -> web.StreamResponse:
    """Make a new response: one that was sent cannot be sent again.

    It is a 304 where the client has this answer already.
    """
    response = web.Response(body=answer.body, headers=answer.headers)
    response.headers["X-Cache"] = cache
    known = {tag.value for tag in request.if_none_match or ()}
    if response.etag and known & {response.etag.value, "*"}:
        response.headers.popall(hdrs.CONTENT_TYPE, None)
        return web.Response(status=304, headers=response.headers)
    if answer.is_compressed:
        # Negotiated again, for this client. The kept bytes are plain.
        response.enable_compression()
    return response


async def forget(app: web.Application, path: str) -> None:
    """Forget all answers of a path, on all workers.

    `path` is what `request.path` is: decoded, and without a query. A 503 says
    that Redis is away: they may still be there.
    """
    cache = app[CACHE]
    key = GENERATION + digest(path)
    change = cache.redis.set(key, secrets.token_hex(8), ex=GENERATION_AGE)
    if not await ask(cache, change):
        reason = "Redis is away, or full: `make cluster` starts one"
        raise web.HTTPServiceUnavailable(text=reason, headers=LATER)


# answer
@web.middleware
async def add_header(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Add the time that an answer took, to errors as well."""
    started = time.monotonic()
    try:
        response = await handler(request)
    except web.HTTPException as error:
        add_timing(error, started)
        raise
    # A stream has sent its headers by now. None is a handler without `return`:
    # aiohttp reports it.
    if response is not None and not response.prepared:
        add_timing(response, started)
    return response


# end of answer


def add_timing(response: web.StreamResponse, started: float) -> None:
    milliseconds = (time.monotonic() - started) * 1000
    response.headers.add("Server-Timing", f"app;dur={milliseconds:.3f}")


@web.middleware
async def explain_errors(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Answer in JSON, whoever refuses."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        # In aiohttp 4.0 an error is no response, and cannot be changed.
        headers = {**error.headers, "Content-Type": "application/json"}
        text = json.dumps({"error": error.text})
        return web.Response(text=text, status=error.status, headers=headers)


@routes.get("/greeting", name="greeting")
async def greet(request: web.Request) -> web.Response:
    """Greet by name; the answer may be sent again."""
    name, *more = request.query.getall("name", [""])
    if more or not name.isprintable() or not 1 <= len(name) <= 64:
        raise web.HTTPBadRequest(text="one name: 1 to 64 printable characters")
    response = web.json_response({"greeting": f"Hello, {name}!"})
    response[REUSABLE] = True
    return response


@routes.get("/fresh")
async def make_ticket(request: web.Request) -> web.Response:
    """Answer something new each time: it is never kept."""
    return web.json_response({"ticket": secrets.token_urlsafe(12)})


@routes.get("/missing")
async def raise_missing(request: web.Request) -> web.Response:
    """Raise an error, made when it is needed."""
    raise web.HTTPNotFound(text="there is nothing here")


async def open_cache(app: web.Application) -> AsyncIterator[None]:
    """End what is being made, and the connections, with the application."""
    cache = app[CACHE]
    async with cache.redis:
        yield
        for task in cache.tasks:
            task.cancel()
        await asyncio.gather(*cache.tasks, return_exceptions=True)


def open_redis(url: str) -> Redis:
    """Make a client; it connects when it is used."""
    # Not Redis.from_url(): where no connection is free, its pool does not wait.
    pool = BlockingConnectionPool.from_url(url)
    # Whatever the URL says: a body may be no text.
    pool.connection_kwargs["decode_responses"] = False
    return Redis.from_pool(pool)


# Only for this demonstration: forget where you change what answers are made of.


@routes.post("/forget")
async def forget_greetings(request: web.Request) -> web.Response:
    """Forget all greetings, on all workers."""
    await forget(request.app, request.app.router["greeting"].url_for().path)
    return web.Response(status=204)


def create_app(*, redis_url: str = "redis://localhost") -> web.Application:
    # The first of the list is the outermost. What it adds for one request is
    # never kept. The last makes an answer of an error before the cache sees it:
    # where the client of a task has left, nobody would get what it raises.
    middlewares = [add_header, reuse_answers, explain_errors]
    app = web.Application(middlewares=middlewares)
    app[CACHE] = Cache(open_redis(redis_url))
    app.cleanup_ctx.append(open_cache)
    app.on_response_prepare.append(let_others_go)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(redis_url=os.environ.get("REDIS_URL", "redis://localhost"))
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
