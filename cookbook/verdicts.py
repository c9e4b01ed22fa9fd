"""What was measured of the FAQ and of the recipes, release by release."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cell:
    """A verdict on one release, and what was seen."""

    verdict: str
    transcript: list[str]


@dataclass(frozen=True)
class Claim:
    """A sentence of the FAQ, in short, with a cell for each release."""

    name: str
    question: int
    text: str
    cells: dict[str, Cell]

    @property
    def word(self) -> str:
        """The verdict in a word: it holds, is outdated, or never held."""
        verdicts = [cell.verdict for cell in self.cells.values()]
        if verdicts[-1] == "holds":
            return "holds"
        if "holds" not in verdicts:
            return "wrong as printed"
        since = list(self.cells)[_last(verdicts, "holds") + 1]
        return f"outdated since {since}"


@dataclass(frozen=True)
class Verdicts:
    """All that was measured: `recipes` tells what runs on which release."""

    python: str
    versions: dict[str, str]
    claims: list[Claim]
    recipes: dict[str, dict[str, Cell]]
    changes: dict[str, str]

    def of_question(self, number: int) -> list[Claim]:
        """Return the claims of a question of the FAQ, counted from 1."""
        return [each for each in self.claims if each.question == number]

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
    """Read what `make verdicts` has written, and the changes it tried."""
    text = (folder / "results.json").read_text(encoding="utf-8")
    older = (folder / "older.toml").read_text(encoding="utf-8")
    results = json.loads(text)
    changes = {
        module: change["change"]
        for module, change in tomllib.loads(older).items()
    }
    claims = [
        Claim(
            name,
            claim["question"],
            claim["text"],
            {
                release: Cell(cell["verdict"], cell["transcript"])
                for release, cell in claim["releases"].items()
            },
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
    return Verdicts(
        results["python"], results["versions"], claims, recipes, changes
    )


def _last(values: list[str], value: str) -> int:
    return len(values) - 1 - values[::-1].index(value)
