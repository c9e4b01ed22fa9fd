"""Measures the FAQ's claims, and the recipes, on seven releases of aiohttp.

`make verdicts` writes results.json, which the board shows. `--only` measures
the claims or the recipes, and keeps the other results. With `newest`, the
claims are measured on what the package registry has now, and compared with the
last column of the board. Nothing is written then.

`--checkout 3.15=PATH` measures what upstream is working on, instead of the
releases: the commit at which a clone of aiohttp stands, in pure Python.
"""

import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import pytest
from packaging.version import Version

import app
from cookbook.docs import Docs
from cookbook.recipe import Recipe
from cookbook.sandbox import sandboxed
from cookbook.verdicts import BRANCHES
from verdicts.older import free_port

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results.json"
REQUIREMENTS = {
    file.stem: file for file in (HERE / "requirements").glob("*.txt")
}
RELEASES = sorted(REQUIREMENTS, key=Version)
PARTS = ("claims", "recipes")
CELL = ("verdict", "transcript")
TIMEOUT = 120.0

Result = dict[str, Any]


def read_checkouts(
    context: click.Context, option: click.Parameter, values: Sequence[str]
) -> dict[str, Path]:
    """Return which branch is checked out where."""
    checkouts = {}
    for value in values:
        name, _, path = value.partition("=")
        if name not in BRANCHES:
            raise click.BadParameter(f"a branch is one of {BRANCHES}: {value}")
        checkout = Path(path).resolve()
        if not (checkout / "aiohttp").is_dir():
            raise click.BadParameter(f"no checkout of aiohttp: {value}")
        checkouts[name] = checkout
    return checkouts


@click.command(help=__doc__)
@click.argument("release", required=False, type=click.Choice(["newest"]))
@click.option("--only", type=click.Choice(PARTS), help="Measure this part.")
@click.option(
    "--checkout",
    "checkouts",
    metavar="NAME=PATH",
    multiple=True,
    callback=read_checkouts,
    help="Measure 3.15 or master where a clone of aiohttp is.",
)
def main(
    release: str | None,
    only: str | None,
    checkouts: dict[str, Path],
) -> None:
    if release:
        sys.exit(compare(release))
    parts = [only] if only else PARTS
    names = list(checkouts) or RELEASES
    measured: dict[str, Result] = {}
    with click.progressbar(names, label="verdicts") as columns:
        for each in columns:
            if each in checkouts:
                measured[each] = measure_checkout(each, checkouts[each], parts)
            else:
                measured[each] = measure(each, parts)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if checkouts:
        results["branches"] = with_branches(results, measured)
    else:
        results.update(table_of(measured))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    click.echo(f"written: {RESULTS.relative_to(ROOT)}")


def measure(release: str, parts: Collection[str]) -> Result:
    """Measure claims, recipes or both on one release."""
    python = environment(release, ["-r", str(REQUIREMENTS[release])])
    return measure_with(python, release, parts)


def measure_with(python: Path, name: str, parts: Collection[str]) -> Result:
    measured: Result = {"version": version_of(python)}
    if "claims" in parts:
        measured["claims"] = claims_on(python)
        refuse_errors(measured["claims"], name)
    if "recipes" in parts:
        measured["recipes"] = {
            recipe.name: asyncio.run(recipe_on(recipe.name, python))
            for recipe in app.COOKBOOK
        }
    return measured


def measure_checkout(
    name: str, checkout: Path, parts: Collection[str]
) -> Result:
    """Measure a branch of upstream; master with the patches for 4.0, too."""
    commit = run("git", "-C", checkout, "rev-parse", "HEAD")
    python = environment_of(name, checkout)
    measured = {"commit": commit, **measure_with(python, name, parts)}
    if "claims" in measured:
        measured["claims"] = {
            claim: cell_of(result)
            for claim, result in measured["claims"].items()
        }
    if name == "master" and "recipes" in measured:
        measured["patched"] = {
            recipe.name: patched_on(recipe, python)
            for recipe in app.COOKBOOK
            if recipe.patch_for_4_0.exists()
        }
    return measured


def with_branches(results: Result, measured: dict[str, Result]) -> Result:
    """Return the columns of branches, each at one commit."""
    columns: Result = dict(results.get("branches", {}))
    for name, column in measured.items():
        before = columns.get(name, {})
        is_same = before.get("commit") == column["commit"]
        columns[name] = {**before, **column} if is_same else column
    return columns


def environment_of(name: str, checkout: Path) -> Path:
    """Install the commit of a checkout beside the packages of the newest.

    It is exported first: a build leaves files where it is done.
    """
    environment(name, ["-r", str(REQUIREMENTS[RELEASES[-1]])])
    with TemporaryDirectory() as folder:
        archive = Path(folder, "aiohttp.tar.gz")
        export = ("archive", "--prefix=aiohttp/", f"--output={archive}")
        run("git", "-C", checkout, *export, "HEAD")
        return environment(name, [str(archive)])


def refuse_errors(claims: dict[str, Result], release: str) -> None:
    """Stop where a test failed by something else than its claim."""
    errors = [
        f"{name}: {result['transcript'][-1]}"
        for name, result in claims.items()
        if result["verdict"] == "error"
    ]
    if errors:
        raise click.ClickException("\n".join([f"on {release}:", *errors]))


def environment(name: str, packages: list[str]) -> Path:
    """Make a virtual environment, and return its interpreter."""
    folder = ROOT / ".verdicts" / name
    python = folder / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", folder)
    pip = (python, "-m", "pip", "install", "--quiet")
    run(*pip, "--disable-pip-version-check", *packages)
    return python


