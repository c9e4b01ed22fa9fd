"""Links that prose has by itself: issues, standards, and names of an API."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

NAMES = Path(__file__).with_name("names.toml")
"""The names that the prose uses, by the page that documents them.

`python -m tests.names` writes it.
"""

REPOSITORIES = {
    "aiohttp": "aio-libs/aiohttp",
    "aiohttp-cors": "aio-libs/aiohttp-cors",
    "aiohttp-session": "aio-libs/aiohttp-session",
    "aiojobs": "aio-libs/aiojobs",
    "aiosqlite": "omnilib/aiosqlite",
    "cpython": "python/cpython",
    "hopeit.engine": "hopeit-git/hopeit.engine",
    "litellm": "BerriAI/litellm",
    "multidict": "aio-libs/multidict",
    "redis-py": "redis/redis-py",
    "uvloop": "MagicStack/uvloop",
    "yarl": "aio-libs/yarl",
}
"""Where the packages have their issues, of which the prose writes `name#1`."""

_REFERENCE = re.compile(
    r"""
    (?<![\w./#-])
    (?:
        (?P<repository>[\w-]+/[\w.-]+|[\w.-]+)[ ]?\#(?P<issue>\d+)
      | RFC\s(?P<rfc>\d+)
        (?:,\s(?=section\s|[\d.]+[).;:])(?:section\s)?(?P<section>\d+(?:\.\d+)*))?
      | PEP\s(?P<pep>\d+)
      | (?P<file>production/\w+\.py)
    )
    (?!\w)
    """,
    re.VERBOSE,
)

_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*(?:(?:\.\w+)+|(?=\())")
"""A name in code that is dotted or called, and no part of another."""


def split_text(text: str) -> Iterator[tuple[str, str | None]]:
    """Return a text in its parts, with the address of each that is a link."""
    end = 0
    for match in _REFERENCE.finditer(text):
        if address := _address_of_reference(match):
            yield text[end : match.start()], None
            yield match[0], address
            end = match.end()
    yield text[end:], None


def address_of_code(code: str) -> str | None:
    """Return where the name that a piece of code is about is documented."""
    names = read_names()
    known = (names[name] for name in names_in_code(code) if name in names)
    return next(known, None)


def names_in_code(code: str) -> list[str]:
    """Return what code may name: the whole, or the first dotted or called."""
    first = _NAME.search(code)
    return [code, first[0]] if first else [code]


@cache
def read_names() -> dict[str, str]:
    """Return the address that documents each name, as the prose writes it."""
    packages = tomllib.loads(NAMES.read_text(encoding="utf-8"))
    return {
        name: f"{package['address']}{page}#{anchor}"
        for package in packages.values()
        for page, names in package["pages"].items()
        for name, anchor in names.items()
    }


def _address_of_reference(match: re.Match[str]) -> str | None:
    if number := match["rfc"]:
        address = f"https://www.rfc-editor.org/rfc/rfc{number}"
        section = match["section"]
        return f"{address}#section-{section}" if section else address
    if number := match["pep"]:
        return f"https://peps.python.org/pep-{number:0>4}/"
    if file := match["file"]:
        return f"/recipes/{file}"
    name = match["repository"]
    repository = name if "/" in name else REPOSITORIES.get(name)
    if repository is None:
        return None
    return f"https://github.com/{repository}/issues/{match['issue']}"
