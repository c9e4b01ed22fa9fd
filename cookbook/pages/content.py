"""What a page shows, read from a recipe, its application and its tests."""

import ast
import inspect
import re
import tomllib
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
from cookbook.pages.curl import CurlOnlyError, Line, read_line
from cookbook.recipe import (
    Header,
    Recipe,
    Step,
    answer,
    details,
    dialogue,
    documented,
    question,
    read_answer,
    read_header,
)
from cookbook.traps import Trap, traps_of

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
    number: int,
    prefix: str,
    recipe: Recipe,
    app: web.Application,
    broken: str | None,
) -> Content:
    """Read all that the page of a mounted recipe shows."""
    file, module = file_of(recipe), name_of(recipe)
    source = file.read_text(encoding="utf-8")
    symptoms = _read_symptoms(file.with_name("symptoms.toml"))
    return Content(
        number=number,
        module=module,
        prefix=prefix,
        question=question(recipe),
        summary=inline(first_sentence(answer(recipe))),
        answer=_block(answer(recipe)),
        details=_block(_without_heading(details(recipe))),
        plays=[_read_play(step) for step in dialogue(recipe)],
        endpoints=list(_endpoints_of(app)),
        symptoms={
            message: inline(meaning)
            for message, meaning in symptoms.get(module, {}).items()
        },
        header=read_header(source),
        answer_lines=read_answer(source),
        source=source,
        starter_test=_read_if_there(starter_test_of(file)),
        tests=_sentences_of(tests_of(file)),
        production=_read_production(prefix, file, source),
        traps=traps_of(file),
        broken=broken,
    )


def name_of(recipe: Recipe) -> str:
    """Return the name of a recipe's module, without its package."""
    return recipe.__name__.rpartition(".")[2]


def file_of(recipe: Recipe) -> Path:
    """Return the file of a recipe."""
    return Path(str(recipe.__file__))


def tests_of(file: Path) -> Path:
    """Return the tests of a recipe's file; an installed copy has none."""
    recipes = next(each for each in file.parents if each.name == "recipes")
    place = file.relative_to(recipes).parent
    return recipes.parent / "tests" / place / f"test_{file.name}"


def production_of(file: Path) -> Path:
    """Return the production file beside an answer; not all have one."""
    return file.parent / "production" / file.name


def starter_test_of(file: Path) -> Path:
    """Return the test that a reader copies beside an answer."""
    return file.parent / "testing" / f"test_{file.name}"


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


def _highlighted_lines(source: str) -> list[str]:
    """Return the lines of a source that ends in a newline."""
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


def _read_production(
    prefix: str, file: Path, answer_source: str
) -> Production | None:
    production = production_of(file)
    source = _read_if_there(production)
    if source is None:
        return None
    told = documented(source)
    return Production(
        prefix=f"/production{prefix}",
        summary=_block(answer(told)),
        details=_block(_without_heading(details(told))),
        hunks=differences(answer_source, source),
        tests=_sentences_of(tests_of(production)),
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
                "WebSocketResponse" in function.__code__.co_names,
            )


@cache
def _read_symptoms(file: Path) -> dict[str, dict[str, str]]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


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
