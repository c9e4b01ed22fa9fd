"""What a page shows, read from a recipe, its application and its tests."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web
from aiohttp.abc import AbstractView
from markdown_it import MarkdownIt
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers.python import PythonLexer

from cookbook.differences import Hunk, differences
from cookbook.docs import Docs, Step
from cookbook.messages import Message, read_messages
from cookbook.pages.curl import CurlOnlyError, Line, read_line
from cookbook.recipe import Recipe
from cookbook.source import Header, read_answer, read_header
from cookbook.traps import Trap

_markdown = MarkdownIt("commonmark", {"html": False})


@dataclass(frozen=True)
class Endpoint:
    """What a mounted recipe answers: methods, whole path, and its docstring."""

    methods: str
    path: str
    description: str
    is_websocket: bool


@dataclass(frozen=True)
class Play:
    """A step of the dialogue; `curl_only` says why a browser cannot take it."""

    step: Step
    line: Line | None
    curl_only: str


@dataclass(frozen=True)
class Test:
    """A test as a sentence, and the line that it begins at."""

    sentence: str
    line: int


@dataclass(frozen=True)
class Production:
    """The file for production, and what it changes in the answer."""

    prefix: str
    summary: Markup
    details: Markup
    hunks: list[Hunk]
    tests: list[Test]


@dataclass(frozen=True)
class Content:
    """A recipe as its page shows it; `broken` says why it is not served."""

    number: int
    module: str
    prefix: str
    question: str
    summary: Markup
    answer: Markup
    details: Markup
    plays: list[Play]
    endpoints: list[Endpoint]
    symptoms: dict[str, Markup]
    header: Header
    answer_lines: list[str]
    source: str
    starter_test: str | None
    tests: list[Test]
    production: Production | None
    traps: list[Trap]
    broken: str | None

    @property
    def has_tickets(self) -> bool:
        """Whether a login gives a ticket for a WebSocket, as the dialogue does.

        Then a page can open sockets of several users at once, although a
        browser keeps one session for the host.
        """
        return any("ticket=$" in play.step.text for play in self.plays)


def read_content(
    number: int, recipe: Recipe, app: web.Application, broken: str | None
) -> Content:
    """Read all that the page of a mounted recipe shows."""
    source, docs = recipe.source, recipe.docs
    messages = read_messages(recipe.file.with_name("messages.toml"))
    return Content(
        number=number,
        module=recipe.name,
        prefix=recipe.prefix,
        question=docs.title,
        summary=inline(first_sentence(docs.text)),
        answer=_block(docs.text),
        details=_block(_without_heading(docs.details)),
        plays=[_read_play(step) for step in docs.dialogue],
        endpoints=list(_endpoints_of(app)),
        symptoms={
            message.text: inline(_meaning_of(message))
            for message in messages
            if message.recipe == recipe.name
        },
        header=read_header(source),
        answer_lines=read_answer(source),
        source=source,
        starter_test=_read_if_there(recipe.starter_test),
        tests=_sentences_of(recipe.tests),
        production=_read_production(recipe, source),
        traps=recipe.traps,
        broken=broken,
    )


def first_sentence(text: str) -> str:
    """Return the first sentence of a Markdown text, on one line."""
    return re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0]


def inline(text: str) -> Markup:
    """Return a line of Markdown in HTML."""
    return Markup(_markdown.renderInline(text))  # noqa: S704 - made by Markdown


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

    Pygments takes most of a start, and a source never changes.
    """
    lexer = PythonLexer(stripnl=False, ensurenl=False)
    text: str = highlight(source, lexer, HtmlFormatter(nowrap=True))
    return text.removesuffix("\n").split("\n")


def api_names(source: str) -> set[str]:
    """Return the names that a source imports, and the attributes it uses."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.alias):
            names.add(node.name.rpartition(".")[2])
    return names


def _read_production(recipe: Recipe, answer_source: str) -> Production | None:
    source = _read_if_there(recipe.production_file)
    if source is None:
        return None
    docs = Docs.of_source(source)
    return Production(
        prefix=f"/production{recipe.prefix}",
        summary=_block(docs.text),
        details=_block(_without_heading(docs.details)),
        hunks=differences(answer_source, source),
        tests=_sentences_of(recipe.production_tests),
    )


def _read_if_there(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None


def _without_heading(text: str) -> str:
    text = text.removeprefix("Good to know:").strip()
    return text[:1].upper() + text[1:]


def _block(text: str) -> Markup:
    return Markup(_markdown.render(text))  # noqa: S704 - made by Markdown


def _read_play(step: Step) -> Play:
    if step.kind != "run":
        return Play(step, None, "")
    try:
        return Play(step, read_line(step.text), "")
    except CurlOnlyError as error:
        return Play(step, None, str(error))


def _endpoints_of(app: web.Application) -> Iterator[Endpoint]:
    for resource in app.router.resources():
        info = resource.get_info()
        if "app" in info:
            yield from _endpoints_of(info["app"])
            continue
        methods: dict[Any, list[str]] = {}
        for route in resource:
            handler = inspect.unwrap(route.handler)
            if isinstance(handler, type) and issubclass(handler, AbstractView):
                for method in sorted(hdrs.METH_ALL):
                    if function := getattr(handler, method.lower(), None):
                        methods[function] = [method]
            else:
                methods.setdefault(handler, []).append(route.method)
        for function, names in methods.items():
            yield Endpoint(
                "any method" if names == ["*"] else ", ".join(sorted(names)),
                resource.canonical,
                (inspect.getdoc(function) or "").partition("\n")[0],
                _opens_websocket(function),
            )


def _opens_websocket(handler: Any) -> bool:
    """Tell whether a handler returns a WebSocket, or makes one itself."""
    returned = inspect.get_annotations(handler).get("return")
    if returned is web.WebSocketResponse:
        return True
    return "WebSocketResponse" in handler.__code__.co_names


def _meaning_of(message: Message) -> str:
    return " ".join(f"{cause.why} {cause.cure}" for cause in message.causes)


@cache
def _sentences_of(file: Path) -> list[Test]:
    tests = []
    for node in ast.parse(_read_if_there(file) or "").body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            mark, _, words = node.name.partition("test_")
            if not mark and words:
                sentence = words.replace("_", " ")
                sentence = sentence[0].upper() + sentence[1:]
                tests.append(Test(sentence, node.lineno))
    return tests
