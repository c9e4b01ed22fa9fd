"""What was measured of the FAQ and of the recipes, release by release."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BRANCHES = ("3.15", "master")
"""Upstream's branches that the board has a column for, oldest first."""

EDITION = "3.14"
NEXT_EDITION = "3.15"
NEXT_QUESTIONS = {16: "How do I enable Kernel TLS, and should I do it?"}
"""What that edition asks besides; nothing is released of it."""

FAQ = "https://docs.aiohttp.org/en/v3.14.5/faq.html"
"""The FAQ that the claims speak of: that of the release that runs here."""


@dataclass(frozen=True)
class Cell:
    """A verdict on one release, and what the test printed."""

    verdict: str
    transcript: list[str]


NOT_MEASURED = Cell("not measured here", [])


@dataclass(frozen=True)
class Claim:
    """A claim of the FAQ in our words, with a cell for each release.

    `printed` quotes the FAQ, and `note` says what other editions print. The
    FAQ does not say it where `said` is false.
    """

    name: str
    question: int
    text: str
    cells: dict[str, Cell]
    said: bool = True
    printed: str = ""
    note: str = ""

    @property
    def word(self) -> str:
        """The verdict in a word. Only what the FAQ says can be wrong."""
        newest = list(self.cells.values())[-1]
        since = self._since()
        if newest.verdict == "not there yet":
            return newest.verdict
        if not self.said:
            answer = "yes" if newest.verdict == "holds" else "no"
            return f"{answer}, since {since}" if since else answer
        if newest.verdict == "holds":
            return f"holds since {since}" if since else "holds"
        if since:
            return f"outdated since {since}"
        return "wrong as printed" if self.printed else "does not hold"

    @property
    def edition(self) -> str:
        """The edition of the FAQ that has the question."""
        return NEXT_EDITION if self.question in NEXT_QUESTIONS else EDITION

    def word_of(self, cell: Cell) -> str:
        """Return a verdict in a word: yes or no, if the FAQ does not say it."""
        if self.said:
            return cell.verdict
        return {"holds": "yes", "fails": "no"}.get(cell.verdict, cell.verdict)

    def _since(self) -> str:
        """Return the release from which on the claim holds, or no longer does.

        The empty string says that it was never different.
        """
        holds = [cell.verdict == "holds" for cell in self.cells.values()]
        since = ""
        for release, before, now in zip(
            list(self.cells)[1:], holds, holds[1:], strict=False
        ):
            if before != now:
                since = release
        return since


@dataclass(frozen=True)
class Column:
    """What was seen on one aiohttp: its cells, by claim and by recipe.

    `version` is that of a release, or a branch of upstream and its commit. It
    is empty where a branch was not measured. `patched` are the recipes with
    their patch for 4.0.
    """

    name: str
    version: str
    claims: dict[str, Cell]
    recipes: dict[str, Cell]
    patched: dict[str, Cell] = field(default_factory=dict)

    def of_claim(self, claim: Claim) -> Cell:
        """Return what was seen of a claim."""
        return self.claims.get(claim.name, NOT_MEASURED)

    def of_recipe(self, module: str) -> Cell:
        """Return what was seen of a recipe."""
        return self.recipes.get(module, NOT_MEASURED)


@dataclass(frozen=True)
class Verdicts:
    """All that was measured: `recipes` tells what runs on which release.

    `branches` are what upstream works on. They count in no word and no sum.
    """

    python: str
    versions: dict[str, str]
    claims: list[Claim]
    recipes: dict[str, dict[str, Cell]]
    branches: dict[str, Column] = field(default_factory=dict)
    edition: str = EDITION
    faq: str = FAQ
    next_edition: str = NEXT_EDITION

    @property
    def next_questions(self) -> dict[int, str]:
        """What the next edition of the FAQ asks besides, by its number."""
        return NEXT_QUESTIONS

    @property
    def columns(self) -> dict[str, Column]:
        """The releases and, after them, the branches of upstream."""
        releases = {
            name: Column(
                name,
                version,
                {claim.name: claim.cells[name] for claim in self.claims},
                {module: of[name] for module, of in self.recipes.items()},
            )
            for name, version in self.versions.items()
        }
        return releases | self.branches

    def of_question(self, number: int) -> list[Claim]:
        """Return what the FAQ claims under a question, counted from 1."""
        return [
            each
            for each in self.claims
            if each.question == number and each.said
        ]

    def beyond_question(self, number: int) -> list[Claim]:
        """Return what the FAQ does not say under a question, and was asked."""
        return [
            each
            for each in self.claims
            if each.question == number and not each.said
        ]

    def address_of(self, question: str) -> str:
        """Return the address of a question in the FAQ."""
        words = re.sub("[^a-z0-9]+", "-", question.lower())
        return f"{self.faq}#{words.strip('-')}"

    def runs_from(self, module: str, *verdicts: str) -> str:
        """Return the release from which on a recipe has one of the verdicts.

        The empty string says that it has none on the newest.
        """
        first = ""
        for release, cell in self.recipes.get(module, {}).items():
            if cell.verdict not in verdicts:
                first = ""
            elif not first:
                first = release
        return first


def read_verdicts(folder: Path) -> Verdicts:
    """Read what `make verdicts` has written."""
    text = (folder / "results.json").read_text(encoding="utf-8")
    results = json.loads(text)
    claims = [
        Claim(
            name,
            claim["question"],
            claim["text"],
            _read_cells(claim["releases"]),
            claim.get("said", True),
            claim.get("printed", ""),
            claim.get("note", ""),
        )
        for name, claim in results["claims"].items()
    ]
    recipes = {
        module: _read_cells(releases)
        for module, releases in results["recipes"].items()
    }
    columns = results.get("branches", {})
    return Verdicts(
        results["python"],
        results["versions"],
        claims,
        recipes,
        {name: _read_branch(name, columns.get(name, {})) for name in BRANCHES},
    )


def _read_branch(name: str, column: dict[str, Any]) -> Column:
    return Column(
        name,
        f"{name} at {column['commit'][:12]}" if column else "",
        _read_cells(column.get("claims", {})),
        _read_cells(column.get("recipes", {})),
        _read_cells(column.get("patched", {})),
    )


def _read_cells(cells: dict[str, Any]) -> dict[str, Cell]:
    return {
        name: Cell(cell["verdict"], cell.get("transcript", []))
        for name, cell in cells.items()
    }
