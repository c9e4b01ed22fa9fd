"""Mounts a recipe under its prefix, so that its failure stays its own.

The signals of mounted applications run one after another, and the first that
raises ends the rest (aiohttp#4799). Here the root's cleanup contexts run them,
one for each recipe, and contain what they raise: a recipe that cannot be built
or started answers 503, one that fails to close keeps no other open, and the
last that was started is the first to be closed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from aiohttp import hdrs, web
from aiosignal import Signal

from cookbook.guard import UNAVAILABLE

SIGNAL_TIMEOUT = 10.0
"""Seconds for a recipe's start, and for each callback that closes it."""

logger = logging.getLogger(__name__)

Callback = Callable[[web.Application], Awaitable[object]]


def mount(
    root: web.Application,
    prefix: str,
    create_app: Callable[[], web.Application],
    page: str,
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
        _give_up(root, app, f"{prefix} could not be built")
    home = page
    if "/" in (resource.canonical for resource in app.router.resources()):
        home = f"{prefix}/"

    async def redirect(request: web.Request) -> web.Response:
        # A text, because aiohttp quotes a text and not a URL. The parser in
        # Python lets bytes above 127 into a query, and no header holds them.
        location = request.rel_url.with_path(home, keep_query=True)
        raise web.HTTPPermanentRedirect(str(location))

    root.router.add_route(hdrs.METH_ANY, prefix, redirect)
    root.cleanup_ctx.append(_contain(app, prefix))
    root.add_subapp(prefix, app)


def _contain(
    app: web.Application, prefix: str
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a context for the root that runs the signals of `app`."""
    startup, shutdown, cleanup = map(
        _take, (app.on_startup, app.on_shutdown, app.on_cleanup)
    )

    async def shut_down(app: web.Application) -> None:
        await _send_all(shutdown, app)

    app.on_shutdown.append(shut_down)

    async def lifetime(root: web.Application) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(SIGNAL_TIMEOUT):
                for callback in startup:
                    await callback(app)
        except Exception:
            _give_up(root, app, f"{prefix} could not be started")
            shutdown.clear()
            await _send_all(cleanup, app)
            yield
        else:
            try:
                yield
            finally:
                await _send_all(cleanup, app)

    return lifetime


def _take(signal: Signal[web.Application]) -> list[Callback]:
    callbacks = list(signal)
    signal.clear()
    return callbacks


async def _send_all(
    callbacks: Iterable[Callback], app: web.Application
) -> None:
    for callback in callbacks:
        try:
            async with asyncio.timeout(SIGNAL_TIMEOUT):
                await callback(app)
        except Exception:
            logger.exception("a recipe failed to close")


def _give_up(root: web.Application, app: web.Application, what: str) -> None:
    logger.exception("%s; the other recipes are served without it", what)
    root[UNAVAILABLE][app] = f"{what}: the server's log tells why"
