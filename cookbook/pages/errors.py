"""All error messages, as a page, as Markdown and as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

from cookbook.messages import KINDS, Message, read_messages
from cookbook.pages.documents import Document, Negotiated
from cookbook.pages.rendering import render


class ErrorsPage:
    """The page at `/errors`; `file` has the messages."""

    def __init__(self, file: Path) -> None:
        self._file = file
        page = Document(lambda: self._render("errors.html"))
        markdown = Document(lambda: self._render("errors.md"), "text/markdown")
        self._page = Negotiated(page, markdown, "/errors.md")
        self._json = Document(self._dump, "application/json")

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the page, and of its values for programs."""
        return [
            *self._page.routes("/errors"),
            web.get("/errors.json", self._json.respond),
        ]

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


def _address(message: Message) -> dict[str, object]:
    return {"address": f"/errors#{message.name}", **asdict(message)}
