"""Shows the server's side of a mounted application while somebody looks.

It only observes: through public attributes, logging, and what asyncio and
inspect tell. While nobody looks, it is in the way of no request (`OBSERVERS` in
`cookbook.guard`).
"""

import asyncio
import inspect
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from contextvars import ContextVar
from itertools import count, pairwise, starmap
from pathlib import Path
from types import FrameType
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from cookbook.guard import OBSERVERS
from cookbook.internals import applications_of, prefix_of

MAX_WATCHERS = 16
"""Pages that look at a time: each is told of every request."""

MAX_PENDING = 500
"""Events kept for a page that reads slowly; further ones are not shown."""

INTERVAL = 1.0
"""Seconds between two looks at the process."""

WRITE_TIMEOUT = 5.0
"""Seconds in which a page has to take an event."""

Event = dict[str, Any]
Put = Callable[[Event], object]

# Who is to hear of the request that a task, and each task it starts, serves.
_listeners: ContextVar[tuple[tuple[Put, int], ...]] = ContextVar(
    "_listeners", default=()
)


class XRay:
    """All who look at applications of `root`; its shutdown ends them.

    `interval` and `write_timeout` are in seconds.
    """

    def __init__(
        self,
        root: web.Application,
        *,
        max_watchers: int = MAX_WATCHERS,
        max_pending: int = MAX_PENDING,
        interval: float = INTERVAL,
        write_timeout: float = WRITE_TIMEOUT,
    ) -> None:
        self._max_watchers = max_watchers
        self._max_pending = max_pending
        self._interval = interval
        self._write_timeout = write_timeout
        self._observers = root[OBSERVERS]
        self._queues: list[asyncio.Queue[Event | None]] = []
        self._log = _Log()
        root.on_shutdown.append(self._stop)

    async def stream(
        self, request: web.Request, app: web.Application, file: Path
    ) -> web.StreamResponse:
        """Send what happens in `app`, and in the tasks of `file`, as events.

        The format is that of an EventSource (HTML Standard, 9.2). The answer
        is 503 where too many are looking.
        """
        if len(self._queues) >= self._max_watchers:
            raise web.HTTPServiceUnavailable(text="too many are looking")
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        # nginx would collect the events.
        response.headers["X-Accel-Buffering"] = "no"
        with (
            self._watching(app) as queue,
            suppress(ConnectionError, TimeoutError),
        ):
            await response.prepare(request)
            async with aclosing(self._events(queue, file)) as events:
                async for event in events:
                    data = f"data: {json.dumps(event)}\n\n".encode()
                    async with asyncio.timeout(self._write_timeout):
                        await response.write(data)
        return response

    @contextmanager
    def _watching(
        self, app: web.Application
    ) -> Iterator[asyncio.Queue[Event | None]]:
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        observe = _observer(app, queue, self._max_pending)
        if not self._queues:
            logging.getLogger().addHandler(self._log)
            logging.captureWarnings(True)
        self._queues.append(queue)
        self._observers.append(observe)
        try:
            yield queue
        finally:
            self._observers.remove(observe)
            self._queues.remove(queue)
            if not self._queues:
                logging.captureWarnings(False)
                logging.getLogger().removeHandler(self._log)

    async def _events(
        self, queue: asyncio.Queue[Event | None], file: Path
    ) -> AsyncGenerator[Event]:
        event: Event | None = _look_at_process(file)
        while event is not None:
            yield event
            try:
                async with asyncio.timeout(self._interval):
                    event = await queue.get()
            except TimeoutError:
                event = _look_at_process(file)

    async def _stop(self, root: web.Application) -> None:
        for queue in self._queues:
            queue.put_nowait(None)


