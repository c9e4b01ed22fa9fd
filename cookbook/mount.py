"""Mounts a recipe under its prefix, so that its failure stays its own.

The signals of mounted applications run one after another, and the first that
raises ends the rest (aiohttp#4799). Here each recipe has a task of its own,
which starts it and closes it. All recipes start at the same time, and what they
raise is contained. A recipe that cannot be built or started answers 503. One
that could not be started tries again, until it is or the cookbook ends. One
that fails to close keeps no other open.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from aiohttp import hdrs, web

from cookbook.guard import UNAVAILABLE, explain
from cookbook.internals import Callback, take_callbacks, thaw

logger = logging.getLogger(__name__)


class Waits(NamedTuple):
    """How long the lifetime of a recipe waits, in seconds."""

    signal: float = 10.0
    """For a start, and for each callback that closes the recipe."""

    first_pause: float = 1.0
    """Before the second try to start: most locks are gone by then.

    Each further pause is twice as long.
    """

    longest_pause: float = 30.0
    """Between two tries: the log then has two lines a minute."""


WAITS = Waits()


def mount(
    root: web.Application,
    prefix: str,
    create_app: Callable[[], web.Application],
    page: str,
    *,
    waits: Waits = WAITS,
) -> None:
    """Build a recipe's application and mount it on `root`, a guarded one.

    `prefix` alone is redirected to `prefix/`, or to `page` where the recipe
    has no `/`. Raises ValueError for a prefix that is taken.
    """
    if prefix in (resource.canonical for resource in root.router.resources()):
        raise ValueError(f"the prefix {prefix} is mounted twice")
    try:
        app = create_app()
    except Exception:
        app = web.Application()
        what = f"{prefix} could not be built"
        logger.exception("%s; the other recipes are served without it", what)
        root[UNAVAILABLE][app] = f"{what}: the server's log tells why"
    else:
        root[UNAVAILABLE][app] = f"{prefix} is not started yet"
        if LIFETIMES not in root:
            root[LIFETIMES] = []
            root.cleanup_ctx.append(_live)
        root[LIFETIMES].append(_Lifetime(app, prefix, root[UNAVAILABLE], waits))
    home = page
    if "/" in (resource.canonical for resource in app.router.resources()):
        home = f"{prefix}/"
    # Before the recipe: what comes first is asked first.
    entrance = _Entrance(app, prefix, home, root[UNAVAILABLE])
    root.router.register_resource(entrance)
    root.add_subapp(prefix, app)


class _Entrance(web.PlainResource):
    """Takes the requests for a prefix alone, which it redirects to `home`.

    It takes all requests for the recipe as long as that is not available.

    The recipe's application is no part of them. Or aiohttp would send its
    signal `on_response_prepare`, which may need what could not be started.
    """

    def __init__(
        self,
        app: web.Application,
        prefix: str,
        home: str,
        unavailable: dict[web.Application, str],
    ) -> None:
        super().__init__(prefix)
        self._app = app
        self._home = home
        self._unavailable = unavailable
        self._entry = self.add_route(hdrs.METH_ANY, self._answer)

    async def resolve(
        self, request: web.Request
    ) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        if request.path == self.canonical or self._app in self._unavailable:
            return web.UrlMappingMatchInfo({}, self._entry), set()
        return None, set()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path == self.canonical:
            # A text, because aiohttp quotes a text and not a URL. The parser in
            # Python lets bytes above 127 into a query, and no header holds
            # them.
            location = request.rel_url.with_path(self._home, keep_query=True)
            raise web.HTTPPermanentRedirect(str(location))
        reason = self._unavailable[self._app]
        raise explain(web.HTTPServiceUnavailable, reason)


class _Lifetime:
    """Starts a recipe as soon as that is possible, and closes it at the end.

    `unavailable` holds the recipe's application as long as it is not started.
    """

    def __init__(
        self,
        app: web.Application,
        prefix: str,
        unavailable: dict[web.Application, str],
        waits: Waits,
    ) -> None:
        self.tried = asyncio.Event()
        """Set once the first try to start has worked or failed."""
        self._app = app
        self._prefix = prefix
        self._unavailable = unavailable
        self._waits = waits
        self._failures = 0
        self._ending = asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        self._startup = take_callbacks(app.on_startup)
        self._shutdown = take_callbacks(app.on_shutdown)
        self._cleanup = take_callbacks(app.on_cleanup)
        app.on_shutdown.append(self._shut_down)

    async def live(self) -> None:
        """Start the recipe, wait for `end()`, and close it.

        All in one task: what is entered here is left here.
        """
        pause = self._waits.first_pause
        while not await self._start():
            self.tried.set()
            # The try may have opened something before it failed.
            await self._send_all(self._cleanup)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ending.wait()
                return
            pause = min(2 * pause, self._waits.longest_pause)
        self.tried.set()
        await self._ending.wait()
        await self._send_all(self._cleanup)

    def end(self) -> None:
        """Let `live()` end, even in the middle of a try."""
        self._ending.set()
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(0)

    async def _start(self) -> bool:
        """Try to start, and tell whether that worked."""
        # The root may have started meanwhile. No request has seen any state.
        thaw(self._app)
        try:
            async with asyncio.timeout(self._waits.signal) as self._limit:
                for callback in self._startup:
                    await callback(self._app)
        except Exception as error:
            if not self._ending.is_set():
                self._report(error)
            return False
        finally:
            self._limit = None
        self._app.freeze()
        if self._failures:
            logger.warning("%s is served after all", self._prefix)
        del self._unavailable[self._app]
        return True

    def _report(self, error: Exception) -> None:
        self._failures += 1
        what = f"{self._prefix} could not be started"
        if self._failures > 1:
            logger.warning("%s: %r", what, error)
            return
        logger.exception("%s; the other recipes are served without it", what)
        self._unavailable[self._app] = f"{what}: the server's log tells why"

    async def _shut_down(self, app: web.Application) -> None:
        if app not in self._unavailable:
            await self._send_all(self._shutdown)

    async def _send_all(self, callbacks: Iterable[Callback]) -> None:
        for callback in callbacks:
            try:
                async with asyncio.timeout(self._waits.signal):
                    await callback(self._app)
            except Exception:
                logger.exception("%s failed to close", self._prefix)


LIFETIMES = web.AppKey("LIFETIMES", list[_Lifetime])
"""Those of all recipes that are mounted on an application."""


async def _live(root: web.Application) -> AsyncIterator[None]:
    """Start all recipes at the same time, and close them at the end."""
    lifetimes = root[LIFETIMES]
    tasks = [asyncio.create_task(each.live()) for each in lifetimes]
    try:
        for lifetime in lifetimes:
            await lifetime.tried.wait()
        yield
    finally:
        for lifetime in lifetimes:
            lifetime.end()
        await asyncio.wait(tasks)
