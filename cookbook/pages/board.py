"""The board of verdicts, and what was seen on each release."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from aiohttp import web

from cookbook.pages.documents import Document, Negotiated
from cookbook.pages.rendering import render
from cookbook.recipe import Recipe
from cookbook.verdicts import Verdicts


class Board:
    """The pages under `/verdicts`; `read` returns what they show."""

    def __init__(
        self, recipes: Sequence[Recipe], read: Callable[[], Verdicts]
    ) -> None:
        self._recipes = recipes
        self._read = read
        page = Document(lambda: self._render_board("verdicts.html"))
        markdown = Document(
            lambda: self._render_board("verdicts.md"), "text/markdown"
        )
        self._board = Negotiated(page, markdown, "/verdicts.md")
        self._transcripts: dict[str, Document] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the board and of the transcripts."""
        return [
            *self._board.routes("/verdicts"),
            web.get("/verdicts/{release}", self.transcripts),
        ]

    async def transcripts(self, request: web.Request) -> web.Response:
        """Send what the tests printed on a release."""
        release = request.match_info["release"]
        verdicts = await asyncio.to_thread(self._read)
        column = verdicts.columns.get(release)
        if column is None or not column.version:
            raise web.HTTPNotFound
        if release not in self._transcripts:
            transcripts = partial(self._render_transcripts, release)
            self._transcripts[release] = Document(transcripts)
        return await self._transcripts[release].respond(request)

    def _render_board(self, template: str) -> str:
        return render(
            template,
            verdicts=self._read(),
            questions=[recipe.docs.title for recipe in self._recipes],
        )

    def _render_transcripts(self, release: str) -> str:
        verdicts = self._read()
        return render(
            "transcripts.html",
            verdicts=verdicts,
            column=verdicts.columns[release],
        )
