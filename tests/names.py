"""Writes cookbook/pages/names.toml: which page documents a name of the prose.

    python -m tests.names FOLDER

The folder has the index of each documentation, `<package>.inv`, as Sphinx makes
it: `objects.inv`, published beside the pages. From a checkout, it is made by

    sphinx-build -C -D extensions=sphinx.ext.autodoc docs OUT

Only names that the prose uses are written, and only where one page is meant.
"""

import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from app import COOKBOOK, PRODUCTION
from cookbook.differences import read_patch
from cookbook.messages import read_messages
from cookbook.pages.references import NAMES, names_in_code
from cookbook.pages.site import VERDICTS
from cookbook.recipe import Recipe
from cookbook.verdicts import FAQ, read_verdicts
from tests.servers import ROOT

Table = dict[str, dict[str, dict[str, str]]]

ADDRESSES = {
    "aiohttp": FAQ.removesuffix("faq.html"),
    "aiohttp-session": "https://aiohttp-session.readthedocs.io/en/stable/",
    "aiojobs": "https://aiojobs.readthedocs.io/en/stable/",
    "aiosqlite": "https://aiosqlite.omnilib.dev/en/stable/",
    "python": "https://docs.python.org/3/",
    "redis": "https://redis.readthedocs.io/en/stable/",
}
"""Where the documentation of each package begins, in the edition of the FAQ."""

MODULES = {"web": "aiohttp.web", "redis": "redis.asyncio.client"}
"""Modules under the name that the recipes import them by."""

INSTANCES = {
    "app": ["aiohttp.web.Application"],
    "client": ["redis.asyncio.client.Redis"],
    "connector": ["aiohttp.BaseConnector", "aiohttp.TCPConnector"],
    "error": ["aiohttp.ClientResponseError", "aiohttp.ClientConnectorError"],
    "loop": ["asyncio.loop"],
    "message": ["aiohttp.WSMessage"],
    "pubsub": ["redis.asyncio.client.PubSub"],
    "request": ["aiohttp.web.Request", "aiohttp.web.BaseRequest"],
    "response": [
        "aiohttp.ClientResponse",
        "aiohttp.web.StreamResponse",
        "aiohttp.web.Response",
    ],
    "routes": ["aiohttp.web.RouteTableDef"],
    "runner": ["aiohttp.web.BaseRunner", "aiohttp.web.AppRunner"],
    "session": ["aiohttp.ClientSession", "aiohttp_session.Session"],
    "task": ["asyncio.Task"],
    "ws": ["aiohttp.web.WebSocketResponse", "aiohttp.ClientWebSocketResponse"],
}
"""What the prose calls a value, and the classes that it may be of.

A member that two of them document is not linked.
"""

CLASSES = [
    "aiohttp",
    "aiohttp.web",
    "asyncio",
    "redis.asyncio.client",
    "redis.asyncio.connection",
    "redis.asyncio.retry",
    "redis.backoff",
    "redis.retry",
    "aiohttp_session",
    "aiohttp_session.cookie_storage",
    "aiohttp_session.redis_storage",
]
"""Modules whose classes the prose names alone.

A class that two of them document is not linked.
"""

_RESPONSE = "aiohttp.web.StreamResponse"

METHODS = {
    "add_routes": "aiohttp.web.Application.add_routes",
    "add_static": "aiohttp.web.UrlDispatcher.add_static",
    "add_subapp": "aiohttp.web.Application.add_subapp",
    "app.cleanup_ctx.append": "aiohttp.web.Application.cleanup_ctx",
    "catch_warnings": "warnings.catch_warnings",
    "enable_chunked_encoding": f"{_RESPONSE}.enable_chunked_encoding",
    "enable_compression": f"{_RESPONSE}.enable_compression",
    "gather": "asyncio.gather",
    "get_session": "aiohttp_session.get_session",
    "on_response_prepare": "aiohttp.web.Application.on_response_prepare",
    "redis.asyncio.Redis": "redis.asyncio.client.Redis",
    "run_app": "aiohttp.web.run_app",
    "run_in_executor": "asyncio.loop.run_in_executor",
    "run_until_complete": "asyncio.loop.run_until_complete",
    "write_eof": f"{_RESPONSE}.write_eof",
}
"""What the prose names alone besides, and means one thing by."""

