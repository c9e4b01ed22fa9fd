"""Proofs for the marks of the tests: see tests/conftest.py."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Measured, at_length, in_turn


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


AT_IMPORT = sys.gettrace()


def collected_by(value: object) -> str:
    return "a tracer" if sys.gettrace() else "none"


@pytest.mark.parametrize("value", [1], ids=collected_by)
def test_an_import_alone_is_seen_by_a_tracer_of_what_pytest_collects(
    request: pytest.FixtureRequest, value: int
) -> None:
    assert request.node.name.endswith("[none]")
    assert AT_IMPORT is sys.gettrace()


def test_a_module_that_fails_on_import_is_left_to_who_collects_it(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    file = tmp_path / "test_of_a_recipe_that_is_broken.py"
    file.write_text("raise RuntimeError('no running event loop')\n")
    module = pytest.Module.from_parent(request.session, path=file)
    Measured().pytest_collectstart(module)
    with pytest.raises(RuntimeError):
        _ = module.obj


def test_a_test_that_was_collected_is_no_garbage() -> None:
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize("rounds", [1, at_length(2)])
def test_a_size_at_length_has_the_mark_full(
    request: pytest.FixtureRequest, rounds: int
) -> None:
    is_full = request.node.get_closest_marker("full") is not None
    assert is_full == (rounds == 2)


SQUARES = [(1, 1), (2, 4), (3, 9)]


@pytest.fixture
def tried() -> Iterator[list[int]]:
    """What a test in turn appends to, once for all of its rows."""
    tried: list[int] = []
    yield tried
    assert tried == [1, 2, 3]


@in_turn("number, square", SQUARES)
async def test_a_test_in_turn_tries_each_row_with_the_same_fixtures(
    tried: list[int], number: int, square: int
) -> None:
    tried.append(number)
    assert number**2 == square


async def test_a_row_that_fails_is_named() -> None:
    @in_turn("number", [1, 2])
    async def check(number: int) -> None:
        assert number == 1

    with pytest.raises(AssertionError) as failure:
        await check()
    assert failure.value.__notes__[-1] == "in the row {'number': 2}"
