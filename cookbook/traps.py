"""Traps: the wrong ways beside a recipe, each a small program that fails.

A trap is its recipe with one mistake in it. It is never imported: some fail on
import. Its docstring has the form of a recipe's: what goes wrong, why, and a
dialogue that shows it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cookbook.differences import Hunk, count_lines, differences
from cookbook.recipe import Step, answer, dialogue, documented, question


@dataclass(frozen=True)
class Trap:
    """A wrong way: `hunks` are what it changes in its `pair`.

    The pair is the answer, or the production file where the trap is closer to
    that one.
    """

    file: Path
    title: str
    why: str
    dialogue: list[Step]
    pair: Path
    hunks: list[Hunk]

    @property
    def name(self) -> str:
        """What goes wrong, in the words of the file's name."""
        return self.file.stem


def trap_files(recipe: Path) -> list[Path]:
    """Return the files of a recipe's traps, given the file of its answer."""
    folder = recipe.parent / "traps" / recipe.stem
    return sorted(folder.glob("*.py"))


@cache
def traps_of(recipe: Path) -> list[Trap]:
    """Read the traps of a recipe, given the file of its answer."""
    pairs = [recipe, recipe.parent / "production" / recipe.name]
    pairs = [pair for pair in pairs if pair.exists()]
    return [_read(file, pairs) for file in trap_files(recipe)]


def _read(file: Path, pairs: list[Path]) -> Trap:
    source = file.read_text(encoding="utf-8")
    told = documented(source)
    hunks, pair = min(
        (
            (differences(pair.read_text(encoding="utf-8"), source), pair)
            for pair in pairs
        ),
        key=lambda found: count_lines(found[0]),
    )
    return Trap(file, question(told), answer(told), dialogue(told), pair, hunks)
