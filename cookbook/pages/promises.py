"""The page /promises: what is promised, what shows it, and what attacks it."""

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from cookbook.pages.documents import Document, Negotiated
from cookbook.pages.rendering import render

AROUND = "cookbook"
"""The group of what holds around every recipe."""


@dataclass(frozen=True)
class Attack:
    """What an attack did at last, and what it found.

    `size` counts units, such as requests, of which `goal` are aimed at. `found`
    are counts, in words.
    """

    name: str
    title: str
    size: int
    goal: int
    unit: str
    seed: int
    seconds: float
    faults: int
    date: str
    commit: str
    promises: list[str]
    found: dict[str, float]

    @property
    def outcome(self) -> str:
        """What was run, and how often a promise was broken, in a few words."""
        run = f"{self.size:,} {self.unit}"
        if self.size < self.goal:
            run += f" of {self.goal:,}"
        if self.faults:
            return f"{run}: broken {self.faults} times"
        return f"{run}: never broken"

    @property
    def minutes(self) -> int:
        """What all that is aimed at would take on the same machine."""
        return round(self.goal * self.seconds / self.size / 60)


@dataclass(frozen=True)
class Promise:
    """A sentence that a test can fail, and who has tried to break it."""

    id: str
    promise: str
    test: str
    attacks: list[Attack] = field(default_factory=list)

    @property
    def test_name(self) -> str:
        """The name of the function."""
        return self.test.partition("::")[2]

    @property
    def page(self) -> str | None:
        """The page of the file that the test is in; the house has none."""
        file, _, _ = self.test.partition("::")
        match = re.fullmatch(r"tests/(production/)?test_(\w+)\.py", file)
        if match is None or not self.id.startswith("R"):
            return None
        return f"/recipes/{match[1] or ''}{match[2]}/tests"


def read_attacks(file: Path) -> list[Attack]:
    """Read what `make attack` has recorded, which need not be there."""
    if not file.exists():
        return []
    results = json.loads(file.read_text(encoding="utf-8"))
    names = Attack.__dataclass_fields__.keys() - {"name"}
    return [
        Attack(name=name, **{key: result[key] for key in names})
        for name, result in results.items()
    ]


def read_promises(
    file: Path, attacks: list[Attack]
) -> dict[str, list[Promise]]:
    """Read the promises, by what they are about."""
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        group: [_read(table, attacks) for table in rows]
        for group, rows in tables.items()
    }


def _read(table: dict[str, Any], attacks: list[Attack]) -> Promise:
    tried = [attack for attack in attacks if table["id"] in attack.promises]
    return Promise(**table, attacks=tried)


class PromisesPage:
    """The page at `/promises`.

    `promises` is the file of the sentences, `results` that of the attacks.
    """

    def __init__(self, promises: Path, results: Path) -> None:
        self._promises = promises
        self._results = results
        page = Document(lambda: self._render("promises.html"))
        markdown = Document(
            lambda: self._render("promises.md"), "text/markdown"
        )
        self._page = Negotiated(page, markdown, "/promises.md")

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the page, and of its Markdown."""
        return self._page.routes("/promises")

    def _render(self, template: str) -> str:
        attacks = read_attacks(self._results)
        return render(
            template,
            groups=read_promises(self._promises, attacks),
            attacks=attacks,
            around=AROUND,
        )
