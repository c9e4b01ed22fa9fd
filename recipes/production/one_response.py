# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4", "redis>=5.0.1"]
# ///
"""How do I make sure my custom middleware response will behave correctly?

Start from this file when you go live with several workers. They share one
cache, in Redis. Of many requests that come at once, on any worker, one has the
answer made, and the others wait for it. An old answer is sent while a new one
is made: nobody waits for that. Without Redis, each worker makes its own.

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

- Only a handler knows that its answer is the same for everybody: it opts in. A
  cookie, or a header that is not in `KEPT_HEADERS`, keeps it out all the same.
- An answer may vary by `Accept`, `Accept-Language` and `Accept-Encoding`. One
  that varies by anything else is not kept.
- `await forget(app, path)` where you change what an answer was made of. On all
  workers, who comes later gets a new one, even if an old one is being made.
- An answer is made in a task of the application. The client who came first may
  leave; the others still get it.
- An answer is fresh for a minute, and sent for ten more while a new one is
  made, or cannot be: a handler that fails with a 5xx is asked again after 3 s.
- Redis keeps 1000 answers of at most 64 KiB, and tells their age. The clocks of
  workers may differ.
- A Redis that is away or frozen holds a request for 0.5 s, or for 1 s if that
  happens while its answer is made. Then it is left alone, and one request a
  second tries again. Only forgetting is a 503: it cannot be promised.
- A Redis that comes back without its memory costs a new answer for each.
- A worker that dies while it makes an answer delays those who wait for it by
  3 s, and then another one makes it. A handler that hangs does the same.
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
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, cast

from aiohttp import ETag, hdrs, web
from aiohttp.typedefs import Handler
from redis.asyncio import BlockingConnectionPool, Redis, RedisError
from redis.exceptions import ResponseError

# Seconds that an answer is fresh, and that an old one is sent after them.
MAX_AGE = 60.0
MAX_STALE = 600.0
# Answers that are kept. The one that was stored first makes room.
MAX_ANSWERS = 1000
# Bytes of the largest body that is kept: 64 MiB for all answers.
MAX_BODY = 2**16
# Characters of a user's name.
MAX_NAME = 64
# Seconds for which all others leave an answer to the one who makes it.
LEASE = 3.0
# Seconds between two looks for the answer of another worker.
LOOK_AGAIN = 0.05
# Seconds that Redis has to answer, and for which it is then left alone.
REDIS_TIMEOUT = 0.5
REDIS_PAUSE = 1.0
# Connections of this worker to Redis. A request waits for one, if need be.
MAX_CONNECTIONS = 20

# Headers that are the same for everybody. Any other keeps an answer out.
KEPT_HEADERS = {
    *("content-type", "content-language", "etag", "last-modified", "vary"),
}
# What an answer may depend on. The coding is chosen when it is sent.
CHOOSERS = ["accept", "accept-language"]
MAY_VARY = {*CHOOSERS, "accept-encoding"}
CACHE_HEADER = "X-Cache"

# A hash for each path, with its answers and with the leases of those who make
# them. Whoever deletes it has forgotten the answers, those in the making, too.
PATH = "one_response:path:"
# When each answer was stored, the oldest first.
INDEX = "one_response:index"

# Nothing comes between the lines of a script.
LOOK = """
local path = KEYS[1]
local varied, common, lease, token, seconds, max_age, lifetime = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local value = redis.call('HGET', path, varied)
    or redis.call('HGET', path, common) or ''
local made = tonumber(string.match(value, '^%S+')) or 0
local held = redis.call('HGET', path, lease) or ''
local ends = tonumber(string.match(held, '%S+$')) or 0
local is_free = token ~= '' and now >= made + max_age and now >= ends
if is_free then
    redis.call('HSET', path, lease, token .. ' ' .. now + seconds)
    redis.call('PEXPIRE', path, lifetime)
end
return {value, tostring(now), is_free and 1 or 0}
"""
STORE = """
local path, index = unpack(KEYS)
local field, other, lease, token, value, lifetime, most = unpack(ARGV)
local held = redis.call('HGET', path, lease) or ''
if string.match(held, '^%S+') ~= token then
    return 0
end
redis.call('HDEL', path, lease, field, other)
if value == '' then
    return 0
end
local now = redis.call('TIME')
redis.call('ZADD', index, now[1] * 1000000 + now[2], path .. ' ' .. field)
redis.call('HSET', path, field, value)
redis.call('PEXPIRE', path, lifetime)
for _ = 1, redis.call('ZCARD', index) - most do
    local oldest = redis.call('ZPOPMIN', index)[1]
    redis.call('HDEL', string.match(oldest, '^(%S+) (%S+)$'))
