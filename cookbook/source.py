"""What can be read from the source of a program, which is not run."""

import re
import tomllib
from ast import literal_eval
from dataclasses import dataclass
from io import StringIO
from tokenize import COMMENT, NL, STRING, generate_tokens


@dataclass(frozen=True)
class Header:
    """What a recipe needs, from the metadata at its top (PEP 723)."""

    python: str
    packages: list[str]


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
