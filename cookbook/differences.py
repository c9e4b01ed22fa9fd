"""What differs between two programs of `recipes/`, hunk by hunk."""

from dataclasses import dataclass
from difflib import unified_diff
from itertools import groupby

from cookbook.source import split_docstring

CONTEXT = 1
"""Lines that are shown before and after a difference."""


@dataclass(frozen=True)
class Hunk:
    """A difference: each line begins with a blank, `-` or `+`.

    `caption` is the first comment that it adds, or nothing.
    """

    caption: str
    lines: list[str]

    @property
    def sides(self) -> tuple[list[str], list[str]]:
        """The old lines and the new ones, of which there are as many.

        A blank line stands where the other side has more.
        """
        old: list[str] = []
        new: list[str] = []
        for _, group in groupby(self.lines, lambda line: line[0] == " "):
            lines = list(group)
            removed = [line for line in lines if line[0] != "+"]
            added = [line for line in lines if line[0] != "-"]
            height = max(len(removed), len(added))
            old += removed + [" "] * (height - len(removed))
            new += added + [" "] * (height - len(added))
        return old, new


def differences(old: str, new: str) -> list[Hunk]:
    """Compare the code of two sources, without their module docstrings."""
    before, after = (split_docstring(source)[1] for source in (old, new))
    diff = unified_diff(before, after, lineterm="", n=CONTEXT)
    return _hunks(list(diff)[2:])


def read_patch(patch: str) -> tuple[str, list[Hunk]]:
    """Return the text at the head of a patch, and its hunks."""
    text, _, diff = patch.partition("\n--- ")
    return text.strip(), _hunks(diff.splitlines()[2:])


def count_lines(hunks: list[Hunk]) -> int:
    """Return how many lines the hunks add and remove."""
    lines = [line for hunk in hunks for line in hunk.lines]
    return sum(not line.startswith(" ") for line in lines)


def _hunks(diff: list[str]) -> list[Hunk]:
    parts = groupby(diff, lambda line: line.startswith("@@"))
    return [_hunk(list(lines)) for is_heading, lines in parts if not is_heading]


def _hunk(lines: list[str]) -> Hunk:
    comment = []
    for line in lines:
        text = line.removeprefix("+").strip()
        if line.startswith("+") and text.startswith("# "):
            comment.append(text.removeprefix("# "))
        elif comment:
            break
    return Hunk(" ".join(comment), lines)
