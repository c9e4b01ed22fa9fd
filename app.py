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
        event_loop,
        nested_apps,
        one_response,
        prefix_sink,
        route_table,
        source_address,
    )
except (ImportError, SyntaxError) as error:
    sys.exit(f"a recipe cannot be imported: {error}")

COOKBOOK: dict[str, Recipe] = {
    "/route-table": route_table,
    "/nested-apps": nested_apps,
    "/prefix-sink": prefix_sink,
    "/source-address": source_address,
    "/api-stability": api_stability,
    "/client-session": client_session,
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
    redis_url = redis_url or os.environ.get("REDIS_URL", "redis://localhost")
    data_dir = data_dir or Path(os.environ.get("DATA_DIR", "."))
    knobs: dict[str, Callable[[], web.Application]] = {
        "/after-response": partial(
            after_response.create_app, database=data_dir / "pings.db"
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