UNLINKED = {
    "Connection",  # a header, and a class of the client
    "TimeoutError",  # Python's own, and asyncio's of old
    "WindowsSelectorEventLoopPolicy",  # where nobody tests that it is there
    "session.get",  # of the client's session, and of a visitor's
}
"""Names that have no page of their own, or two."""


def read_inventory(file: Path) -> dict[str, str]:
    """Return the page of each documented name of Python, whose anchor it is."""
    # Four lines tell what it is, the rest is compressed.
    *_, packed = file.read_bytes().split(b"\n", 4)
    lines = zlib.decompress(packed).decode().splitlines()
    entry = re.compile(r"(\S+) py:\S+ 1 (\S+)#\$ ")
    matches = (entry.match(line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def names_of_prose() -> set[str]:
    """Return what stands in backticks anywhere and may name an API."""
    codes = re.findall(r"`([^`]+)`", "\n".join(prose()))
    return {name for code in codes for name in names_in_code(code)}


def prose() -> Iterator[str]:
    """Return all that the pages show as Markdown."""
    for recipe in [*COOKBOOK, *PRODUCTION]:
        yield from _prose_of(recipe)
    for message in read_messages(ROOT / "recipes" / "messages.toml"):
        for cause in message.causes:
            yield from (cause.why, cause.cure)
        yield message.without or ""
    for claim in read_verdicts(VERDICTS).claims:
        yield claim.note


def _prose_of(recipe: Recipe) -> Iterator[str]:
    for docs in [recipe.docs, *(trap.docs for trap in recipe.traps)]:
        yield from (docs.title, docs.text, docs.details)
    if recipe.patch_for_4_0.exists():
        yield read_patch(recipe.patch_for_4_0.read_text("utf-8"))[0]
    if recipe.note_on_4_0.exists():
        yield recipe.note_on_4_0.read_text("utf-8")


def documented(name: str, known: Iterable[str]) -> str | None:
    """Return what a documentation calls a name of the prose, if one page does.

    `known` are all documented names.
    """
    if name in UNLINKED:
        return None
    if name in METHODS:
        return METHODS[name] if METHODS[name] in known else None
    first, _, rest = name.partition(".")
    if first in INSTANCES and rest:
        return _only_one(INSTANCES[first], rest, known)
    if rest:
        wholes = [name, f"{MODULES.get(first)}.{rest}"]
        wholes += [f"{module}.{name}" for module in CLASSES]
        return next((whole for whole in wholes if whole in known), None)
    return _only_one(CLASSES, name, known) if name[:1].isupper() else None


def _only_one(
    owners: Iterable[str], name: str, known: Iterable[str]
) -> str | None:
    wholes = [f"{owner}.{name}" for owner in owners]
    found = [whole for whole in wholes if whole in known]
    return found[0] if len(found) == 1 else None


def find_names(inventories: dict[str, dict[str, str]]) -> Table:
    """Return the documented names of the prose: package, page, name, anchor."""
    known = {
        whole: (package, page)
        for package, inventory in inventories.items()
        for whole, page in inventory.items()
    }
    table: Table = {}
    for name in sorted(names_of_prose()):
        if whole := documented(name, known):
            package, page = known[whole]
            table.setdefault(package, {}).setdefault(page, {})[name] = whole
    return table


def format_table(table: Table) -> str:
    """Return the names as TOML, sorted."""
    lines = ["# Written by `python -m tests.names`."]
    for package, pages in sorted(table.items()):
        lines += ["", f"[{package}]", f'address = "{ADDRESSES[package]}"']
        for page, names in sorted(pages.items()):
            lines += ["", f'[{package}.pages."{page}"]']
            lines += [f'"{name}" = "{whole}"' for name, whole in names.items()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = {
        package: read_inventory(folder / f"{package}.inv")
        for package in ADDRESSES
    }
    NAMES.write_text(format_table(find_names(found)), encoding="utf-8")
