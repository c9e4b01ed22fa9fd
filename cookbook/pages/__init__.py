"""What a reader sees in a browser: a question, its answer, and what runs."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from jinja2 import Environment, PackageLoader, StrictUndefined

from cookbook.guard import SITES, UNAVAILABLE
from cookbook.pages.content import (
    Content,
    code,
    difference,
    folded,
    highlighted,
    inline,
    read_content,
)
from cookbook.pages.documents import FOREVER, POLICY, Document
from cookbook.pages.search import make_index, search
from cookbook.pages.shows import Shows
from cookbook.recipe import Recipe
from cookbook.verdicts import Verdicts, read_verdicts
from cookbook.xray import XRay

STATIC = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted(Path(__file__).with_name("static").iterdir())
}
MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# Scripts import each other by their names: one version for the folder.
VERSION = sha256("".join(STATIC.values()).encode()).hexdigest()[:12]

VERDICTS = Path(__file__).parents[2] / "verdicts"

templates = Environment(
    loader=PackageLoader("cookbook.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.globals["static"] = f"/static/{VERSION}"
templates.filters["highlighted"] = highlighted
templates.filters["difference"] = difference
templates.filters["folded"] = folded
templates.filters["code"] = code
templates.filters["inline"] = inline


def add_pages(app: web.Application, recipes: Sequence[Recipe]) -> None:
    """Serve the index at `/`, and a page for each recipe, all mounted before.

    The pages are rendered when the recipes have started: they tell which could
    not.
    """
    mounted = {}
    for resource in app.router.resources():
        info = resource.get_info()
        if "app" in info:
            mounted[resource.canonical] = info["app"]
    index, x_ray, shows = Index(), XRay(app), Shows(app)
    verdicts = read_verdicts(VERDICTS)
    app.router.add_get("/", index.respond)
    pages: dict[str, Document] = {}

    def render() -> None:
        contents = [
            read_content(
                number,
                recipe,
                mounted[recipe.prefix],
                app[UNAVAILABLE].get(mounted[recipe.prefix]),
            )
            for number, recipe in enumerate(recipes, 1)
        ]
        index.render(contents)
        for at, content in enumerate(contents):
            pages[content.module] = _render_page(contents, at, verdicts)

    async def render_in_a_thread(app: web.Application) -> None:
        # It takes a second or more, in which recipes wait for their services.
        await asyncio.to_thread(render)

    app.on_startup.append(render_in_a_thread)
    for recipe in recipes:
        here = recipe.page
        app.router.add_get(here, _page(pages, recipe.name))
        app.router.add_get(f"{here}.py", _source_of(recipe.file))
        app.router.add_get(f"{here}/tests", _tests_of(recipe, recipe.tests))
        if recipe.production_file.exists():
            there = f"/recipes/production/{recipe.name}"
            tests = _tests_of(recipe, recipe.production_tests)
            app.router.add_get(
                f"{there}.py", _source_of(recipe.production_file)
            )
            app.router.add_get(f"{there}/tests", tests)
        app.router.add_get(
            f"{here}/x-ray",
            _x_ray_of(x_ray, mounted[recipe.prefix], recipe.file),
            allow_head=False,
        )
        app.router.add_post(f"{here}/forget", forget)
        app.router.add_post(f"{here}/traps/{{name}}", _show_of(shows, recipe))
    _add_board(app, verdicts, [recipe.docs.title for recipe in recipes])
    for name, text in STATIC.items():
        media_type = MEDIA_TYPES[Path(name).suffix]
        document = Document(text, media_type, FOREVER)
        app.router.add_get(f"/static/{VERSION}/{name}", document.respond)


def _add_board(
    app: web.Application, verdicts: Verdicts, questions: list[str]
) -> None:
    """Serve the board of verdicts, and the transcripts of each release."""
    text = templates.get_template("verdicts.html").render(
        verdicts=verdicts, questions=questions
    )
    app.router.add_get("/verdicts", Document(text, "text/html").respond)
    for release in verdicts.versions:
        text = templates.get_template("transcripts.html").render(
            verdicts=verdicts, release=release
        )
        transcripts = Document(text, "text/html")
        app.router.add_get(f"/verdicts/{release}", transcripts.respond)


class Index:
    """The list of questions, whole or as a search found them."""

    def render(self, contents: list[Content]) -> None:
        """Render the list once, with what a search needs."""
        self._contents = contents
        self._words = make_index(contents)
        self._document = Document(self._html(contents, ""), "text/html")

    async def respond(self, request: web.Request) -> web.Response:
        """Send the list, or what `?q=` finds for those without JavaScript."""
        query = " ".join(request.query.getall("q", []))
        if not query:
            return await self._document.respond(request)
        found = [self._contents[at] for at in search(self._words, query)]
        return web.Response(
            text=self._html(found, query),
            content_type="text/html",
            headers={hdrs.CONTENT_SECURITY_POLICY: POLICY},
        )

    def _html(self, found: list[Content], query: str) -> str:
        return templates.get_template("index.html").render(
            contents=found,
            query=query,
            words=self._words,
            total=len(self._contents),
        )


def _render_page(
    contents: list[Content], at: int, verdicts: Verdicts
) -> Document:
    content = contents[at]
    text = templates.get_template("recipe.html").render(
        content=content,
        total=len(contents),
        verdicts=verdicts,
        claims=verdicts.of_question(content.number),
        before=contents[at - 1] if at else None,
        after=contents[at + 1] if at + 1 < len(contents) else None,
        data={
            "module": content.module,
            "prefix": content.prefix,
            "hasTickets": content.has_tickets,
            "plays": [
                {**asdict(play), "pattern": play.step.pattern.pattern}
                for play in content.plays
            ],
        },
    )
    return Document(text, "text/html")


def _page(pages: dict[str, Document], module: str) -> Handler:
    async def page(request: web.Request) -> web.Response:
        return await pages[module].respond(request)

    return page


def _source_of(file: Path) -> Handler:
    async def source(request: web.Request) -> web.FileResponse:
        plain = {hdrs.CONTENT_TYPE: "text/plain; charset=utf-8"}
        return web.FileResponse(file, headers=plain)

    return source


def _tests_of(recipe: Recipe, file: Path) -> Handler:
    rendered: list[Document] = []

    def render() -> Document:
        text = templates.get_template("tests.html").render(
            module=recipe.name,
            question=recipe.docs.title,
            file=file.relative_to(recipe.file.parents[1]),
            source=file.read_text(encoding="utf-8"),
        )
        return Document(text, "text/html")

    async def tests(request: web.Request) -> web.Response:
        if not rendered:
            try:
                # Some take a tenth of a second to highlight.
                rendered.append(await asyncio.to_thread(render))
            except FileNotFoundError:
                raise web.HTTPNotFound(
                    text="the tests are not installed"
                ) from None
        return await rendered[0].respond(request)

    return tests


def _x_ray_of(x_ray: XRay, app: web.Application, file: Path) -> Handler:
    async def stream(request: web.Request) -> web.StreamResponse:
        # The guard lets a foreign GET pass. This one works for its reader.
        request.app[SITES].refuse_others(request)
        return await x_ray.stream(request, app, file)

    return stream


def _show_of(shows: Shows, recipe: Recipe) -> Handler:
    async def show(request: web.Request) -> web.StreamResponse:
        # Read by now: the page shows them, and comparing takes its time.
        for trap in recipe.traps:
            if trap.name == request.match_info["name"]:
                return await shows.stream(request, trap)
        raise web.HTTPNotFound

    return show


async def forget(request: web.Request) -> web.Response:
    """Make the browser forget its sessions with all recipes."""
    response = web.Response(status=204)
    for name in request.cookies:
        response.del_cookie(name)
    return response
