"""What can be read from the source of a program, which is not run."""

import ast
import re
import tomllib
from ast import literal_eval
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import takewhile
from tokenize import COMMENT, NL, STRING, generate_tokens


@dataclass(frozen=True)
class Header:
    """What a recipe needs, from the metadata at its top (PEP 723)."""

    python: str
    packages: list[str]

    @property
    def install(self) -> str:
        """The line of a shell that installs the packages."""
        return " ".join(
            ["pip install", *(f'"{each}"' for each in self.packages)]
        )


@dataclass(frozen=True)
class Part:
    """Lines of a program, from `first` to `last`, counted from 1.

    `names` is what they define, or None for the lines that answer.
    """

    first: int
    last: int
    names: str | None = None


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


def read_needs(source: str) -> list[str]:
    """Return what a program needs beside its packages, and what it writes.

    The options of `create_app` say it: the address of a Redis, a path, and what
    has no default.
    """
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef("create_app", arguments):
                options = zip(
                    arguments.kwonlyargs, arguments.kw_defaults, strict=True
                )
                needs = [
                    _need_of(option.arg, default, source)
                    for option, default in options
                ]
                return [need for need in needs if need]
    return []


def _need_of(option: str, default: ast.expr | None, source: str) -> str:
    match default:
        case None:
            variable = rf'environ\.get\("(\w*{option.upper()})"'
            return f"needs {' or '.join(re.findall(variable, source))}"
        case ast.Constant(value=str(url)) if url.startswith("redis:"):
            return "needs a Redis"
        case ast.Call(func=ast.Name("Path"), args=[ast.Constant(str(path))]):
            return f"writes {path}"
    return ""


def read_parts(source: str) -> list[Part]:
    """Split a program into its imports, what answers, and what is between.

    All of its lines are there, in their order.
    """
    lines = source.splitlines()
    body = ast.parse(source).body
    beginning = takewhile(_is_of_beginning, body)
    last = max((node.end_lineno or 0 for node in beginning), default=0)
    parts = [Part(1, last, "docstring and imports")]
    for first, end in [*_answers_of(lines), (len(lines) + 1, len(lines))]:
        names = _names_of(body, last + 1, first - 1)
        parts.append(Part(last + 1, first - 1, ", ".join(names)))
        parts.append(Part(first, end))
        last = end
    return [part for part in parts if part.first <= part.last]


def _is_of_beginning(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr | ast.Import | ast.ImportFrom)


def _answers_of(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of what stands between the marks."""
    first = 0
    for number, line in enumerate(lines, 1):
        if line == "# answer":
            first = number + 1
        elif line == "# end of answer":
            end = number - 1
            while not lines[end - 1]:
                end -= 1
            yield first, end


def _names_of(body: list[ast.stmt], first: int, last: int) -> Iterator[str]:
    """Yield what the lines define."""
    for node in body:
        if first <= node.lineno <= last:
            match node:
                case ast.Assign(targets=[ast.Name(name)]):
                    yield name
                case ast.If():
                    yield "main"
                case (
                    ast.FunctionDef(name)
                    | ast.AsyncFunctionDef(name)
                    | ast.ClassDef(name)
                ):
                    yield name


def split_docstring(source: str) -> tuple[str, list[str]]:
    """Return the docstring, or "", and the lines of code below it.

    No more than the docstring is read: a page does this for ten programs.
    """
    tokens = generate_tokens(StringIO(source).readline)
    first = next(each for each in tokens if each.type not in {COMMENT, NL})
    lines = source.splitlines()
    if first.type != STRING:
        return "", lines
    return literal_eval(first.string), lines[first.end[0] :]
