"""The whole cookbook at a glance: which recipe answers under which prefix."""

import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.fernet import Fernet

from cookbook.guard import protect
from cookbook.mount import mount
from cookbook.pages import add_pages, address
from cookbook.recipe import Recipe
from cookbook.server import command

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
PRODUCTION: dict[str, Recipe] = {
    "/production/database": recipes.production.database,
    "/production/request-data": recipes.production.request_data,
    "/production/parallel-events": recipes.production.parallel_events,
    "/production/websocket-logout": recipes.production.websocket_logout,
    "/production/client-session": recipes.production.client_session,
    "/production/after-response": recipes.production.after_response,
    "/production/one-response": recipes.production.one_response,
}


def create_app(
    *,
    redis_url: str | None = None,
    data_dir: Path | None = None,
    session_key: str | None = None,
    allow_hosts: Iterable[str] = (),
    trust_proxy: bool = False,
) -> web.Application:
    """Mount all recipes.

    An outside server sets REDIS_URL, DATA_DIR and SESSION_KEY instead. Without
    a key, the recipes that need one answer 503.
    """
    redis = redis_url or os.environ.get("REDIS_URL", "redis://localhost")
    data = data_dir or Path(os.environ.get("DATA_DIR", "."))
    key = session_key or os.environ.get("SESSION_KEY", "")
    if key == "random":
        key = Fernet.generate_key().decode()
    options: dict[str, dict[str, Any]] = {
        # Public, because the page shows it.
        "/route-table": {"token": "ann-demo-token"},
        "/database": {"database": data / "notes.db"},
        "/production/database": {"database": data / "production-notes.db"},
        "/request-data": {"key": key},
        "/production/request-data": {"key": key},
        "/parallel-events": {"redis_url": redis},
        "/production/parallel-events": {"redis_url": redis},
        "/subapp-database": {"database": data / "visits.db"},
        "/production/after-response": {"database": data / "pings.db"},
    }
    app = web.Application()
    protect(app, allow_hosts, trust_proxy=trust_proxy)
    for prefix, recipe in (COOKBOOK | PRODUCTION).items():
        build = partial(recipe.create_app, **options.get(prefix, {}))
        mount(app, prefix, build, page=address(recipe))
    add_pages(app, COOKBOOK)
    return app


if __name__ == "__main__":
    command(create_app, COOKBOOK)()
