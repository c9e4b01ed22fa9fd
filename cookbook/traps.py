"""Traps: the wrong ways beside a recipe, each a small program that fails.

A trap is its recipe with one mistake in it. It is never imported: some fail on
import. Its docstring has the form of a recipe's: what goes wrong, why, and a
dialogue that shows it.
"""

from dataclasses import dataclass
from pathlib import Path

from cookbook.differences import Hunk, count_lines, differences
from cookbook.docs import Docs


@dataclass(frozen=True)
class Trap:
    """A wrong way: `hunks` are what it changes in its `pair`.

    The pair is the answer, or the production file where the trap is closer to
    that one.
    """

    file: Path
    docs: Docs
    pair: Path
    hunks: list[Hunk]

    @property
    def name(self) -> str:
        """What goes wrong, in the words of the file's name."""
        return self.file.stem


def read_traps(folder: Path, pairs: list[Path]) -> list[Trap]:
    """Read the traps in a folder, which need not exist, by their names."""
    return [_read(file, pairs) for file in sorted(folder.glob("*.py"))]


def _read(file: Path, pairs: list[Path]) -> Trap:
    source = file.read_text(encoding="utf-8")
    hunks, pair = min(
        (
            (differences(pair.read_text(encoding="utf-8"), source), pair)
            for pair in pairs
        ),
        key=lambda found: count_lines(found[0]),
    )
    return Trap(file, Docs.of_source(source), pair, hunks)
