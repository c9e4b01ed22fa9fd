"""Writes the verdicts of the claims' tests, for `python -m verdicts`."""

import json
import re
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from verdicts.claim import CLAIMS, Claim

RESULT = pytest.StashKey[dict[str, Any]]()
VERDICTS = {"passed": "holds", "skipped": "not there yet"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--results", metavar="FILE", help="where to write, as JSON"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    claim = CLAIMS.get(getattr(item, "function", None))
    if claim and (call.when == "call" or report.failed):
        lines = report.capstdout.splitlines()
        verdict = VERDICTS.get(report.outcome, "error")
        if call.excinfo is not None:
            lines.append(_last_line(call.excinfo.value))
            if call.when == "call" and _is_expected(item, claim, call.excinfo):
                verdict = "fails"
        item.stash[RESULT] = {
            **claim.row,
            "verdict": verdict,
            "transcript": [_clean(line) for line in lines],
        }
    return report


def _is_expected(
    item: pytest.Item,
    claim: Claim,
    caught: pytest.ExceptionInfo[BaseException],
) -> bool:
    """Return whether a test failed by what it demands, not by something else.

    An assertion counts where it stands in the test's own file.
    """
    if isinstance(caught.value, AssertionError):
        return caught.traceback[-1].path == item.path
    expected = (pytest.fail.Exception, claim.fails)
    return isinstance(caught.value, expected)


def _last_line(error: BaseException) -> str:
    """Return an exception as the last line of a traceback shows it."""
    text = str(error).partition("\n")[0]
    if isinstance(error, pytest.skip.Exception):
        return text
    return f"{type(error).__name__}: {text}"


def _clean(line: str) -> str:
    """Take out what differs from run to run, and from machine to machine."""
    for prefix in (sys.prefix, sys.base_prefix):
        line = line.replace(prefix, "")
    line = re.sub(r"(127\.0\.0\.1|localhost|::1\]?):\d+", r"\1:8080", line)
    return re.sub(r"0x[0-9a-f]+|Task-\d+", "...", line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if file := session.config.getoption("--results", None):
        results = {
            item.name.removeprefix("test_"): item.stash[RESULT]
            for item in session.items
            if RESULT in item.stash
        }
        Path(file).write_text(json.dumps(results), encoding="utf-8")
