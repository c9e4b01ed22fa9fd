"""Proves that the recipes' tests can fail: `make mutations`.

Each patch brings a mistake into a copy of its recipe. The recipe's tests must
find it, and the one that does is named.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import click

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TIMEOUT = 300.0
"""Seconds for the tests of one recipe; a hang is not a catch."""


def main() -> None:
    """Apply each patch in turn, two at a time, and print what catches it."""
    patches = sorted(HERE.glob("*/*.patch"))
    with (
        ThreadPoolExecutor(max_workers=2) as pool,
        click.progressbar(
            pool.map(catch, patches), len(patches), label="mutations"
        ) as outcomes,
    ):
        catches = dict(zip(patches, outcomes, strict=True))
    for patch, test in catches.items():
        name = f"{patch.parent.name}/{patch.stem}"
        click.echo(f"{name:50} {test or 'NOT CAUGHT'}")
    uncaught = list(catches.values()).count("")
    if uncaught:
        sys.exit(f"{uncaught} of {len(patches)} were not caught")
    click.echo(f"all {len(patches)} were caught")


def catch(patch: Path) -> str:
    """Return the name of the test that finds a patch, or nothing."""
    with TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".*", "docs", "mutations")
        )
        subprocess.run(["git", "apply", patch], cwd=copy, check=True)
        try:
            ended = subprocess.run(
                [
                    *(sys.executable, "-m", "pytest", "-x", "-q"),
                    *("-p", "no:cacheprovider"),
                    f"tests/test_{patch.parent.name}.py",
                ],
                cwd=copy,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return ""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    if ended.returncode == 0 or not found:
        return ""
    return found[1].rpartition("::")[2]


if __name__ == "__main__":
    main()
