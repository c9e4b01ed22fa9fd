"""Leads from what a page may be called to its address."""

from collections.abc import Iterable

from aiohttp import web

from cookbook.recipe import Recipe


def redirects(recipes: Iterable[Recipe]) -> list[web.RouteDef]:
    """Return routes for names with hyphens, and for a slash at the end.

    A production file has no page but that of its answer. What has an address
    of exactly this path is not asked here.
    """
    answers = list(recipes)
    production = [each for each in answers if each.production_file.exists()]
    rest = r"{rest:(\.py|\.md|/tests)?}{slash:/?}"
    return [
        web.get("/recipes{slash:/?}", _lead_to_index),
        web.get(f"/recipes/{_any_of(answers)}{rest}", _lead_to_answer),
        web.get(
            f"/recipes/production/{_any_of(production)}{rest}",
            _lead_to_production,
        ),
    ]


def _any_of(recipes: Iterable[Recipe]) -> str:
    names = (recipe.name.replace("_", "[-_]") for recipe in recipes)
    return f"{{name:({'|'.join(names)})}}"


async def _lead_to_index(request: web.Request) -> web.Response:
    raise web.HTTPPermanentRedirect("/")


async def _lead_to_answer(request: web.Request) -> web.Response:
    name, rest = _read_path(request)
    raise web.HTTPPermanentRedirect(f"/recipes/{name}{rest}")


async def _lead_to_production(request: web.Request) -> web.Response:
    name, rest = _read_path(request)
    if rest:
        raise web.HTTPPermanentRedirect(f"/recipes/production/{name}{rest}")
    raise web.HTTPPermanentRedirect(f"/recipes/{name}#in-production")


def _read_path(request: web.Request) -> tuple[str, str]:
    info = request.match_info
    return info["name"].replace("-", "_"), info["rest"]
