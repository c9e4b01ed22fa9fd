"""Marks a test as that of a claim, for conftest.py and the board."""

from collections.abc import Callable
from textwrap import dedent
from typing import Any, NamedTuple, TypeVar

Test = TypeVar("Test", bound=Callable[..., None])


class Claim(NamedTuple):
    """What the board shows of a claim, and how its test may fail.

    `text` is in our words. `printed` quotes the FAQ of aiohttp 3.14 exactly.
    `note` says what other editions print. Where `said` is false, the FAQ does
    not say it. `fails` are the exceptions by which the claim fails, besides an
    assertion of the test. Any other exception is an error.
    """

    question: int
    text: str
    said: bool
    printed: str
    note: str
    fails: type[BaseException] | tuple[()]

    @property
    def row(self) -> dict[str, Any]:
        """What stands in results.json beside the verdicts."""
        row = self._asdict()
        del row["fails"]
        return row


CLAIMS: dict[object, Claim] = {}
"""The claim of each test."""


def claim(
    question: int,
    text: str,
    *,
    said: bool = True,
    printed: str = "",
    note: str = "",
    fails: type[BaseException] | tuple[()] = (),
) -> Callable[[Test], Test]:
    """Mark a test as that of a claim; see `Claim`."""
    printed = dedent(printed).strip("\n")

    def mark(test: Test) -> Test:
        CLAIMS[test] = Claim(question, text, said, printed, note, fails)
        return test

    return mark
