"""All error messages: a page, a page for each, as Markdown and as JSON."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

from aiohttp import web

from cookbook.messages import CURE, KINDS, Message, cured, read_messages
from cookbook.pages.documents import Document, Negotiated
from cookbook.pages.rendering import render

Respond = Callable[[web.Request], Awaitable[web.Response]]


class ErrorsPages:
    """The page at `/errors`, and one below it for each message.

    `file` has the messages. `respond_to_unknown` answers for all other names.
    """

    def __init__(self, file: Path, respond_to_unknown: Respond) -> None:
        self._file = file
        self._respond_to_unknown = respond_to_unknown
        page = Document(lambda: self._render("errors.html"))
        markdown = Document(lambda: self._render("errors.md"), "text/markdown")
        self._page = Negotiated(page, markdown, "/errors.md")
        self._json = Document(self._dump, "application/json")

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the pages, and of their values for programs."""
        return [
            *self._page.routes("/errors"),
            web.get("/errors.json", self._json.respond),
            web.get("/errors/{name}.md", self.respond_in_markdown),
            web.get("/errors/{name}", self.respond_to_name),
        ]

    async def respond_to_name(self, request: web.Request) -> web.Response:
        """Send the page of a message, with the program that gets it."""
        page = self._pages.get(request.match_info["name"])
        if page is None:
            return await self._respond_to_unknown(request)
        return await page.respond(request)

    async def respond_in_markdown(self, request: web.Request) -> web.Response:
        """Send the same as Markdown."""
        page = self._pages.get(request.match_info["name"])
        if page is None:
            raise web.HTTPNotFound
        return await page.respond_in_markdown(request)

    @cached_property
    def _pages(self) -> dict[str, Negotiated]:
        return {
            message.name: _page_of(message)
            for message in read_messages(self._file)
        }

    def _render(self, template: str) -> str:
        messages = read_messages(self._file)
        groups = {
            kind: [message for message in messages if message.kind == kind]
            for kind in KINDS
        }
        return render(
            template,
            headings=KINDS,
            groups={kind: group for kind, group in groups.items() if group},
            total=len(messages),
        )

    def _dump(self) -> str:
        messages = map(_address, read_messages(self._file))
        return json.dumps(list(messages), ensure_ascii=False, indent=1)


def _page_of(message: Message) -> Negotiated:
    return Negotiated(
        Document(partial(_render_message, "error.html", message)),
        Document(partial(message_in_markdown, message), "text/markdown"),
        f"/errors/{message.name}.md",
    )


def message_in_markdown(message: Message) -> str:
    """Return the page of a message."""
    return _render_message("error.md", message)


def _render_message(template: str, message: Message) -> str:
    return render(
        template,
        message=message,
        cure=CURE,
        has_cure=message.program is not None and bool(cured(message.program)),
    )


def _address(message: Message) -> dict[str, object]:
    return {"address": f"/errors#{message.name}", **asdict(message)}