end
return 1
"""

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()

# Set to True by a handler whose answer is the same for everybody.
REUSABLE = web.ResponseKey("REUSABLE", bool)


class Answer(NamedTuple):
    """What a response is made of: nothing can change. The age is in seconds."""

    headers: tuple[tuple[str, str], ...]
    is_compressed: bool
    body: bytes
    age: float = 0.0


class Habit(Enum):
    """What a handler returns: an answer for one, for all, or for some."""

    PRIVATE = 1
    COMMON = 2
    VARIED = 3


class Found(NamedTuple):
    """What is in Redis, and whether it is our turn to make something new.

    `now` is the time in Redis, as JSON, or empty where Redis is away.
    """

    answer: Answer | None
    is_my_turn: bool
    token: str = ""
    now: str = ""


class Outcome(NamedTuple):
    """A response for the client who came first, an answer for the others."""

    response: web.StreamResponse
    answer: Answer | None
    is_stored: bool = False


@dataclass
class Cache:
    """The answers in Redis, and those that this worker is making."""

    redis: Redis
    max_age: float
    max_stale: float
    max_answers: int
    habits: dict[Any, Habit] = field(default_factory=dict)
    flights: "dict[str, Flight]" = field(default_factory=dict)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    is_away: bool = False
    ask_at: float = 0.0

    @property
    def lifetime(self) -> int:
        """Milliseconds after which Redis drops a path that nobody fills."""
        return 1 + round(1000 * (self.max_age + self.max_stale))


class Place(NamedTuple):
    """Where an answer is: the key of a hash, and two fields in there.

    `common` is for everybody, `varied` for those who accept the same. `shared`
    is the one of both that this handler fills, as far as we know.
    """

    path: str
    common: str
    varied: str
    shared: str


class Call(NamedTuple):
    """A request for an answer; `task` is the one that answers it."""

    cache: Cache
    request: web.Request
    handler: Handler
    task: asyncio.Task[Any]
    habit: Habit | None
    place: Place


class Flight(NamedTuple):
    """An answer that this worker looks for, or makes, for all who wait."""

    call: Call
    began: float
    task: asyncio.Task[Outcome]
    outcome: asyncio.Future[Outcome | None]


CACHE = web.AppKey("CACHE", Cache)
FLIGHT = web.RequestKey("FLIGHT", Flight)
IS_REFILL = web.RequestKey("IS_REFILL", bool)


# answer
@web.middleware
async def reuse_answers(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Send what is kept. Where nothing is, have it made once for all."""
    if not may_share(request):
        return await handler(request)
    call = read_call(request, handler)
    if call.habit is Habit.PRIVATE:
        response = await handler(request)
        judge(call, response)
        return response
    if request.method == hdrs.METH_HEAD:
        # Of HEAD, a handler may leave the body out: it fills nothing.
        found = await look(call)
        if found.answer is None:
            return await handler(request)
        return respond(request, found.answer)
    return await share(call)


async def share(call: Call) -> web.StreamResponse:
    """Have an answer found or made, or wait for one that is."""
    request = call.request
    arrived = time.monotonic()
    while flight := call.cache.flights.get(call.place.shared):
        await asyncio.wait([flight.outcome], timeout=LEASE)
        if not flight.outcome.done():
            # It hangs, or is slow. One more may try, and all wait for that one.
            remove(flight)
            continue
        outcome = flight.outcome.result()
        if outcome is None or outcome.answer is None:
            return await call.handler(request)
        # Redis has refused what was forgotten meanwhile. Then whoever came
        # after it was begun needs a newer one.
        is_new = outcome.is_stored or flight.began >= arrived
        if is_new and is_meant_for(call, flight, outcome.answer):
            return respond(request, outcome.answer)
        call = read_call(request, call.handler)
    flight = take_off(call)
    await asyncio.wait([flight.task])
    return flight.task.result().response


# end of answer


async def fly(call: Call) -> Outcome:
    """Find an answer, or make it; wait while another worker does."""
    deadline = time.monotonic() + 2 * LEASE
    found = await look(call)
    while not (found.answer or found.is_my_turn or time.monotonic() > deadline):
        await asyncio.sleep(LOOK_AGAIN)
        found = await look(call)
    if found.answer is None:
        return await make(call, found)
    if found.is_my_turn:
        # It is old. Nobody waits for the new one.
        refill(call, found)
    return Outcome(respond(call.request, found.answer), found.answer)


