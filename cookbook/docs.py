"""What a docstring in the form of a recipe's says, and the lines it shows."""

import re
from dataclasses import dataclass, replace
from inspect import cleandoc
from itertools import dropwhile, takewhile
from typing import Literal, Self

from cookbook.source import split_docstring

Kind = Literal["run", "open", "send", "receive", "closed", "log"]

NOTHING = "(nothing for 1 s)"
"""What `receive` names where no frame comes."""

DIALOGUE = "\nTry it::\n"
"""The line that a dialogue begins after."""

MARKS: dict[Kind, str] = {
    "open": "$ python -m websockets ",
    "run": "$ ",
    "send": "> ",
    "receive": "< ",
    "closed": "Connection closed: ",
    "log": "Log: ",
}
"""What a step begins with in a docstring, by its kind."""

INDENT = "    "
"""What each line of a dialogue begins with."""


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
    def line(self) -> str:
        """The step as it stands in the docstring, without its output."""
        return MARKS[self.kind] + self.text

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
class Docs:
    """A docstring in its parts; `text` and `details` are Markdown.

    `title` is the question of a recipe, or what goes wrong in a trap. `text`
    answers it, or says why. `details` is what is good to know.
    """

    title: str
    text: str
    dialogue: list[Step]
    details: str

    @property
    def prose(self) -> str:
        """The text and the details."""
        return f"{self.text}\n\n{self.details}"

    @property
    def first_sentence(self) -> str:
        """The first sentence of the text, on one line."""
        text = " ".join(self.text.split())
        return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]

    @property
    def good_to_know(self) -> str:
        """The details, without the words that they begin with."""
        text = self.details.removeprefix("Good to know:").strip()
        return text[:1].upper() + text[1:]

    @classmethod
    def parse(cls, docstring: str) -> Self:
        """Read a docstring; what it lacks is empty."""
        title, _, rest = cleandoc(docstring).partition("\n")
        text, _, rest = rest.partition(DIALOGUE)
        lines = rest.splitlines()
        return cls(
            title,
            text.strip(),
            _read_dialogue(list(takewhile(_is_of_dialogue, lines))),
            "\n".join(dropwhile(_is_of_dialogue, lines)).strip(),
        )

    @classmethod
    def of_source(cls, source: str) -> Self:
        """Read the docstring of a program, which is not run."""
        return cls.parse(split_docstring(source)[0])


def _read_dialogue(lines: list[str]) -> list[Step]:
    steps: list[Step] = []
    for line in lines:
        text = line.removeprefix(INDENT)
        if step := _new_step(text):
            steps.append(step)
        elif line:
            steps[-1] = _continued(steps[-1], text)
    return steps


def _is_of_dialogue(line: str) -> bool:
    return not line or line.startswith(INDENT)


def _new_step(line: str) -> Step | None:
    for kind, mark in MARKS.items():
        if line.startswith(mark):
            return Step(kind, line.removeprefix(mark))
    return None


def _continued(step: Step, line: str) -> Step:
    if step.text.endswith("\\"):
        return replace(step, text=f"{step.text}\n{line}")
    return replace(step, output=f"{step.output}{line}\n")
