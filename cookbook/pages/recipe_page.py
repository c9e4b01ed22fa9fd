"""The page of a recipe, and what it leads to."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web

from cookbook.guard import SITES
from cookbook.pages.archives import ArchivePage
from cookbook.pages.content import Content, Play
from cookbook.pages.documents import Document, DocumentByHost
from cookbook.pages.edition import Edition
from cookbook.pages.programs import MarkdownPages
from cookbook.pages.rendering import render
from cookbook.pages.shows import Shows
from cookbook.pages.speed import Speed
from cookbook.recipe import Recipe
from cookbook.verdicts import Verdicts
from cookbook.xray import XRay


class RecipePage:
    """The page of one recipe: `number` counts them from 1.

    It leads to the source, the tests and the production file, and serves what
    its buttons ask for.
    """

    def __init__(
        self,
        number: int,
        contents: Sequence[Content],
        read_verdicts: Callable[[], Verdicts],
        x_ray: XRay,
        shows: Shows,
        edition: Edition | None,
        read_speed: Callable[[], Speed | None],
    ) -> None:
        self._content = contents[number - 1]
        self._contents = contents
        self._recipe = self._content.recipe
        self._read_verdicts = read_verdicts
        self._x_ray = x_ray
        self._shows = shows
        self._edition = edition
        self._read_speed = read_speed
        self._markdown = MarkdownPages(self._content, read_verdicts, read_speed)
        self._page = DocumentByHost(
            self._render, state=lambda: self._content.broken
        )

    def routes(self) -> list[web.RouteDef]:
        """Return all that is served below the path of the page."""
        recipe, page = self._recipe, self._recipe.page
        routes = [
            *self._markdown.routes(self._page),
            web.get(f"{page}/x-ray", self.watch, allow_head=False),
            web.post(f"{page}/forget", self.forget),
            web.post(f"{page}/traps/{{name}}", self.show),
            *FilePages(recipe, page, recipe.file, recipe.tests).routes(),
            *ArchivePage(recipe, f"{page}.zip", production=False).routes(),
        ]
        if recipe.production_file.exists():
            path = f"/recipes/production/{recipe.name}"
            file, tests = recipe.production_file, recipe.production_tests
            routes += FilePages(recipe, path, file, tests).routes()
            archive = ArchivePage(recipe, f"{path}.zip", production=True)
            routes += archive.routes()
        return routes

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Send what happens in the recipe, for as long as somebody looks."""
        # The guard lets a foreign GET pass. This one works for its reader.
        request.app[SITES].refuse_others(request)
        return await self._x_ray.stream(
            request, self._content.app, self._recipe.file
        )

    async def forget(self, request: web.Request) -> web.Response:
        """Make the browser forget its sessions with all recipes."""
        response = web.Response(status=204)
        for name in request.cookies:
            response.del_cookie(name)
        return response

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Run a trap beside the right one."""
        # Comparing them takes its time, where the page has not done it yet.
        traps = await asyncio.to_thread(lambda: self._recipe.traps)
        for trap in traps:
            if trap.name == request.match_info["name"]:
                return await self._shows.stream(request, trap)
        raise web.HTTPNotFound

    def _render(self, host: str) -> str:
        content, verdicts = self._content, self._read_verdicts()
        speed = self._read_speed()
        at = content.number - 1
        return render(
            "recipe.html",
            cost=speed.sentence(content.module) if speed else "",
            content=content,
            host=host,
            edition=self._edition,
            total=len(self._contents),
            verdicts=verdicts,
            claims=verdicts.of_question(content.number),
            before=self._contents[at - 1] if at else None,
            after=next(iter(self._contents[at + 1 :]), None),
            data={
                "module": content.module,
                "prefix": content.prefix,
                "hasTickets": content.has_tickets,
                "plays": [
                    _data_of(play, content.prefix) for play in content.plays
                ],
            },
        )


def _data_of(play: Play, prefix: str) -> dict[str, Any] | None:
    """Return what `recipe.js` calls a play: None where only a shell can."""
    step, line = play.step, play.line
    if play.curl_only:
        return None
    if line is not None:
        requests = [
            {
                **asdict(request),
                "path": prefix + request.path,
                "headers": list(request.headers.items()),
            }
            for request in line.requests
        ]
        return {"kind": "run", **asdict(line), "requests": requests}
    if step.kind == "open":
        return {"kind": "open", "path": play.opened}
    return {"kind": step.kind, "text": step.text}


class FilePages:
    """A file of a recipe as it is, at `path`.py, and its tests as a page."""

    def __init__(
        self, recipe: Recipe, path: str, file: Path, tests: Path
    ) -> None:
        self._recipe = recipe
        self._path = path
        self._file = file
        self._tests = tests
        self._tests_page = Document(self._render_tests)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the file and of its tests."""
        return [
            web.get(f"{self._path}.py", self.source),
            web.get(f"{self._path}/tests", self.tests),
        ]

    async def source(self, request: web.Request) -> web.FileResponse:
        """Send the file, byte for byte."""
        plain = {hdrs.CONTENT_TYPE: "text/plain; charset=utf-8"}
        return web.FileResponse(self._file, headers=plain)

    async def tests(self, request: web.Request) -> web.Response:
        """Send the page of the tests, which an installed copy lacks."""
        try:
            return await self._tests_page.respond(request)
        except FileNotFoundError:
            raise web.HTTPNotFound(text="the tests are not installed") from None

    def _render_tests(self) -> str:
        return render(
            "tests.html",
            module=self._recipe.name,
            question=self._recipe.docs.title,
            file=self._tests.relative_to(self._recipe.file.parents[1]),
            source=self._tests.read_text(encoding="utf-8"),
        )
