"""Traps: the wrong ways beside a recipe, each a small program that fails.

A trap is never imported: some fail on import. Its docstring has the form of a
recipe's: what goes wrong, why, and a dialogue that shows it.
"""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from cookbook.recipe import Step, answer, dialogue, question

MARK = "# wrong"
"""Ends the line that matters."""


@dataclass(frozen=True)
class Trap:
    """A wrong way: `excerpt` are the lines around the mistake."""

    file: Path
    title: str
    why: str
    dialogue: list[Step]
    excerpt: str

    @property
    def name(self) -> str:
        """What goes wrong, in the words of the file's name."""
        return self.file.stem


@cache
def traps_of(recipe: Path) -> list[Trap]:
    """Read the traps of a recipe, given its file."""
    folder = recipe.parent / "traps" / recipe.stem
    return [_read(file) for file in sorted(folder.glob("*.py"))]


def _read(file: Path) -> Trap:
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    told = ModuleType(file.stem, ast.get_docstring(tree))
    return Trap(
        file,
        question(told),
        answer(told),
        dialogue(told),
        _excerpt(source.splitlines(), tree),
    )


def _excerpt(lines: list[str], tree: ast.Module) -> str:
    """Return the definition, or the line, that holds the mark."""
    at = next(n for n, line in enumerate(lines, 1) if line.endswith(MARK))
    first, last = next(
        (first, last)
        for first, last in map(_span, tree.body)
        if first <= at <= last
    )
    return "\n".join(lines[first - 1 : last])


def _span(node: ast.stmt) -> tuple[int, int]:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(each.lineno for each in decorators)])
    return first, node.end_lineno or first
