"""Writes what a claim's test saw, for `python -m verdicts`."""

import json
import re
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
        item.stash[RESULT] = {
            "verdict": VERDICTS[report.outcome],
            # Neither the paths nor the ports of one machine.
            "transcript": [
                re.sub(r"(127\.0\.0\.1|localhost):\d+", r"\1:8080", line)
                for line in lines
            ],
        }
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if file := session.config.getoption("--results", None):
        results = {
            item.name.removeprefix("test_"): item.stash[RESULT]
            for item in session.items
            if RESULT in item.stash
        }
        Path(file).write_text(json.dumps(results), encoding="utf-8")
