"""What a reader sees in a browser: the questions, and the file behind each."""

from collections.abc import Mapping
from html import escape

from aiohttp import web
from aiohttp.typedefs import Handler

from cookbook.recipe import Recipe, question

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>The aiohttp cookbook</title>
<h1>The aiohttp cookbook</h1>
<ol>
{items}
</ol>
"""


def address(recipe: Recipe) -> str:
    """Return the path of a recipe's page."""
    return f"/recipes/{recipe.__name__.rpartition('.')[2]}"


def add_pages(app: web.Application, recipes: Mapping[str, Recipe]) -> None:
    """Serve the list of questions at `/`, and each recipe at its address."""
    items = "\n".join(
        f'<li><a href="{address(recipe)}">{escape(question(recipe))}</a>'
        for recipe in recipes.values()
    )
    page = PAGE.format(items=items)

    async def index(request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    app.router.add_get("/", index)
    for recipe in recipes.values():
        app.router.add_get(address(recipe), _source_of(recipe))


def _source_of(recipe: Recipe) -> Handler:
    async def source(request: web.Request) -> web.FileResponse:
        plain = {"Content-Type": "text/plain; charset=utf-8"}
        return web.FileResponse(str(recipe.__file__), headers=plain)

    return source
