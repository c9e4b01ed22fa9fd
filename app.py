"""The whole cookbook at a glance: which recipe answers under which prefix."""

import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path

from aiohttp import web
from cryptography.fernet import Fernet

from cookbook.connection import Runner
from cookbook.guard import LOOPBACK, protect
from cookbook.health import add_health
from cookbook.mount import mount
from cookbook.pages import Edition, add_pages
from cookbook.recipe import Options, Recipe, Settings
from cookbook.server import (
    DRAIN_TIMEOUT,
    SHUTDOWN_TIMEOUT,
    command,
    compress_quickly,
)

try:
    import recipes.production.after_response
    import recipes.production.client_session
    import recipes.production.database
    import recipes.production.one_response
    import recipes.production.parallel_events
    import recipes.production.request_data
    import recipes.production.websocket_logout
    from recipes import (
        after_response,
        api_stability,
        client_session,
        database,
        event_loop,
        global_gzip,
        nested_apps,
        one_response,
        parallel_events,
        prefix_sink,
        request_data,
        route_table,
        source_address,
        subapp_database,
        websocket_logout,
    )
except Exception as error:
    sys.exit(f"a recipe cannot be imported: {error}")


def with_token(settings: Settings) -> dict[str, str]:
    """Return the option of a token, which is public: the page shows it."""
    return {"token": "ann-demo-token"}


def with_key(settings: Settings) -> dict[str, str]:
    """Return the option of the key that encrypts sessions."""
    return {"key": settings.session_key}


def with_redis(settings: Settings) -> dict[str, str]:
    """Return the option of a Redis."""
    return {"redis_url": settings.redis_url}


def with_proxies(settings: Settings) -> dict[str, str | tuple[str, ...]]:
    """Return the options of a Redis, and of who may choose an id."""
    return {
        "redis_url": settings.redis_url,
        "trusted_proxies": settings.proxies,
    }


def with_postgres(settings: Settings) -> dict[str, str]:
    """Return the option of a PostgreSQL."""
    return {"postgres_url": settings.postgres_url}


def with_jobs(settings: Settings) -> dict[str, str | bool]:
    """Return the options of a PostgreSQL, and of who runs the jobs in it."""
    return {
        "postgres_url": settings.postgres_url,
        "work_here": settings.work_here,
    }


def with_database(file: str) -> Options:
    """Return the option of a database, which is a file of the data folder."""
    return lambda settings: {"database": settings.data_dir / file}


COOKBOOK = [
    Recipe(route_table, "/route-table", with_token, topic="Routing"),
    Recipe(nested_apps, "/nested-apps", topic="Routing"),
    Recipe(prefix_sink, "/prefix-sink", topic="Routing"),
    Recipe(database, "/database", with_database("notes.db"), topic="State"),
    Recipe(request_data, "/request-data", with_key, topic="State"),
    Recipe(parallel_events, "/parallel-events", with_redis, topic="WebSockets"),
    Recipe(websocket_logout, "/websocket-logout", topic="WebSockets"),
    Recipe(source_address, "/source-address", topic="Client"),
    Recipe(api_stability, "/api-stability", topic="Releases"),
    Recipe(global_gzip, "/global-gzip", topic="Responses"),
    Recipe(client_session, "/client-session", topic="Client"),
    Recipe(
        subapp_database,
        "/subapp-database",
        with_database("visits.db"),
        topic="State",
    ),
    Recipe(after_response, "/after-response", topic="Responses"),
    Recipe(one_response, "/one-response", topic="Responses"),
    Recipe(event_loop, "/event-loop", topic="Client"),
]
PRODUCTION = [
    Recipe.of_production(recipes.production.database, with_postgres),
    Recipe.of_production(recipes.production.request_data, with_proxies),
    Recipe.of_production(recipes.production.parallel_events, with_redis),
    Recipe.of_production(recipes.production.websocket_logout, with_redis),
    Recipe.of_production(recipes.production.client_session),
    Recipe.of_production(recipes.production.after_response, with_jobs),
    Recipe.of_production(recipes.production.one_response, with_redis),
]


def create_app(
    *,
    redis_url: str | None = None,
    postgres_url: str | None = None,
    data_dir: Path | None = None,
    session_key: str | None = None,
    allow_hosts: Iterable[str] = (),
    trust_proxy: bool = False,
    proxies: Iterable[str] = LOOPBACK,
    work_here: bool = True,
    edition: Edition | None = None,
) -> web.Application:
    """Mount all recipes; the pages may be those of a public edition.

    An outside server sets REDIS_URL, POSTGRES_URL, DATA_DIR and SESSION_KEY
    instead. Without a key, the recipes that need one answer 503.
    """
    key = session_key or os.environ.get("SESSION_KEY", "")
    if key == "random":
        key = Fernet.generate_key().decode()
    settings = Settings(
        redis_url=redis_url or os.environ.get("REDIS_URL", "redis://localhost"),
        postgres_url=postgres_url
        or os.environ.get("POSTGRES_URL", "postgresql://localhost/cookbook"),
        data_dir=data_dir or Path(os.environ.get("DATA_DIR", ".")),
        session_key=key,
        work_here=work_here,
        proxies=tuple(proxies),
    )
    app = web.Application()
    protect(app, allow_hosts, trust_proxy=trust_proxy, proxies=settings.proxies)
    for recipe in COOKBOOK + PRODUCTION:
        build = partial(recipe.create_app, settings)
        mount(app, recipe.prefix, build, page=recipe.page)
    add_health(
        app, redis_url=settings.redis_url, postgres_url=settings.postgres_url
    )
    add_pages(app, COOKBOOK, edition, behind_proxy=trust_proxy)
    return app


def for_gunicorn(
    *,
    allow_hosts: Iterable[str] = (),
    trust_proxy: bool = False,
    proxies: Iterable[str] = LOOPBACK,
    work_here: bool = True,
) -> Callable[[], Awaitable[Runner]]:
    """Return what aiohttp's worker for gunicorn awaits.

    What it gets drops slow peers, as `make run` does.
    """

    async def create_runner() -> Runner:
        compress_quickly()
        return Runner(
            create_app(
                allow_hosts=allow_hosts,
                trust_proxy=trust_proxy,
                proxies=proxies,
                work_here=work_here,
            ),
            shutdown_timeout=SHUTDOWN_TIMEOUT,
            drain_timeout=DRAIN_TIMEOUT,
            access_log=logging.getLogger("gunicorn.access"),
        )

    return create_runner


if __name__ == "__main__":
    command(create_app, COOKBOOK)()
