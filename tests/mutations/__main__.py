"""Proves that the recipes' tests can fail: `make mutations`.

A mutation is a recipe with a mistake in it: a trap, which takes the place of
its pair, or a patch. The recipe's tests in `make check` must find it, and the
one that does is named.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer

import click

import app
from cookbook.traps import Trap

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TIMEOUT = 300.0
"""Seconds for the tests of one recipe; a hang is not a catch."""


@click.command(help=__doc__)
@click.argument("names", nargs=-1, metavar="[RECIPE]...")
def main(names: tuple[str, ...]) -> None:
    mutations: list[Trap | Path] = []
    for recipe in app.COOKBOOK:
        if not names or recipe.name in names:
            mutations += recipe.traps
            mutations += sorted((HERE / recipe.name).glob("*.patch"))
    with (
        ThreadPoolExecutor(max_workers=2) as pool,
        click.progressbar(
            pool.map(catch, mutations), len(mutations), label="mutations"
        ) as outcomes,
    ):
        catches = list(zip(mutations, outcomes, strict=True))
    for mutation, test in catches:
        file = mutation.file if isinstance(mutation, Trap) else mutation
        name = str(file.relative_to(ROOT))
        click.echo(f"{name:60} {test or 'NOT CAUGHT'}")
    uncaught = [mutation for mutation, test in catches if not test]
    if uncaught:
        sys.exit(f"{len(uncaught)} of {len(mutations)} were not caught")
    click.echo(f"all {len(mutations)} were caught")


def catch(mutation: Trap | Path) -> str:
    """Return the name of the test that finds a mutation, or nothing."""
    with TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".*", "docs", "mutations")
        )
        if isinstance(mutation, Trap):
            recipe = mutation.pair.relative_to(ROOT)
            shutil.copy(mutation.file, copy / recipe)
        else:
            recipe = target_of(mutation)
            subprocess.run(["git", "apply", mutation], cwd=copy, check=True)
        return first_failure(copy, tests_of(recipe))


def first_failure(copy: Path, arguments: list[str]) -> str:
    """Return the name of the first test that fails, or nothing."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", "-x", "-q", "-m", "not full"),
            *("-p", "no:cacheprovider", *arguments),
        ],
        cwd=copy,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    timer = Timer(TIMEOUT, process.kill)
    timer.start()
    assert process.stdout is not None
    with process, process.stdout as lines:
        try:
            for line in lines:
                if found := re.match(r"(?:FAILED|ERROR) (\S+)", line):
                    return found[1].rpartition("::")[2]
        finally:
            # What the mutation left open may keep the process from exiting.
            process.kill()
            timer.cancel()
    return ""


def target_of(patch: Path) -> Path:
    """Return the file that a patch changes, from the root of the project."""
    names = re.search(r"^\+\+\+ b/(\S+)$", patch.read_text(), re.MULTILINE)
    assert names, patch
    return Path(names[1])


def tests_of(recipe: Path) -> list[str]:
    """Return the tests of a recipe, as arguments of pytest.

    A cluster takes too long to start for each mistake.
    """
    common = f"tests/test_{recipe.name}"
    if recipe.parent.name == "production":
        return [
            "-k",
            "production and not behind_nginx",
            common,
            f"tests/production/test_{recipe.name}",
        ]
    return ["-k", "not production and not behind_nginx", common]


if __name__ == "__main__":
    main()
