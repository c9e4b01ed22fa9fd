"""What a recipe is, and what can be read from its docstring."""

import ast
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import getdoc
from itertools import dropwhile, takewhile
from types import ModuleType
from typing import Literal, Protocol

from aiohttp import web

Kind = Literal["run", "open", "send", "receive", "closed", "log"]

NOTHING = "(nothing for 1 s)"
"""What `receive` names where no frame comes."""


class Documented(Protocol):
    """What has a docstring in the form of a recipe's."""

    __doc__: str | None


class Recipe(Documented, Protocol):
    """A module of `recipes/`: a docstring to read and an application to run."""

    __name__: str
    __file__: str | None

    @property
    def create_app(self) -> Callable[..., web.Application]: ...


@dataclass(frozen=True)
class Step:
    """One line of a dialogue, and the output that the docstring promises.

    `run` is a shell command. `open` connects a WebSocket, which the steps
    `send`, `receive` and `closed` then belong to, until the next `open`. `log`
    is a line, or a part of one, that the server writes.
    """

    kind: Kind
    text: str
    output: str = ""

    @property
    def promised(self) -> str:
        """What the step prints, with `...` for any run of characters."""
        match self.kind:
            case "receive" | "log":
                return self.text
            case "closed":
                return f"Connection closed: {self.text}"
        return self.output.rstrip("\n")

    @property
    def pattern(self) -> re.Pattern[str]:
        """The promise as a regular expression."""
        parts = map(re.escape, self.promised.split("..."))
        return re.compile(".*?".join(parts), re.DOTALL)


@dataclass(frozen=True)
class Header:
    """What a recipe needs, from the metadata at its top (PEP 723)."""

    python: str
    packages: list[str]


def documented(source: str) -> Documented:
    """Return what has the docstring of a source, which is not run."""
    return ModuleType("source", ast.get_docstring(ast.parse(source)))


def read_header(source: str) -> Header:
    """Read the `# /// script` block of a source.

    Raises ValueError for a source that has none.
    """
    block = re.search(r"(?ms)^# /// script\n(.*?)^# ///$", source)
    if block is None:
        raise ValueError("a recipe begins with its script metadata")
    lines = [line.removeprefix("#") for line in block[1].splitlines()]
    metadata = tomllib.loads("\n".join(line.strip() for line in lines))
    return Header(metadata["requires-python"], metadata["dependencies"])


def read_answer(source: str) -> list[str]:
    """Return what stands between `# answer` and `# end of answer`."""
    marked = r"(?ms)^# answer\n(.*?)^# end of answer$"
    return [part.strip("\n") for part in re.findall(marked, source)]


def question(recipe: Documented) -> str:
    """Return the first line of the docstring: the FAQ's question."""
    return _docstring(recipe).partition("\n")[0]


def answer(recipe: Documented) -> str:
    """Return the docstring's Markdown between question and dialogue."""
    _, _, rest = _docstring(recipe).partition("\n")
    return rest.partition("\nTry it::\n")[0].strip()


def details(recipe: Documented) -> str:
    """Return the docstring's Markdown after the dialogue: *Good to know*."""
    _, _, rest = _docstring(recipe).partition("\nTry it::\n")
    lines = rest.splitlines()
    return "\n".join(dropwhile(_is_of_dialogue, lines)).strip()


def dialogue(recipe: Documented) -> list[Step]:
    """Return the steps of the docstring's `Try it::` block, in order."""
    _, _, rest = _docstring(recipe).partition("\nTry it::\n")
    steps: list[Step] = []
    for line in takewhile(_is_of_dialogue, rest.splitlines()):
        if step := _new_step(line[4:]):
            steps.append(step)
        elif line:
            steps[-1] = _continued(steps[-1], line[4:])
    return steps


def _is_of_dialogue(line: str) -> bool:
    return not line or line.startswith("    ")


def _new_step(line: str) -> Step | None:
    kinds: dict[str, Kind] = {
        "$ python -m websockets ": "open",
        "$ ": "run",
        "> ": "send",
        "< ": "receive",
        "Connection closed: ": "closed",
        "Log: ": "log",
    }
    for mark, kind in kinds.items():
        if line.startswith(mark):
            return Step(kind, line.removeprefix(mark))
    return None


def _continued(step: Step, line: str) -> Step:
    if step.text.endswith("\\"):
        return replace(step, text=f"{step.text}\n{line}")
    return replace(step, output=f"{step.output}{line}\n")


def _docstring(recipe: Documented) -> str:
    return getdoc(recipe) or ""
