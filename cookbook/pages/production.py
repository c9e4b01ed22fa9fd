"""The page on the cluster: its parts, what is lost with each, how it grows."""

from pathlib import Path

from aiohttp import web

from cookbook.pages import growth
from cookbook.pages.documents import Document, Negotiated
from cookbook.pages.drawing import draw
from cookbook.pages.parts import read_parts
from cookbook.pages.rendering import render


class ProductionPage:
    """The page at `/production`.

    `parts` is the file of the cluster's parts, and `results` that of what the
    benchmarks have measured, which need not be there.
    """

    def __init__(self, parts: Path, results: Path) -> None:
        self._parts = parts
        self._results = results
        page = Document(lambda: self._render("cluster.html"))
        markdown = Document(lambda: self._render("cluster.md"), "text/markdown")
        self._page = Negotiated(page, markdown, "/production.md")

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the page, and of its Markdown."""
        return self._page.routes("/production")

    def _render(self, template: str) -> str:
        parts = read_parts(self._parts)
        measured = growth.read_growth(self._results)
        return render(
            template,
            parts=parts,
            drawing=draw(parts),
            measured=measured,
            growth=growth,
        )
