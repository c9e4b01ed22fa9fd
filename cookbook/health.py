"""Tells a load balancer whether to send requests here.

`/healthz` answers as long as the process does. Restart a process that does not
answer; an engine that is away is no reason to. `/readyz` is 503 while an engine
is away, and while the process ends. Send such a process no requests.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import psycopg
from aiohttp import hdrs, web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cookbook.guard import ENDING, explain

logger = logging.getLogger(__name__)

CHECK_TIMEOUT = 1.0
"""Seconds in which an engine has to answer."""

VALID_FOR = 1.0
"""Seconds for which an answer holds: many may ask, and one is asked."""

Check = Callable[[], Awaitable[None]]
"""Asks an engine; raises one of `AWAY` where it does not answer."""

AWAY = (OSError, RedisError, TimeoutError, ValueError, psycopg.Error)


@dataclass
class Health:
    """What this process needs, and whether it was there.

    An engine has `timeout` seconds to answer. An answer holds for `valid_for`
    seconds.
    """

    checks: dict[str, Check]
    timeout: float = CHECK_TIMEOUT
    valid_for: float = VALID_FOR
    _checking: asyncio.Task[list[str]] | None = None
    _checked_at: float = field(default=float("-inf"))

    async def find_missing(self) -> list[str]:
        """Return the names of engines that are away, within `timeout`."""
        now = asyncio.get_running_loop().time()
        if self._checking is None or (
            self._checking.done() and now - self._checked_at > self.valid_for
        ):
            self._checked_at = now
            self._checking = asyncio.create_task(self._check_all())
        # Who leaves does not end it for the others.
        return await asyncio.shield(self._checking)

    async def _check_all(self) -> list[str]:
        names = list(self.checks)
        answers = await asyncio.gather(*map(self._is_there, names))
        return [
            name
            for name, is_there in zip(names, answers, strict=True)
            if not is_there
        ]

    async def _is_there(self, name: str) -> bool:
        try:
            async with asyncio.timeout(self.timeout):
                await self.checks[name]()
        except AWAY as error:
            # That of PostgreSQL has several lines, and a log has one for each.
            text = " ".join(str(error).split())
            logger.warning(
                "%s is away: %s: %s", name, type(error).__name__, text
            )
            return False
        return True

    async def close(self) -> None:
        """End a check that runs."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)


def add_health(
    app: web.Application,
    *,
    redis_url: str,
    postgres_url: str,
    timeout: float = CHECK_TIMEOUT,
    valid_for: float = VALID_FOR,
) -> None:
    """Let `app`, a guarded one, answer `/healthz` and `/readyz`."""
    health = Health(
        {
            "redis": lambda: check_redis(redis_url),
            "postgres": lambda: check_postgres(postgres_url),
        },
        timeout,
        valid_for,
    )

    async def show_life(request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def show_readiness(request: web.Request) -> web.Response:
        missing = await health.find_missing()
        if app[ENDING].is_set():
            raise unready("this process is ending")
        if missing:
            raise unready(f"away: {', '.join(missing)}")
        return web.json_response({"status": "ready"})

    async def close(app: web.Application) -> None:
        await health.close()

    app.router.add_get("/healthz", show_life)
    app.router.add_get("/readyz", show_readiness)
    app.on_cleanup.append(close)


def unready(reason: str) -> web.HTTPException:
    """Make a 503 after which one may ask again in a second."""
    error = explain(web.HTTPServiceUnavailable, reason)
    error.headers[hdrs.RETRY_AFTER] = "1"
    return error


async def check_redis(url: str) -> None:
    """Ask a Redis on a connection of its own; raises where it is away."""
    async with Redis.from_url(url) as redis:
        await redis.ping()


async def check_postgres(url: str) -> None:
    """Ask a PostgreSQL, likewise."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("SELECT 1")
