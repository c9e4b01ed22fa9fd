"""Proofs for the marks of the tests: see tests/conftest.py."""

import sys
from collections.abc import Iterator

import pytest

from tests.conftest import at_length


@pytest.fixture
def tracer() -> Iterator[object]:
    """What measures the coverage around a test, and still does after it."""
    tracer = sys.gettrace()
    yield tracer
    assert sys.gettrace() is tracer


@pytest.mark.unmeasured("this is the one to try it on")
def test_a_test_with_the_mark_unmeasured_is_seen_by_no_tracer(
    tracer: object,
) -> None:
    assert sys.gettrace() is None


def test_a_test_without_the_mark_is_measured(tracer: object) -> None:
    assert sys.gettrace() is tracer


@pytest.mark.parametrize("rounds", [1, at_length(2)])
def test_a_size_at_length_has_the_mark_full(
    request: pytest.FixtureRequest, rounds: int
) -> None:
    is_full = request.node.get_closest_marker("full") is not None
    assert is_full == (rounds == 2)
