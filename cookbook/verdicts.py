"""What was measured of the FAQ and of the recipes, release by release."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

EDITION = "3.14"
FAQ = "https://docs.aiohttp.org/en/v3.14.5/faq.html"
"""The FAQ that the claims speak of: that of the release that runs here."""


@dataclass(frozen=True)
class Cell:
    """A verdict on one release, and what the test printed."""

    verdict: str
    transcript: list[str]


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
        if not self.said:
            answer = "yes" if newest.verdict == "holds" else "no"
            return f"{answer}, since {since}" if since else answer
        if newest.verdict == "holds":
            return f"holds since {since}" if since else "holds"
        if since:
            return f"outdated since {since}"
        return "wrong as printed" if self.printed else "does not hold"

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
class Verdicts:
    """All that was measured: `recipes` tells what runs on which release."""

    python: str
    versions: dict[str, str]
    claims: list[Claim]
    recipes: dict[str, dict[str, Cell]]
    edition: str = EDITION
    faq: str = FAQ

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
            {
                release: Cell(cell["verdict"], cell["transcript"])
                for release, cell in claim["releases"].items()
            },
            claim.get("said", True),
            claim.get("printed", ""),
            claim.get("note", ""),
        )
        for name, claim in results["claims"].items()
    ]
    recipes = {
        module: {
            release: Cell(cell["verdict"], cell.get("transcript", []))
            for release, cell in releases.items()
        }
        for module, releases in results["recipes"].items()
    }
    return Verdicts(results["python"], results["versions"], claims, recipes)
