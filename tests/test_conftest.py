"""Proofs for tests/conftest.py."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import SHARED
from tests.servers import MEASURED


def test_what_the_shared_cookbook_logs_is_of_no_test(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in (SHARED, "another"):
        with ThreadPoolExecutor(1, name) as thread:
            thread.submit(logging.warning, name).result()
    assert caplog.messages == ["another"]


def test_a_process_is_measured_only_where_its_test_says_so() -> None:
    assert MEASURED.keys().isdisjoint(os.environ)
