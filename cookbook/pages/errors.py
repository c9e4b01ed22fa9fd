"""All error messages, as a page and as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

from cookbook.messages import KINDS, Message, read_messages
from cookbook.pages.documents import Document
from cookbook.pages.rendering import render


class ErrorsPage:
    """The page at `/errors`; `file` has the messages."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._page = Document(self._render)
        self._json = Document(self._dump, "application/json")

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the page, and of its values for programs."""
        return [
            web.get("/errors", self._page.respond),
            web.get("/errors.json", self._json.respond),
        ]

    def _render(self) -> str:
        messages = read_messages(self._file)
        groups = {
            kind: [message for message in messages if message.kind == kind]
            for kind in KINDS
        }
        return render(
            "errors.html",
            headings=KINDS,
            groups={kind: group for kind, group in groups.items() if group},
            total=len(messages),
        )

    def _dump(self) -> str:
        messages = map(_address, read_messages(self._file))
        return json.dumps(list(messages), ensure_ascii=False, indent=1)


def _address(message: Message) -> dict[str, object]:
    return {"address": f"/errors#{message.name}", **asdict(message)}
