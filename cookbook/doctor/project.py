"""A project on disk: its files, and what the rules find in them."""

import ast
import io
import os
import re
import stat
import tokenize
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from cookbook.doctor import (  # noqa: F401 - they register themselves
    client,
    release,
    routes,
    server,
    websocket,
)
from cookbook.doctor.module import Module
from cookbook.doctor.rule import RULES, Found, Rule

SKIPPED = {"node_modules", "__pycache__", "site-packages", "venv", "env"}
"""Folders of what others wrote. Those that begin with a dot are skipped too."""

MAX_SIZE = 2 * 2**20
"""Bytes of a file. A larger one is data, and its tree takes a hundred times as
much."""

MARKER = re.compile(r"#\s*doctor:\s*ignore\s+([\w-]+(?:\s*,\s*[\w-]+)*)")
"""`# doctor: ignore dropped-task` at the line silences a rule."""

WHOLE_FILE = 0
"""The line of what a comment on a line of its own silences."""


@dataclass(frozen=True)
class Finding:
    """A mistake at a place of a file; line and column count from 1."""

    file: str
    line: int
    column: int
    rule: Rule
    recipe: str
    trap: str
    fix: str


@dataclass
class Report:
    """What was read, what was found, and what could not be read and why."""

    files: int = 0
    lines: int = 0
    findings: list[Finding] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)


def examine(path: Path) -> Report:
    """Read a file, or the Python files of a folder, and return what is wrong.

    Raises OSError where there is no such file or folder.
    """
    report = Report()
    for file in _files(path, report):
        try:
            inside = file.relative_to(path) if path.is_dir() else file.name
            _examine_file(str(file), PurePath(inside), _read(file), report)
        except UnreadableError as error:
            report.unread.append((str(file), str(error)))
    return report


class UnreadableError(Exception):
    """A file that is no Python source; its text is the reason, in one line."""


def _files(path: Path, report: Report) -> Iterator[Path]:
    if not stat.S_ISDIR(path.stat().st_mode):
        yield path
        return

    def note(error: OSError) -> None:
        report.unread.append((str(error.filename), str(error.strerror)))

    # Links are not followed: they lead in circles, or out of the project.
    for folder, folders, names in os.walk(path, onerror=note):
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        folders[:] = sorted(
            each
            for each in folders
            if not each.startswith(".") and each not in SKIPPED
        )
        for name in sorted(names):
            file = Path(folder, name)
            # Unlike the method of Path, it fails for no name.
            is_link = os.path.islink(file)  # noqa: PTH114
            if file.suffix in {".py", ".pyw"} and not is_link:
                yield file


def _read(file: Path) -> bytes:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableError("not a file")
        if found.st_size > MAX_SIZE:
            raise UnreadableError(f"more than {MAX_SIZE // 2**20} MiB")
        return file.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or type(error).__name__) from None


def _examine_file(
    path: str, inside: PurePath, source: bytes, report: Report
) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the project's own code
            tree = ast.parse(source)
    except SyntaxError as error:
        at = f"line {error.lineno}: " if error.lineno else ""
        raise UnreadableError(f"{at}{error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UnreadableError(str(error) or type(error).__name__) from None
    report.files += 1
    report.lines += source.count(b"\n")
    if b"aiohttp" not in source and b"asyncio" not in source:
        return
    module = Module(inside, tree)
    silenced = _silenced(source)
    findings = [
        _finding(path, rule, found)
        for rule in RULES
        if rule.tests or not module.is_test
        if rule.name not in silenced[WHOLE_FILE]
        for found in rule.check(module)
        if rule.name not in silenced[found.node.lineno]
    ]
    findings.sort(key=lambda each: (each.line, each.column, each.rule.name))
    report.findings += findings


def _finding(path: str, rule: Rule, found: Found) -> Finding:
    trap = f"recipes/traps/{rule.recipe}/{found.trap}.py" if found.trap else ""
    return Finding(
        path,
        found.node.lineno,
        found.node.col_offset + 1,
        rule,
        f"recipes/{rule.recipe}.py",
        trap,
        found.fix,
    )


def _silenced(source: bytes) -> dict[int, set[str]]:
    """Return the rules that comments name, by the line of the comment."""
    found: dict[int, set[str]] = defaultdict(set)
    if b"doctor:" not in source:
        return found
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if marker := MARKER.search(token.string):
            line, column = token.start
            alone = not token.line[:column].strip()
            names = re.split(r"\s*,\s*", marker[1])
            found[WHOLE_FILE if alone else line].update(names)
    return found
