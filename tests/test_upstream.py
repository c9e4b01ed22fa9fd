"""Proofs for docs/upstream/: each page shows what its program prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT

PAGES = sorted((ROOT / "docs" / "upstream").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_program_for_upstream_prints_what_its_page_says(page: Path) -> None:
    printed = subprocess.run(
        [sys.executable, page.with_suffix(".py")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    shown = re.findall(r"^    (.+\n)", page.read_text(), re.MULTILINE)
    assert printed == "".join(shown)
    assert printed
