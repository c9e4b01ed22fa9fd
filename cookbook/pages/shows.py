"""Show me: a trap and its pair, side by side, each in its own process."""

import asyncio
import json
import logging
import re
import secrets
import time
from pathlib import Path
from shutil import which
from typing import Any

from aiohttp import hdrs, web

from cookbook.runner import PATH
from cookbook.sandbox import START_TIMEOUT, sandboxed
from cookbook.traps import Trap

MAX_SHOWS = 4
"""Shows at a time, each of two programs: they share the machine with us."""

SHOW_TIMEOUT = 30.0
"""Seconds for a show: three steps that come to no end."""

HEARTBEAT = 0.5
"""Seconds between two signs of life: they tell whether a visitor has left."""

WRITE_TIMEOUT = 5.0
"""Seconds in which a visitor has to take a line."""

NICENESS = 10
"""A program gets a tenth of the server's weight: what serves comes first. With
15 it would not get through its start beside a server that is busy."""

MAX_PRINTED = 2000
"""Characters that are sent of what a step printed: more would fill the page."""

COOKIE = "visitor"

logger = logging.getLogger(__name__)

Queue = asyncio.Queue[dict[str, Any] | None]


class Shows:
    """All shows of an application: one for each visitor, four at a time.

    `show_timeout` bounds a show, `start_timeout` each program that it starts,
    in seconds. The curl of the dialogues has to be on `path`.
    """

    def __init__(
        self,
        root: web.Application,
        *,
        show_timeout: float = SHOW_TIMEOUT,
        start_timeout: float = START_TIMEOUT,
        path: str = PATH,
    ) -> None:
        self._show_timeout = show_timeout
        self._start_timeout = start_timeout
        self._path = path
        self._running: dict[str, asyncio.Task[None]] = {}
        root.on_shutdown.append(self._stop)

    async def stream(
        self, request: web.Request, trap: Trap
    ) -> web.StreamResponse:
        """Play the trap's dialogue on both; send JSON, a line for each step.

        The answer is 429 for a visitor whose show still runs, and 503 where
        too many run, or there is no curl.
        """
        if not await asyncio.to_thread(which, "curl", path=self._path):
            return _refuse(503, f"a show needs curl in {self._path}")
        visitor = request.cookies.get(COOKIE, "")
        if not re.fullmatch(r"[\w-]{22}", visitor, re.ASCII):
            visitor = secrets.token_urlsafe(16)
        if visitor in self._running:
            return _refuse(429, "one at a time: another show still runs")
        if len(self._running) >= MAX_SHOWS:
            return _refuse(503, "too many shows run: try it in a minute")
        queue: Queue = asyncio.Queue()
        show = asyncio.create_task(self._perform(trap, queue))
        self._running[visitor] = show
        try:
            response = web.StreamResponse()
            response.content_type = "application/x-ndjson"
            response.headers[hdrs.CACHE_CONTROL] = "no-store"
            response.set_cookie(
                COOKIE, visitor, path="/recipes", httponly=True, samesite="Lax"
            )
            await response.prepare(request)
            async with asyncio.timeout(self._show_timeout + WRITE_TIMEOUT):
                await _send(response, queue)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            show.cancel()
            await asyncio.gather(show, return_exceptions=True)
            del self._running[visitor]
        return response

    async def _perform(self, trap: Trap, queue: Queue) -> None:
        async def play(side: str, program: Path) -> None:
            async with sandboxed(
                program,
                start_timeout=self._start_timeout,
                niceness=NICENESS,
            ) as runner:
                for at, step in enumerate(trap.docs.dialogue):
                    start = time.perf_counter()
                    printed = await runner.run(step)
                    seconds = round(time.perf_counter() - start, 1)
                    text = printed[:MAX_PRINTED]
                    event = {"side": side, "at": at, "printed": text}
                    queue.put_nowait({**event, "seconds": seconds})

        try:
            async with (
                asyncio.timeout(self._show_timeout),
                asyncio.TaskGroup() as group,
            ):
                group.create_task(play("wrong", trap.file))
                group.create_task(play("right", trap.pair))
        except TimeoutError:
            queue.put_nowait({"error": f"ended after {self._show_timeout:g} s"})
        except Exception:
            logger.exception("a show failed")
            queue.put_nowait({"error": "it failed: the server's log tells why"})
        finally:
            queue.put_nowait(None)

    async def _stop(self, root: web.Application) -> None:
        for show in self._running.values():
            show.cancel()


async def _send(response: web.StreamResponse, queue: Queue) -> None:
    while True:
        line = b""
        try:
            async with asyncio.timeout(HEARTBEAT):
                event = await queue.get()
        except TimeoutError:
            pass
        else:
            if event is None:
                return
            line = json.dumps(event).encode()
        async with asyncio.timeout(WRITE_TIMEOUT):
            await response.write(line + b"\n")


def _refuse(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)