def _observer(
    app: web.Application, queue: asyncio.Queue[Event | None], max_pending: int
) -> Any:
    numbers, loop = count(1), asyncio.get_running_loop()

    def put(event: Event) -> None:
        if queue.qsize() < max_pending:
            queue.put_nowait(event)

    def put_log(event: Event) -> None:
        # It may be a thread's, and the loop may have ended.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(put, event)

    @web.middleware
    async def observe(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if app not in applications_of(request):
            return await handler(request)
        number, start = next(numbers), time.perf_counter()
        put(
            {
                "kind": "request",
                "id": number,
                "method": request.method,
                "path": request.rel_url.raw_path,
                "facts": _describe(request),
            }
        )
        token = _listeners.set((*_listeners.get(), (put_log, number)))
        outcome = "was cancelled"
        try:
            response = await handler(request)
            outcome = _outcome(response)
            return response
        except web.HTTPException as answer:
            outcome = _outcome(answer)
            raise
        except Exception as error:
            outcome = f"raised {type(error).__name__}"
            raise
        finally:
            _listeners.reset(token)
            took = round(1000 * (time.perf_counter() - start), 1)
            end = {"kind": "end", "id": number, "outcome": outcome, "ms": took}
            put(end)

    return observe


def _outcome(response: web.StreamResponse) -> str:
    if isinstance(response, web.WebSocketResponse):
        return "WebSocket ended"
    return f"answered {response.status}"


def _describe(request: web.Request) -> dict[str, Any]:
    found = request.match_info
    resource = found.route.resource
    apps = applications_of(request)
    return {
        "route": resource.canonical if resource else "no route",
        "handler": _place(found.handler),
        "match_info": dict(found),
        "applications": ["the root", *starmap(prefix_of, pairwise(apps))],
        "middlewares": [
            _place(middleware) for app in apps for middleware in app.middlewares
        ],
    }


class _Log(logging.Handler):
    """Tells the listeners of a request what is logged while it is served."""

    def emit(self, record: logging.LogRecord) -> None:
        listeners = _listeners.get()
        if not listeners:
            return
        # Without a traceback: a page does not show the paths of this machine.
        error = record.exc_info and record.exc_info[0]
        text = f"{record.levelname} {record.name}: {record.getMessage()}"
        if error:
            text = f"{text} ({error.__name__})"
        if record.name == "py.warnings":
            text = text.rpartition("/")[2]
        for put, number in listeners:
            put({"kind": "log", "id": number, "text": text})


def _look_at_process(file: Path) -> Event:
    tasks: Counter[str] = Counter()
    others: Counter[str] = Counter()
    sockets: set[web.WebSocketResponse] = set()
    for task in asyncio.all_tasks():
        frames = list(_frames(task.get_coro()))
        mine = [f for f in frames if f.f_code.co_filename == str(file)]
        for frame in mine[-1:]:
            tasks[_name(frame.f_code)] += 1
        if not mine:
            others.update(_name(frame.f_code) for frame in frames[:1])
            continue
        # Also in aiohttp's own frames: a recipe may keep it in an object.
        for frame in frames:
            sockets.update(
                value
                for value in frame.f_locals.values()
                if isinstance(value, web.WebSocketResponse)
                and value.prepared
                and not value.closed
            )
    return {
        "kind": "process",
        "recipe": {
            "websockets": len(sockets),
            "tasks": dict(tasks.most_common()),
        },
        "others": {
            "process": os.getpid(),
            "tasks": dict(others.most_common()),
            "descriptors": len(list(Path("/dev/fd").iterdir())) - 1,
            "threads": sorted(thread.name for thread in threading.enumerate()),
        },
    }


def _frames(coroutine: Any) -> Iterator[FrameType]:
    """Yield the frames of a coroutine and of all that it awaits in turn."""
    while inspect.iscoroutine(coroutine) and coroutine.cr_frame:
        yield coroutine.cr_frame
        coroutine = coroutine.cr_await


def _place(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(function, "__name__", type(function).__name__)
    return _name(code) if code else name


def _name(code: Any) -> str:
    folder, file = Path(code.co_filename).parts[-2:]
    return f"{code.co_name} in {folder}/{file}"
