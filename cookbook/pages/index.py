"""The list of questions, whole or as a search found them, and the 404 page."""

import asyncio
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, quote_plus

from aiohttp import hdrs, web

from cookbook.messages import read_messages
from cookbook.pages.content import Content
from cookbook.pages.documents import POLICY, Document, Negotiated
from cookbook.pages.edition import Edition
from cookbook.pages.rendering import render
from cookbook.search import Result, Search, read_topic

MAX_ADDRESS = 6_000
"""Bytes of a query in an address: aiohttp reads 8,190 of a request line."""

FOLDERS = ("recipes", "errors")
"""Names in a path that tell nothing of what is looked for."""

MAX_PASTED = 64 * 1024
"""Characters of a query that are searched, from the end."""


class IndexPage:
    """The page at `/`, which shows what a search finds.

    `messages` is the file of the error messages. `markdown` lists all pages.
    """

    def __init__(
        self,
        contents: Sequence[Content],
        messages: Path,
        markdown: Document,
        edition: Edition | None,
    ) -> None:
        self._contents = contents
        self._messages = messages
        self._edition = edition
        page = Document(
            lambda: self._render(""),
            state=lambda: [content.broken for content in contents],
        )
        self._whole = Negotiated(page, markdown, "/index.md")
        self._markdown = markdown

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the page."""
        return [
            web.get("/", self.respond),
            web.get("/index.md", self._markdown.respond),
            web.post("/", self.respond_to_form),
        ]

    async def respond(self, request: web.Request) -> web.Response:
        """Send the list, or what `?q=` finds."""
        query = " ".join(request.query.getall("q", []))
        if not query.strip():
            return await self._whole.respond(request)
        return await self._found(query)

    async def respond_to_form(self, request: web.Request) -> web.Response:
        """Send what the form's `q` finds: a traceback fits in no address.

        A query that does is redirected to its own, which can be shared.
        """
        form = parse_qs((await request.read()).decode(errors="replace"))
        query = "\n".join(form.get("q", [])).replace("\r\n", "\n")
        if len(quote_plus(query)) <= MAX_ADDRESS:
            raise web.HTTPSeeOther(f"/?q={quote_plus(query)}")
        return await self._found(query)

    async def respond_to_unknown(self, request: web.Request) -> web.Response:
        """Send a 404 with what the words of the path find."""
        # The files of an edition have one page for all that is not there.
        path = "" if self._edition else request.path
        words = re.findall(r"[^\W_]+", path)
        query = " ".join(word for word in words if word not in FOLDERS)
        return await self._found(query[:MAX_ADDRESS], web.HTTPNotFound)

    async def _found(
        self,
        query: str,
        status: type[web.HTTPOk | web.HTTPNotFound] = web.HTTPOk,
    ) -> web.Response:
        query = query[-MAX_PASTED:]
        is_unknown = status is web.HTTPNotFound
        return web.Response(
            text=await asyncio.to_thread(self._render, query, is_unknown),
            status=status.status_code,
            content_type="text/html",
            headers={hdrs.CONTENT_SECURITY_POLICY: POLICY},
        )

    @cached_property
    def _search(self) -> Search:
        topics = [read_topic(content.recipe) for content in self._contents]
        return Search(topics, read_messages(self._messages))

    def _render(self, query: str, is_unknown: bool = False) -> str:
        result = self._search.find(query) if query else Result()
        contents = {content.module: content for content in self._contents}
        topics: dict[str, list[Content]] = {}
        for content in self._contents:
            topics.setdefault(content.topic, []).append(content)
        return render(
            "index.html",
            topics=topics,
            contents=[contents[topic.name] for topic in result.topics],
            messages=result.messages,
            pitfalls=result.pitfalls,
            nearest=[contents[topic.name] for topic in result.nearest],
            query=query,
            is_unknown=is_unknown,
            edition=self._edition,
        )


class UnknownPages(web.DynamicResource):
    """Takes what a browser asks for and no other resource has.

    A program gets the plain 404, and a wrong method its 405.
    """

    def __init__(self, index: IndexPage) -> None:
        super().__init__("/{path:(?s:.*)}")
        self.add_route(hdrs.METH_GET, index.respond_to_unknown)

    async def resolve(
        self, request: web.Request
    ) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """Return no match for a program, nor for another method than GET."""
        takes_pages = "text/html" in request.headers.get(hdrs.ACCEPT, "")
        if request.method == hdrs.METH_GET and takes_pages:
            return await super().resolve(request)
        return None, set()
