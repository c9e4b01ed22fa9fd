"""Names the code blocks of a checkout's documentation that do not compile."""

import argparse
import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

# What Sphinx shows as Python, and what a reader takes for it.
BEGINS = re.compile(r"\s*+(?:\.\. code(?:-block)?:: *python3?$|(?!\.\. ).*::$)")
PYTHON = re.compile(
    r"^ *(?:(?:async|await|def|import|with|assert) |try:|app\.|from \w+ i)",
    re.MULTILINE,
)


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield each block with the number of its first line."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if not BEGINS.match(line):
            continue
        indent = len(line) - len(line.lstrip())
        end = start + 1
        while end < len(lines) and (
            not lines[end].strip()
            or len(lines[end]) - len(lines[end].lstrip()) > indent
        ):
            end += 1
        # The lines above it are kept as empty ones, for their numbers.
        block = textwrap.dedent("\n".join(lines[start + 1 : end]))
        options = re.compile(r"^:\w+:.*$", re.MULTILINE)
        yield start + 1, options.sub("", block)


def mistake(block: str) -> SyntaxError | None:
    """Return why a block compiles neither alone nor as part of a coroutine."""
    inside = "async def part():\n" + textwrap.indent(block, " ") + "\n pass"
    try:
        compile(inside, "block", "exec")
    except SyntaxError:
        try:
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            compile(block, "block", "exec", flags)
        except SyntaxError as error:
            return error
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkout", type=Path, required=True)
    checkout = parser.parse_args().checkout
    for file in sorted((checkout / "docs").glob("*.rst")):
        for above, block in blocks(file.read_text(encoding="utf-8")):
            error = mistake(block) if PYTHON.search(block) else None
            if error and error.lineno:
                place = f"{file.relative_to(checkout)}:{above + error.lineno}"
                print(f"{place}: {error.msg}")


main()