def run(*command: str | Path) -> str:
    ended = subprocess.run(
        command,
        cwd=ROOT,
        # A checkout of aiohttp is built in pure Python.
        env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if ended.returncode:
        raise click.ClickException(f"{ended.stdout}{ended.stderr}".strip())
    return ended.stdout.strip()


def version_of(python: Path) -> str:
    return run(python, "-c", "import aiohttp; print(aiohttp.__version__)")


def claims_on(
    python: Path, file: Path = HERE / "test_claims.py"
) -> dict[str, Result]:
    """Run the claims' tests; a claim that fails is a result, too."""
    with TemporaryDirectory() as folder:
        written = Path(folder, "results.json")
        ended = run_tests(python, "--results", written, file)
        if ended.returncode > pytest.ExitCode.TESTS_FAILED:
            raise click.ClickException(f"{ended.stdout}{ended.stderr}".strip())
        results: dict[str, Result] = json.loads(written.read_text())
    return results


def patched_on(recipe: Recipe, python: Path) -> Result:
    """Measure a recipe in a copy of the project, with its patch for 4.0."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("cookbook", "recipes", "tests", "verdicts"):
            shutil.copytree(ROOT / name, root / name)
        shutil.copy(ROOT / "app.py", root)
        run("git", "-C", root, "apply", recipe.patch_for_4_0)
        return asyncio.run(recipe_on(recipe.name, python, root))


async def recipe_on(name: str, python: Path, root: Path = ROOT) -> Result:
    """Play a recipe's dialogue, and run its tests if it comes true."""
    if broken := await play(root / "recipes" / f"{name}.py", python):
        return {"verdict": "fails", "transcript": [broken]}
    if failed := failing_test(name, python, root):
        return {"verdict": "runs", "transcript": [failed]}
    return {"verdict": "passes its tests"}


def failing_test(module: str, python: Path, root: Path = ROOT) -> str:
    """Return the first of a recipe's tests that fails, or nothing.

    The tests of an answer run on its production file as well, and behind nginx,
    which is not measured here.
    """
    try:
        ended = run_tests(
            python,
            *("-x", "-k", "not production and not behind_nginx"),
            *("-p", "verdicts.older", "-p", "pytest_asyncio.plugin"),
            *("-o", "asyncio_mode=auto"),
            *("-o", "asyncio_default_fixture_loop_scope=function"),
            root / "tests" / f"test_{module}.py",
            root=root,
        )
    except subprocess.TimeoutExpired:
        return "its tests hang"
    if ended.returncode == 0:
        return ""
    if ended.returncode == pytest.ExitCode.INTERNAL_ERROR:
        # A package is missing here: that says nothing of a release.
        raise click.ClickException(ended.stderr.strip())
    # An id may have spaces in it. The message comes after it.
    line = r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$"
    found = re.search(line, ended.stdout, re.MULTILINE)
    return found[1] if found else "its tests cannot be run"


def run_tests(
    python: Path, *arguments: str | Path, root: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugins and settings that are named, and no other."""
    return subprocess.run(
        [
            *(python, "-m", "pytest", "-q", "-c", "/dev/null"),
            *("--rootdir", root, "-p", "no:cacheprovider", *arguments),
        ],
        cwd=root,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(root),
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


async def play(file: Path, python: Path) -> str:
    """Return what goes wrong: an error in the log, or a broken promise."""
    # Before 3.14, aiohttp does not show which port the system has chosen.
    docs = Docs.of_source(file.read_text(encoding="utf-8"))
    async with sandboxed(file, str(python), free_port()) as runner:
        broken = await runner.play(docs.dialogue)
        errors = [line for line in runner.log if "Error: " in line]
        if broken and errors:
            # The path of the file is that of this machine.
            return errors[-1].partition(" (/")[0]
        return broken


def table_of(measured: dict[str, Result]) -> Result:
    """Turn columns into rows: for each claim and recipe, all releases."""
    newest = measured[RELEASES[-1]]
    table: Result = {
        "python": platform.python_version(),
        "versions": {each: measured[each]["version"] for each in RELEASES},
    }
    if "claims" in newest:
        table["claims"] = {
            name: {
                **{key: claim[key] for key in claim if key not in CELL},
                "releases": {
                    each: cell_of(measured[each]["claims"][name])
                    for each in RELEASES
                },
            }
            for name, claim in newest["claims"].items()
        }
    if "recipes" in newest:
        table["recipes"] = {
            name: {each: measured[each]["recipes"][name] for each in RELEASES}
            for name in newest["recipes"]
        }
    return table


def cell_of(result: Result) -> Result:
    """Return what a result says of its release."""
    return {key: result[key] for key in CELL}


def compare(release: str) -> int:
    """Measure what is released now; return 1 where a verdict has changed."""
    needed = ("aiohttp", "aiohttp-session", "pytest", "redis", "uvloop")
    packages = ["--upgrade", *needed]
    python = environment(release, packages)
    claims, column = claims_on(python), RELEASES[-1]
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["claims"]
    changed = 0
    for name, result in claims.items():
        before = known[name]["releases"][column]["verdict"]
        if result["verdict"] != before:
            changed = 1
            click.echo(f"{name}: {before} on {column}, now {result['verdict']}")
            click.echo("  " + "\n  ".join(result["transcript"]))
    click.echo(f"{len(claims)} claims measured on {version_of(python)}")
    return changed


if __name__ == "__main__":
    main()
