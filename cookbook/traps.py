"""Traps: the wrong ways beside a recipe, each a small program that fails.

A trap is never imported: some fail on import. Its docstring has the form of a
recipe's: what goes wrong, why, and a dialogue that shows it.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

from cookbook.recipe import Step, read_dialogue

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


def traps_of(recipe: Path) -> list[Trap]:
    """Read the traps of a recipe, given its file."""
    folder = recipe.parent / "traps" / recipe.stem
    return [_read(file) for file in sorted(folder.glob("*.py"))]


def _read(file: Path) -> Trap:
    source = file.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    head, _, _ = docstring.partition("\nTry it::\n")
    title, _, why = head.partition("\n")
    return Trap(
        file, title, why.strip(), read_dialogue(docstring), _excerpt(source)
    )


def _excerpt(source: str) -> str:
    """Return the definition, or the line, that holds the mark."""
    lines = source.splitlines()
    at = next(n for n, line in enumerate(lines, 1) if line.endswith(MARK))
    first, last = next(
        (first, last)
        for first, last in map(_span, ast.parse(source).body)
        if first <= at <= last
    )
    return "\n".join(lines[first - 1 : last])


def _span(node: ast.stmt) -> tuple[int, int]:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(each.lineno for each in decorators)])
    return first, node.end_lineno or first
