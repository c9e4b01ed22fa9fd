"""Error messages: what programs print, what it means, and what helps.

`recipes/messages.toml` has a table for each message, and
`recipes/messages/<name>.py` a program that makes it appear.
"""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

KINDS = {
    "client": "aiohttp's client",
    "server": "aiohttp's server",
    "websocket": "WebSockets",
    "warning": "Warnings of aiohttp",
    "setup": "Imports and installation",
    "asyncio": "Python and asyncio",
    "session": "aiohttp-session",
    "sqlite": "SQLite and aiosqlite",
    "redis": "redis-py",
    "postgres": "PostgreSQL: psycopg and procrastinate",
    "test": "pytest-aiohttp and pytest-asyncio",
    "browser": "Messages of a browser",
    "symptom": "Wrong without a message",
}
"""The groups of messages, in the order of a page, and their headings."""

CURE = "# cure:"
"""Begins the comment right below a wrong line: the line to write instead."""


@dataclass(frozen=True)
class Cause:
    """Why a message is printed, and what helps; both are Markdown."""

    why: str
    cure: str


@dataclass(frozen=True)
class Message:
    """A message, or what a reader says who got none (`kind` is "symptom").

    `text` is the part that never changes; `...` stands for what does. `also`
    are the texts of other releases and systems. The most frequent cause is the
    first. `exceptions` have dotted names. `objects` are classes and functions
    of which Python says that they cannot be used so: `aiohttp.Request` counts
    only below a frame of aiohttp. `raised_in` are packages: an exception that
    Python raises in one of them is explained where nothing else is. `releases`
    are requirements, such as `aiohttp>=3.10`: none is where they are not known.
    `program` is a source that gets the message, and `without` says why there
    is none. `see` are issues, such as `aiohttp#2996`.
    """

    name: str
    text: str
    kind: str
    causes: list[Cause]
    also: list[str] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    raised_in: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    recipe: str | None = None
    trap: str | None = None
    see: list[str] = field(default_factory=list)
    program: str | None = None
    without: str | None = None

    @property
    def pattern(self) -> re.Pattern[str]:
        """What finds the message in a text, over several lines too."""
        parts = [re.escape(part.strip()) for part in self.text.split("...")]
        return re.compile(".*?".join(parts), re.DOTALL)

    def is_in(self, printed: str) -> bool:
        """Tell whether a program has printed the message, as it is here."""
        return self.pattern.search(printed) is not None


@cache
def read_messages(file: Path) -> list[Message]:
    """Read all messages; their programs lie in the folder beside the file."""
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return [
        _read_message(name, table, file.with_suffix("") / f"{name}.py")
        for name, table in tables.items()
    ]


def _read_message(name: str, table: dict[str, Any], program: Path) -> Message:
    causes = [Cause(**cause) for cause in table.pop("causes")]
    source = program.read_text(encoding="utf-8") if program.exists() else None
    return Message(name=name, causes=causes, program=source, **table)


def cured(program: str) -> str | None:
    """Return a program with its cure applied, or None if it names none.

    The cure takes the place of the comment and of the line above it.
    """
    lines: list[str] = []
    has_cure = False
    for line in program.splitlines():
        mark, _, cure = line.strip().partition(f"{CURE} ")
        if not mark and cure:
            wrong = lines.pop()
            indent = wrong[: len(wrong) - len(wrong.lstrip())]
            lines.append(f"{indent}{cure}")
            has_cure = True
        else:
            lines.append(line)
    return "\n".join([*lines, ""]) if has_cure else None
