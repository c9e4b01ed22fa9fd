"""Markdown, Python and differences, in HTML."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from itertools import groupby, takewhile
from operator import itemgetter
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup

from cookbook.differences import Hunk
from cookbook.pages.references import address_of_code, split_text
from cookbook.source import Part, read_parts

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token
    from pygments.lexer import Lexer

UNLINKED = "unlinked"
"""Tells Markdown to leave what the text names without a link."""

LINE_LINK = (
    '<a href="#L-{0}" data-line="{0}" tabindex="-1" aria-hidden="true"></a>'
)
"""The number of a line. It is for the mouse: 200 more stops help nobody."""

LINES_OF_A_BLOCK = 50
"""Lines of a long source; `style.css` knows how high so many are."""

COLOURS = {
    "k": "k kn kc kd ow",
    "s": "s s1 s2 sa sb sd se si sr",
    "c": "c c1 ch",
    "n": "nf nc fm nd",
    "m": "mi mf mh",
}
"""The colours of `style.css`, and what Pygments calls the tokens of each."""

COLOUR_OF = {
    name: colour for colour, names in COLOURS.items() for name in names.split()
}


@cache
def _markdown() -> "MarkdownIt":
    # Imported with the first page, as Pygments is: neither delays the start.
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False})
    markdown.core.ruler.push("references", _link_references)
    return markdown


def block(text: str) -> Markup:
    """Return paragraphs of Markdown in HTML."""
    return Markup(_markdown().render(text))  # noqa: S704 - made by Markdown


def inline(text: str) -> Markup:
    """Return a line of Markdown in HTML."""
    return Markup(_markdown().renderInline(text))  # noqa: S704 - made by Markdown


def unlinked(text: str) -> Markup:
    """Return a line of Markdown in HTML without links of its own: a title."""
    html = _markdown().renderInline(text, {UNLINKED: True})
    return Markup(html)  # noqa: S704 - made by Markdown


def fenced(text: str, language: str) -> str:
    """Return a text as a block of code in Markdown."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = text.removesuffix("\n")
    return f"{fence}{language}\n{lines}\n{fence}"


def links_in(text: str) -> dict[str, str]:
    """Return the links of a Markdown text: what is linked, and its address."""
    links = {}
    for paragraph in _markdown().parse(text):
        tokens = iter(paragraph.children or ())
        for token in tokens:
            if token.type == "link_open":
                label = takewhile(
                    lambda each: each.type != "link_close", tokens
                )
                words = "".join(map(_text_of, label)).split()
                links[" ".join(words)] = str(token.attrs["href"])
    return links


def _link_references(state: "StateCore") -> None:
    if UNLINKED in state.env:
        return
    for token in state.tokens:
        if token.children:
            token.children = list(_with_references(token.children))


def _with_references(tokens: Sequence["Token"]) -> Iterator["Token"]:
    """Return the tokens of a paragraph, with links around what they name.

    What stands in a link already is left as it is.
    """
    depth = 0
    for is_text, group in groupby(tokens, _is_text):
        if is_text:
            # As one: a reference may be broken over two lines.
            text = "".join(map(_text_of, group))
            parts = [(text, None)] if depth else split_text(text)
            for part, address in parts:
                yield from _linked(_new_token("text", "", 0, part), address)
            continue
        for token in group:
            if token.type in {"link_open", "link_close"}:
                depth += token.nesting
            is_name = token.type == "code_inline" and not depth
            address = address_of_code(token.content) if is_name else None
            yield from _linked(token, address)


def _linked(token: "Token", address: str | None) -> list["Token"]:
    if address is None:
        return [token]
    opening = _new_token("link_open", "a", 1)
    opening.attrs["href"] = address
    return [opening, token, _new_token("link_close", "a", -1)]


def _is_text(token: "Token") -> bool:
    return token.type in {"text", "softbreak"}


def _text_of(token: "Token") -> str:
    return "\n" if token.type == "softbreak" else token.content


def _new_token(
    kind: str, tag: str, nesting: Literal[-1, 0, 1], content: str = ""
) -> "Token":
    from markdown_it.token import Token

    return Token(kind, tag, nesting, content=content)


def highlighted(source: str) -> Markup:
    """Return Python source in HTML; its text is the source, byte for byte.

    Each line is a `span` with the id `L-` and its number. They stand in blocks:
    a browser lays out those that are near the screen.
    """
    lines = _highlighted_lines(source)
    blocks = [
        Markup("<pre><code>{}</code></pre>").format(
            _numbered(lines[at : at + LINES_OF_A_BLOCK], at + 1)
        )
        for at in range(0, len(lines), LINES_OF_A_BLOCK)
    ]
    return Markup("").join(blocks)


def folded(source: str) -> Markup:
    """Return the source as `highlighted` does, folded but for the answer.

    A summary has no text: the text of the whole is the source.
    """
    lines = _highlighted_lines(source)
    shown = []
    for part in read_parts(source):
        text = _numbered(lines[part.first - 1 : part.last], part.first)
        block = Markup("<pre><code>{}</code></pre>").format(text)
        if part.names is not None:
            fold = Markup(
                '<details><summary aria-label="{}"></summary>{}</details>'
            )
            block = fold.format(_label(part), block)
        shown.append(block)
    return Markup("").join(shown)


def _label(part: Part) -> str:
    label = f"Lines {part.first} to {part.last}"
    return f"{label}: {part.names}" if part.names else label


def code(source: str) -> Markup:
    """Return a few lines of Python in HTML."""
    text = "\n".join(_highlighted_lines(f"{source}\n"))
    return Markup(text)  # noqa: S704 - Pygments escapes


def _numbered(lines: list[str], first: int) -> Markup:
    spans = [
        f'<span id="L-{number}">{LINE_LINK.format(number)}{line}</span>\n'
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


def side(lines: list[str]) -> Markup:
    """Return a side of a hunk in HTML, with what the other lacks marked."""
    source = "".join(f"{line[1:]}\n" for line in lines)
    shown = [
        f"{text}\n" if line[0] == " " else f"<mark>{text}</mark>\n"
        for line, text in zip(lines, _highlighted_lines(source), strict=True)
    ]
    return Markup("".join(shown))  # noqa: S704 - Pygments escapes


@cache
def _highlighted_lines(source: str) -> list[str]:
    """Return the lines of a source that ends in a newline.

    Pygments takes most of a page, and a source never changes.
    """
    html = "".join(
        _coloured(colour, "".join(text for _, text in group))
        for colour, group in groupby(_tokens_of(source), itemgetter(0))
    )
    return html.removesuffix("\n").split("\n")


def _tokens_of(source: str) -> Iterator[tuple[str, str]]:
    """Return the colour of each token, and its text.

    A blank has the colour of what stands before it: neighbours of one colour
    become one element, of which a page would have thousands more.
    """
    from pygments.token import STANDARD_TYPES

    colour = ""
    for kind, text in _lexer().get_tokens(source):
        if not text.isspace():
            colour = COLOUR_OF.get(STANDARD_TYPES[kind], "")
        yield colour, text


def _coloured(colour: str, text: str) -> str:
    """Return a text in HTML, with an element in each line that has ink."""
    lines = escape(text, quote=False).split("\n")
    return "\n".join(
        f'<span class="{colour}">{line}</span>'
        if colour and line.strip()
        else line
        for line in lines
    )


@cache
def _lexer() -> "Lexer":
    from pygments.lexers.python import PythonLexer

    return PythonLexer(stripnl=False, ensurenl=False)