async def make(call: Call, found: Found) -> Outcome:
    """Make an answer, and keep it, if it is for others, too."""
    try:
        response = await call.handler(call.request)
    except Exception as error:
        # An old answer is better than none. Then the lease is kept, too, so
        # that the handler is not called again at once.
        if found.answer is None or is_refusal(error):
            await store(call, found, None)
        raise
    answer = judge(call, response)
    is_stored = await store(call, found, answer)
    if answer is not None:
        # Set last: it is not for everybody, and would keep the answer out.
        response.headers[CACHE_HEADER] = "miss"
        response = unless_known(call.request, response)
    return Outcome(response, answer, is_stored)


def may_share(request: web.Request) -> bool:
    """Say whether others may get the same answer; one reason a line."""
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return False
    # Another body may have another answer, and a WebSocket has none.
    if request.body_exists or hdrs.UPGRADE in request.headers:
        return False
    # aiohttp itself refuses this path, or this method.
    return request.match_info.http_exception is None


def read_call(request: web.Request, handler: Handler) -> Call:
    cache = request.app[CACHE]
    # Without the host, links that begin with one host go to another.
    common = digest(request.host, request.raw_path)
    accepted = [request.headers.getall(name, []) for name in CHOOSERS]
    varied = digest(common, *accepted)
    habit = cache.habits.get(request.match_info.handler)
    shared = varied if habit is Habit.VARIED else common
    # Decoded, as handlers see it. Else `forget` would miss other spellings.
    path = PATH + digest(request.path)
    place = Place(path, common, varied, shared)
    task = cast(asyncio.Task[Any], asyncio.current_task())
    return Call(cache, request, handler, task, habit, place)


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def is_meant_for(call: Call, flight: Flight, answer: Answer) -> bool:
    is_same = call.place.varied == flight.call.place.varied
    return is_same or not is_varied(answer)


def take_off(call: Call) -> Flight:
    """Look in a task: it goes on for the others where its client leaves."""
    task = asyncio.create_task(fly(call))
    outcome = asyncio.get_running_loop().create_future()
    flight = Flight(call, time.monotonic(), task, outcome)
    call.request[FLIGHT] = flight
    call.cache.flights[call.place.shared] = flight
    call.cache.tasks.add(task)
    task.add_done_callback(partial(land, flight))
    return flight


def land(flight: Flight, task: asyncio.Task[Outcome]) -> None:
    remove(flight)
    flight.call.cache.tasks.discard(task)
    # The client who came first raises what was raised.
    has_failed = task.cancelled() or task.exception() is not None
    if not flight.outcome.done():
        flight.outcome.set_result(None if has_failed else task.result())


def remove(flight: Flight) -> None:
    flights = flight.call.cache.flights
    if flights.get(flight.call.place.shared) is flight:
        del flights[flight.call.place.shared]


async def let_others_go(
    request: web.Request, response: web.StreamResponse
) -> None:
    """Before headers are sent: a handler that sends has nothing to share."""
    if IS_REFILL in request:
        # Its client has an answer, and may have sent the next request.
        raise RuntimeError("an answer that is made again cannot be a stream")
    flight = request.get(FLIGHT)
    if flight is not None and not flight.outcome.done():
        expect_nothing(flight.call)
        flight.outcome.set_result(None)


def refill(call: Call, found: Found) -> None:
    """Have an answer made again, while all are sent the old one."""
    again = call.request.clone()
    again[IS_REFILL] = True
    call = call._replace(request=again)
    task = asyncio.create_task(make_again(call, found))
    call.cache.tasks.add(task)
    task.add_done_callback(call.cache.tasks.discard)


def is_refusal(error: Exception) -> bool:
    return isinstance(error, web.HTTPException) and error.status < 500


async def make_again(call: Call, found: Found) -> None:
    try:
        # While middlewares around us are at work, `request.app` is theirs.
        await asyncio.wait([call.task], timeout=LEASE / 2)
        await make(call, found)
    except Exception as error:
        if not is_refusal(error):
            logger.exception("an old answer stays: no new one could be made")


def judge(call: Call, response: web.StreamResponse) -> Answer | None:
    """Return what others may get, and remember the habit of the handler."""
    answer = read_answer(response)
    if answer is not None:
        handler = call.request.match_info.handler
        habit = Habit.VARIED if is_varied(answer) else Habit.COMMON
        call.cache.habits[handler] = habit
    elif getattr(response, "status", None) == 200:
        expect_nothing(call)
    return answer


