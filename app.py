"""The whole cookbook at a glance: which recipe answers under which prefix."""

import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from aiohttp import web

from cookbook.guard import protect
from cookbook.mount import mount
from cookbook.pages import add_pages, address
from cookbook.recipe import Recipe
from cookbook.server import command

try:
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

COOKBOOK: dict[str, Recipe] = {
    "/route-table": route_table,
    "/nested-apps": nested_apps,
    "/prefix-sink": prefix_sink,
    "/database": database,
    "/request-data": request_data,
    "/parallel-events": parallel_events,
    "/websocket-logout": websocket_logout,
    "/source-address": source_address,
    "/api-stability": api_stability,
    "/global-gzip": global_gzip,
    "/client-session": client_session,
    "/subapp-database": subapp_database,
    "/after-response": after_response,
    "/one-response": one_response,
    "/event-loop": event_loop,
}


def create_app(
    *,
    redis_url: str | None = None,
    data_dir: Path | None = None,
    allow_hosts: Iterable[str] = (),
) -> web.Application:
    """Mount all recipes; an outside server sets REDIS_URL and DATA_DIR."""
    redis = redis_url or os.environ.get("REDIS_URL", "redis://localhost")
    data = data_dir or Path(os.environ.get("DATA_DIR", "."))
    knobs: dict[str, Callable[[], web.Application]] = {
        "/database": partial(database.create_app, database=data / "notes.db"),
        "/parallel-events": partial(
            parallel_events.create_app, redis_url=redis
        ),
        "/subapp-database": partial(
            subapp_database.create_app, database=data / "visits.db"
        ),
        "/after-response": partial(
            after_response.create_app, database=data / "pings.db"
        ),
    }
    app = web.Application()
    protect(app, allow_hosts)
    for prefix, recipe in COOKBOOK.items():
        build = knobs.get(prefix, recipe.create_app)
        mount(app, prefix, build, page=address(recipe))
    add_pages(app, COOKBOOK)
    return app


if __name__ == "__main__":
    command(create_app, COOKBOOK)()
