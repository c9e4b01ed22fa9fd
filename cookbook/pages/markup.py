"""Markdown, Python and differences, in HTML."""

import ast
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from cookbook.differences import Hunk

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


@cache
def _markdown() -> "MarkdownIt":
    # Imported with the first page, as Pygments is: neither delays the start.
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False})


def block(text: str) -> Markup:
    """Return paragraphs of Markdown in HTML."""
    return Markup(_markdown().render(text))  # noqa: S704 - made by Markdown


def inline(text: str) -> Markup:
    """Return a line of Markdown in HTML."""
    return Markup(_markdown().renderInline(text))  # noqa: S704 - made by Markdown


def highlighted(source: str) -> Markup:
    """Return Python source in HTML; its text is the source, byte for byte.

    Each line is a `span` with the id `L-` and its number.
    """
    return _numbered(_highlighted_lines(source), 1)


def folded(source: str) -> Markup:
    """Return a recipe's source as `highlighted` does, the beginning folded.

    The beginning is the header, the docstring and the imports.
    """
    lines = _highlighted_lines(source)
    last = 0
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Expr | ast.Import | ast.ImportFrom):
            break
        last = node.end_lineno or last
    beginning = _numbered(lines[:last], 1)
    rest = _numbered(lines[last:], last + 1)
    return Markup(
        '<details><summary aria-label="Docstring and imports"></summary>'
        "<pre><code>{}</code></pre></details><pre><code>{}</code></pre>"
    ).format(beginning, rest)


def code(source: str) -> Markup:
    """Return a few lines of Python in HTML."""
    text = "\n".join(_highlighted_lines(f"{source}\n"))
    return Markup(text)  # noqa: S704 - Pygments escapes


def _numbered(lines: list[str], first: int) -> Markup:
    spans = [
        f'<span id="L-{number}" data-line="{number}">{line}</span>\n'
        for number, line in enumerate(lines, first)
    ]
    return Markup("".join(spans))  # noqa: S704 - Pygments escapes


def difference(hunk: Hunk) -> Markup:
    """Return a hunk in HTML, with what it adds and removes marked."""
    marks = {" ": "{}", "-": "<del>{}</del>", "+": "<ins>{}</ins>"}
    source = "".join(f"{line[1:]}\n" for line in hunk.lines)
    lines = [
        marks[line[0]].format(f"{line[0]} {shown}")
        for line, shown in zip(
            hunk.lines, _highlighted_lines(source), strict=True
        )
    ]
    return Markup("\n".join(lines))  # noqa: S704 - Pygments escapes


@cache
def _highlighted_lines(source: str) -> list[str]:
    """Return the lines of a source that ends in a newline.

    Pygments takes most of a page, and a source never changes.
    """
    text = _highlighter()(source)
    return text.removesuffix("\n").split("\n")


@cache
def _highlighter() -> Callable[[str], str]:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers.python import PythonLexer

    lexer = PythonLexer(stripnl=False, ensurenl=False)
    formatter = HtmlFormatter(nowrap=True)
    return lambda source: str(highlight(source, lexer, formatter))
