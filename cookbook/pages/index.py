"""The list of questions, whole or as a search found them."""

import asyncio
from collections.abc import Sequence
from functools import cached_property

from aiohttp import hdrs, web

from cookbook.pages.content import Content
from cookbook.pages.documents import POLICY, Document
from cookbook.pages.rendering import render
from cookbook.pages.search import Index, make_index, search


class IndexPage:
    """The page at `/`, which carries the index that its search looks into."""

    def __init__(self, contents: Sequence[Content]) -> None:
        self._contents = contents
        self._document = Document(
            lambda: self._render(self._contents, ""),
            state=lambda: [content.broken for content in contents],
        )

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the page."""
        return [web.get("/", self.respond)]

    async def respond(self, request: web.Request) -> web.Response:
        """Send the list, or what `?q=` finds for those without JavaScript."""
        query = " ".join(request.query.getall("q", []))
        if not query:
            return await self._document.respond(request)
        return web.Response(
            text=await asyncio.to_thread(self._search, query),
            content_type="text/html",
            headers={hdrs.CONTENT_SECURITY_POLICY: POLICY},
        )

    @cached_property
    def _words(self) -> Index:
        return make_index(self._contents)

    def _search(self, query: str) -> str:
        found = search(self._words, query)
        return self._render([self._contents[at] for at in found], query)

    def _render(self, found: Sequence[Content], query: str) -> str:
        return render(
            "index.html",
            contents=found,
            query=query,
            words=self._words,
            total=len(self._contents),
        )
