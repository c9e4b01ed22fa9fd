"""Writes what a claim's test saw, for `python -m verdicts`."""

import json
import re
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

RESULT = pytest.StashKey[dict[str, Any]]()
VERDICTS = {"passed": "holds", "failed": "fails", "skipped": "not there yet"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "claim(question, text): a sentence of the FAQ, in short"
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--results", metavar="FILE", help="where to write, as JSON"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call":
        lines = report.capstdout.splitlines()
        if call.excinfo is not None:
            error = call.excinfo.exconly().splitlines()[0]
            lines.append(error.removeprefix("Skipped: "))
        mark = item.get_closest_marker("claim")
        question, text = mark.args if mark else (0, "")
        item.stash[RESULT] = {
            "question": question,
            "text": text,
            "verdict": VERDICTS[report.outcome],
            "transcript": [_clean(line) for line in lines],
        }
    return report


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
