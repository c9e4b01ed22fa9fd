"""Styles, scripts and the icon: read once, under a path that names them all."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from cookbook.pages.documents import FOREVER, Document

FOLDER = Path(__file__).with_name("static")

MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@cache
def read_assets() -> dict[str, str]:
    """Return the text of each file, by its name."""
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(FOLDER.iterdir())
    }


@cache
def assets_path() -> str:
    """Return where the files are served: a change gives them a new path.

    Scripts import each other by their names: one version for the folder.
    """
    version = sha256("".join(read_assets().values()).encode()).hexdigest()[:12]
    return f"/static/{version}"


def asset_routes() -> list[web.RouteDef]:
    """Return a route for each file; a browser keeps what it has got."""
    return [
        web.get(f"{assets_path()}/{name}", _document_of(name).respond)
        for name in read_assets()
    ]


def _document_of(name: str) -> Document:
    return Document(
        lambda: read_assets()[name], MEDIA_TYPES[Path(name).suffix], FOREVER
    )
