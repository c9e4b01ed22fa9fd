"""All pages, put together."""

import asyncio
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from aiohttp import web

from cookbook.guard import UNAVAILABLE
from cookbook.messages import read_messages
from cookbook.pages.assets import asset_routes
from cookbook.pages.board import Board
from cookbook.pages.content import Content
from cookbook.pages.documents import RENDERING
from cookbook.pages.edition import Edition
from cookbook.pages.errors import ErrorsPages
from cookbook.pages.index import IndexPage, UnknownPages
from cookbook.pages.production import ProductionPage
from cookbook.pages.programs import Programs
from cookbook.pages.promises import PromisesPage
from cookbook.pages.recipe_page import RecipePage
from cookbook.pages.redirects import redirects
from cookbook.pages.shows import Shows
from cookbook.pages.speed import SpeedPage, read_speed
from cookbook.recipe import Recipe
from cookbook.verdicts import read_verdicts
from cookbook.xray import XRay

ROOT = Path(__file__).parents[2]
VERDICTS = ROOT / "verdicts"
ATTACKS = ROOT / "benchmarks" / "attacks.json"
BENCHMARKS = ROOT / "benchmarks" / "results.json"


def add_pages(
    app: web.Application,
    recipes: Sequence[Recipe],
    edition: Edition | None = None,
    *,
    behind_proxy: bool = False,
) -> None:
    """Serve the index at `/`, and a page for each recipe, all mounted before.

    A page is rendered when it is first asked for. It shows which recipe is not
    served. Those of an `edition` are to be read without a server. Those that
    are served `behind_proxy` say what may come out otherwise there.
    """
    app[RENDERING] = asyncio.Lock()
    mounted = _mounted_on(app)
    contents = [
        Content(
            number,
            recipe,
            mounted[recipe.prefix],
            app[UNAVAILABLE],
            behind_proxy,
        )
        for number, recipe in enumerate(recipes, 1)
    ]
    verdicts = cache(partial(read_verdicts, VERDICTS))
    x_ray, shows = XRay(app), Shows(app)
    messages = recipes[0].file.with_name("messages.toml")
    programs = Programs(
        contents, verdicts, lambda: len(read_messages(messages))
    )
    app.add_routes(programs.routes())
    index = IndexPage(contents, messages, programs.index, edition)
    app.add_routes(index.routes())
    errors = ErrorsPages(messages, index.respond_to_unknown)
    app.add_routes(errors.routes())
    said = recipes[0].file.with_name("speed.toml")
    speed = cache(partial(read_speed, BENCHMARKS, said))
    for number in range(1, len(recipes) + 1):
        page = RecipePage(
            number, contents, verdicts, x_ray, shows, edition, speed
        )
        app.add_routes(page.routes())
    app.add_routes(Board(recipes, verdicts).routes())
    parts = recipes[0].file.with_name("cluster.toml")
    app.add_routes(ProductionPage(parts, BENCHMARKS).routes())
    app.add_routes(SpeedPage(BENCHMARKS, said).routes())
    promises = recipes[0].file.with_name("promises.toml")
    app.add_routes(PromisesPage(promises, ATTACKS).routes())
    app.add_routes(asset_routes())
    app.add_routes(redirects(recipes))
    # The last: what comes first is asked first.
    app.router.register_resource(UnknownPages(index))


def _mounted_on(app: web.Application) -> dict[str, web.Application]:
    """Return the applications mounted on `app`, by their prefixes."""
    infos = (resource.get_info() for resource in app.router.resources())
    return {info["prefix"]: info["app"] for info in infos if "app" in info}