def expect_nothing(call: Call) -> None:
    """Let nobody wait for this handler, unless it has opted in before."""
    handler = call.request.match_info.handler
    call.cache.habits.setdefault(handler, Habit.PRIVATE)


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
    names = {name.lower() for name in response.headers}
    if not names <= KEPT_HEADERS:
        return None
    add_validators(response, body)
    headers = tuple(response.headers.items())
    answer = Answer(headers, response.compression, body)
    return answer if varies_on(answer) <= MAY_VARY else None


def add_validators(response: web.Response, body: bytes) -> None:
    """Say how a client can ask whether its copy is still good."""
    etag = response.etag or ETag(hashlib.sha256(body).hexdigest()[:32])
    if response.compression:
        # Weak: it is the same in each coding.
        etag = ETag(etag.value, is_weak=True)
        response.headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    response.etag = etag


def varies_on(answer: Answer) -> set[str]:
    """Return the headers of a request that an answer depends on."""
    values = [text for name, text in answer.headers if name.lower() == "vary"]
    return {name.strip().lower() for name in ",".join(values).split(",")} - {""}


def is_varied(answer: Answer) -> bool:
    return not varies_on(answer).isdisjoint(CHOOSERS)


def respond(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Make a new response: one that was sent cannot be sent again."""
    response = web.Response(body=answer.body, headers=answer.headers)
    response.headers[hdrs.AGE] = str(int(answer.age))
    response.headers[CACHE_HEADER] = "hit"
    if answer.is_compressed:
        # Negotiated again, for this client. The kept bytes are plain.
        response.enable_compression()
    return unless_known(request, response)


def unless_known(
    request: web.Request, response: web.StreamResponse
) -> web.StreamResponse:
    """Return a 304 where the client has this answer already."""
    ours = response.etag
    known = request.if_none_match or ()
    if ours is None or not {ours.value, "*"} & {tag.value for tag in known}:
        return response
    headers = response.headers.copy()
    headers.popall(hdrs.CONTENT_TYPE, None)
    return web.Response(status=304, headers=headers)


async def look(call: Call) -> Found:
    """Look for an answer, and take the lease where a new one is needed."""
    cache = call.cache
    is_head = call.request.method == hdrs.METH_HEAD
    token = "" if is_head else secrets.token_hex(8)
    path, common, varied, shared = call.place
    limits = [LEASE, cache.max_age, cache.lifetime]
    values = [path, varied, common, "lease:" + shared, token, *limits]
    reply = await ask(cache, cache.redis.eval, LOOK, 1, *values)
    if reply is None:
        return Found(None, is_my_turn=True)
    value, now, is_my_turn = reply
    answer = unpack(value, float(now))
    if value and answer is None:
        # It is none of ours. Without it, the next look gets the lease.
        await ask(cache, cache.redis.hdel, path, varied, common)
    if answer and answer.age > cache.max_age + cache.max_stale:
        answer = None
    return Found(answer, bool(is_my_turn), token, now.decode())


def unpack(value: bytes, now: float) -> Answer | None:
    """Return an answer that was kept, or None where this is no such thing."""
    try:
        head, body = value.split(b"\n", 1)
        made, details = head.split(b" ", 1)
        is_compressed, headers = json.loads(details)
        pairs = tuple((str(name), str(text)) for name, text in headers)
        age = max(0.0, now - float(made))
    except (ValueError, TypeError, RecursionError):
        return None
    return Answer(pairs, bool(is_compressed), body, age)


async def store(call: Call, found: Found, answer: Answer | None) -> bool:
    """Keep an answer, or drop the old one; give the lease back.

    Return whether it is kept. It is not where it was forgotten since `found`.
    """
    cache = call.cache
    path, common, varied, shared = call.place
    value = b""
    fields = [common, varied]
    if answer is not None:
        details = json.dumps([answer.is_compressed, answer.headers])
        value = f"{found.now} {details}\n".encode() + answer.body
        if is_varied(answer):
            fields.reverse()
    lease = ["lease:" + shared, found.token]
    limits = [cache.lifetime, cache.max_answers]
    values = [path, INDEX, *fields, *lease, value, *limits]
    return bool(await ask(cache, cache.redis.eval, STORE, 2, *values))


async def forget(app: web.Application, path: str) -> None:
    """Forget all answers of a path, on all workers.

    `path` is what `request.path` is: decoded, and without a query. Raises
    RedisError or TimeoutError if Redis is away: they may still be there.
    """
    async with asyncio.timeout(REDIS_TIMEOUT):
        await app[CACHE].redis.unlink(PATH + digest(path))


async def ask(
    cache: Cache, command: Callable[..., Any], *arguments: Any
) -> Any:
    """Return what Redis answers, or None: a cache is no reason for a 503."""
    now = time.monotonic()
    if now < cache.ask_at:
        return None
    if cache.is_away:
        # One asks whether it is back. The others do not wait with it.
        cache.ask_at = now + REDIS_PAUSE
    try:
        async with asyncio.timeout(REDIS_TIMEOUT):
            reply = await command(*arguments)
    except ResponseError as error:
        # It is there. It may be full, and can be read all the same.
        logger.warning("Redis refuses: %s", describe(error))
        return None
    except (RedisError, OSError) as error:
        if not cache.is_away:
            logger.warning("no cache: %s", describe(error))
        cache.is_away = True
        cache.ask_at = time.monotonic() + REDIS_PAUSE
        return None
    cache.is_away = False
    return reply


def describe(error: Exception) -> str:
    # A TimeoutError has no text, and the errors of redis-py 8 show none in %r.
    return f"{type(error).__name__}: {error}"


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
    """Answer a refusal of aiohttp's own, such as a 405, in JSON."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        if error.headers["Content-Type"].startswith("application/json"):
            raise
        # In aiohttp 4.0 an error is no response, and cannot be changed.
        headers = error.headers.copy()
        headers["Content-Type"] = "application/json"
        text = json.dumps({"error": error.reason})
        return web.Response(text=text, status=error.status, headers=headers)


@routes.get("/greeting", name="greeting")
async def greet(request: web.Request) -> web.Response:
    """Greet by name; the answer may be sent again."""
    name = read_name(request)
    response = web.json_response({"greeting": f"Hello, {name}!"})
    response[REUSABLE] = True
    return response


def read_name(request: web.Request) -> str:
    names = request.query.getall("name", [])
    if len(names) == 1 and 1 <= len(names[0]) <= MAX_NAME:
        name = names[0]
        if name.isprintable():
            return name
    reason = f"give one name, of 1 to {MAX_NAME} printable characters"
    raise json_error(web.HTTPBadRequest, reason)


@routes.get("/fresh")
async def make_ticket(request: web.Request) -> web.Response:
    """Answer something new each time: it is never kept."""
    return web.json_response({"ticket": secrets.token_urlsafe(12)})


@routes.get("/missing")
async def raise_missing(request: web.Request) -> web.Response:
    """Raise an error, made when it is needed."""
    raise json_error(web.HTTPNotFound, "there is nothing here")


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


async def open_cache(app: web.Application) -> AsyncIterator[None]:
    """End what is being made, and the connections, with the application."""
    cache = app[CACHE]
    try:
        yield
    finally:
        for task in cache.tasks:
            task.cancel()
        await asyncio.gather(*cache.tasks, return_exceptions=True)
        # A connection that cannot be closed in time ends with the process.
        with suppress(RedisError, OSError):
            async with asyncio.timeout(REDIS_TIMEOUT):
                await cache.redis.aclose()


def open_redis(url: str) -> Redis:
    """Make a client; it connects when it is used."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=REDIS_TIMEOUT,
        # A connection, then an answer: both within the time for all of it.
        socket_timeout=REDIS_TIMEOUT / 2,
        socket_connect_timeout=REDIS_TIMEOUT / 2,
    )
    # Whatever the URL says: a body may be no text.
    pool.connection_kwargs["decode_responses"] = False
    return Redis.from_pool(pool)


# Only for this demonstration: forget where you change what answers are made of.


@routes.post("/forget")
async def forget_greetings(request: web.Request) -> web.Response:
    """Forget all greetings, on all workers."""
    path = request.app.router["greeting"].url_for().path
    try:
        await forget(request.app, path)
    except (RedisError, OSError) as error:
        logger.warning("cannot forget: %s", describe(error))
        reason = "Redis is away: `make cluster` starts one"
        unavailable = json_error(web.HTTPServiceUnavailable, reason)
        unavailable.headers[hdrs.RETRY_AFTER] = "1"
        raise unavailable from None
    return web.Response(status=204)


def create_app(
    *,
    redis_url: str = "redis://localhost",
    max_age: float = MAX_AGE,
    max_stale: float = MAX_STALE,
    max_answers: int = MAX_ANSWERS,
) -> web.Application:
    # The first of the list is the outermost. The cache is the innermost: what
    # the others add for one request is never kept.
    middlewares = [explain_errors, add_header, reuse_answers]
    app = web.Application(middlewares=middlewares)
    app[CACHE] = Cache(open_redis(redis_url), max_age, max_stale, max_answers)
    app.cleanup_ctx.append(open_cache)
    app.on_response_prepare.append(let_others_go)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(redis_url=os.environ.get("REDIS_URL", "redis://localhost"))
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
