"""What a page shows, read from a recipe, its application and its tests."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web
from aiohttp.abc import AbstractView
from markupsafe import Markup

from cookbook.differences import Hunk, differences, read_patch
from cookbook.docs import Docs, Step
from cookbook.messages import Message, read_messages
from cookbook.pages.curl import HOST, CurlOnlyError, Line, read_line
from cookbook.pages.markup import block, inline
from cookbook.recipe import Recipe
from cookbook.source import Header, read_answer, read_header, read_needs
from cookbook.traps import Trap


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

    @property
    def opened(self) -> str:
        """The path of the WebSocket that the step opens, "" for none."""
        if self.step.kind != "open":
            return ""
        return self.step.text.strip('"').removeprefix(f"ws://{HOST}")


@dataclass(frozen=True)
class Test:
    """A test as a sentence, and the line that it begins at."""

    sentence: str
    line: int


@dataclass(frozen=True)
class Production:
    """The file for production, and what it changes in the answer."""

    prefix: str
    docs: Docs
    source: str
    summary: Markup
    details: Markup
    hunks: list[Hunk]
    tests: list[Test]

    @property
    def header(self) -> Header:
        return read_header(self.source)

    @property
    def needs(self) -> list[str]:
        return read_needs(self.source)


@dataclass(frozen=True)
class Patch:
    """What an answer needs on aiohttp 4.0, and why."""

    text: Markup
    hunks: list[Hunk]


@dataclass(frozen=True)
class Content:
    """A mounted recipe as its page shows it, each part read when it is needed.

    `number` counts from 1. `unavailable` names the applications that are not
    served, and why.
    """

    number: int
    recipe: Recipe
    app: web.Application
    unavailable: dict[web.Application, str]
    behind_proxy: bool = False

    @property
    def broken(self) -> str | None:
        """Why the recipe is not served at the moment, or None."""
        return self.unavailable.get(self.app)

    @property
    def module(self) -> str:
        return self.recipe.name

    @property
    def topic(self) -> str:
        return self.recipe.topic

    @property
    def prefix(self) -> str:
        return self.recipe.prefix

    @property
    def question(self) -> str:
        return self.recipe.docs.title

    @property
    def summary(self) -> Markup:
        """The first sentence of the answer."""
        return inline(self.recipe.docs.first_sentence)

    @cached_property
    def answer(self) -> Markup:
        return block(self.recipe.docs.text)

    @cached_property
    def details(self) -> Markup:
        """What is good to know."""
        return block(self.recipe.docs.good_to_know)

    @cached_property
    def plays(self) -> list[Play]:
        """The dialogue."""
        return [_read_play(step) for step in self.recipe.docs.dialogue]

    @property
    def has_tickets(self) -> bool:
        """Whether a login gives a ticket for a WebSocket, as the dialogue does.

        Then a page can open sockets of several users at once, although a
        browser keeps one session for the host.
        """
        return any("ticket=$" in play.step.text for play in self.plays)

    @cached_property
    def endpoints(self) -> list[Endpoint]:
        return list(_endpoints_of(self.app))

    def path_to_open(self, endpoint: Endpoint) -> str:
        """Return what a client of the console opens, as the dialogue does.

        A ticket is good for one socket: a client gets its own.
        """
        for play in self.plays:
            path = f"{self.prefix}{play.opened}"
            is_of_endpoint = path.startswith(endpoint.path)
            if play.opened and is_of_endpoint and not self.has_tickets:
                return path
        return endpoint.path

    @property
    def messages(self) -> list[Message]:
        """The error messages that the recipe explains."""
        messages = read_messages(self.recipe.file.with_name("messages.toml"))
        return [each for each in messages if each.recipe == self.module]

    @cached_property
    def source(self) -> str:
        return self.recipe.source

    @property
    def header(self) -> Header:
        return read_header(self.source)

    @property
    def answer_lines(self) -> list[str]:
        """The lines that answer the question, in their parts."""
        return read_answer(self.source)

    @property
    def needs(self) -> list[str]:
        """What the file needs beside its packages, and what it writes."""
        return read_needs(self.source)

    def address_at(self, base: str) -> str:
        """Return the address of the file, below that of all pages."""
        return f"{base}{self.recipe.page.removeprefix('/')}.py"

    @property
    def starter_test(self) -> str | None:
        return _read_if_there(self.recipe.starter_test)

    @property
    def tests(self) -> list[Test]:
        return _sentences_of(self.recipe.tests)

    @cached_property
    def production(self) -> Production | None:
        source = _read_if_there(self.recipe.production_file)
        if source is None:
            return None
        docs = Docs.of_source(source)
        return Production(
            prefix=f"/production{self.prefix}",
            docs=docs,
            source=source,
            summary=block(docs.text),
            details=block(docs.good_to_know),
            hunks=differences(self.source, source),
            tests=_sentences_of(self.recipe.production_tests),
        )

    @cached_property
    def patch_for_4_0(self) -> Patch | None:
        patch = _read_if_there(self.recipe.patch_for_4_0)
        if patch is None:
            return None
        text, hunks = read_patch(patch)
        return Patch(block(text), hunks)

    @property
    def note_on_4_0(self) -> str:
        return block(_read_if_there(self.recipe.note_on_4_0) or "")

    @property
    def traps(self) -> list[Trap]:
        return self.recipe.traps


def _read_if_there(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None


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


def _sentences_of(file: Path) -> list[Test]:
    tests = []
    source = _read_if_there(file) or ""
    for number, line in enumerate(source.splitlines(), 1):
        # Parsing a file of tests takes longer than all else on the page.
        if match := re.match(r"(?:async )?def test_(\w+)\(", line):
            sentence = match[1].replace("_", " ")
            sentence = sentence[0].upper() + sentence[1:]
            tests.append(Test(sentence, number))
    return tests
