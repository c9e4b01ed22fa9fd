"""Traps: the wrong ways beside a recipe, each a small program that fails.

A trap is never imported: some fail on import. Its docstring has the form of a
recipe's: what goes wrong, why, and a dialogue that shows it.
"""

import ast
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from cookbook.recipe import Step, read_dialogue

MARK = "# wrong"
"""Ends the line that matters."""

MAX_EXCERPT = 14


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
    """Return the definition that holds the mark, or the lines around it."""
    lines = source.splitlines()
    at = next(n for n, line in enumerate(lines, 1) if line.endswith(MARK))
    for node in ast.parse(source).body:
        first = min([node.lineno, *map(_line, _decorators(node))])
        last = node.end_lineno or first
        if first <= at <= last:
            if last - first >= MAX_EXCERPT:
                first, last = max(first, at - 6), min(last, at + 4)
            return dedent("\n".join(lines[first - 1 : last]))
    raise ValueError(f"{MARK} stands nowhere")


def _decorators(node: ast.stmt) -> list[ast.expr]:
    return getattr(node, "decorator_list", [])


def _line(node: ast.expr) -> int:
    return node.lineno
