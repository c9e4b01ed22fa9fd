"""Measures the FAQ's claims, and the recipes, on seven releases of aiohttp.

`make verdicts` writes results.json, which the board shows. `--only` measures
the claims or the recipes, and keeps the other results. With `newest`, the
claims are measured on what the package registry has now, and compared with the
last column of the board. Nothing is written then.
"""

import asyncio
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import pytest
from packaging.version import Version

import app
from cookbook.recipe import Recipe
from cookbook.sandbox import sandboxed
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


@click.command(help=__doc__)
@click.argument("release", required=False, type=click.Choice(["newest"]))
@click.option("--only", type=click.Choice(PARTS), help="Measure this part.")
def main(release: str | None, only: str | None) -> None:
    if release:
        sys.exit(compare(release))
    parts = [only] if only else PARTS
    measured: dict[str, Result] = {}
    with click.progressbar(RELEASES, label="verdicts") as releases:
        for each in releases:
            measured[each] = measure(each, parts)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    results.update(table_of(measured))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    click.echo(f"written: {RESULTS.relative_to(ROOT)}")


def measure(release: str, parts: Collection[str]) -> Result:
    """Measure claims, recipes or both on one release."""
    python = environment(release, ["-r", str(REQUIREMENTS[release])])
    measured: Result = {"version": version_of(python)}
    if "claims" in parts:
        measured["claims"] = claims_on(python)
        refuse_errors(measured["claims"], release)
    if "recipes" in parts:
        measured["recipes"] = {
            recipe.name: asyncio.run(recipe_on(recipe, python))
            for recipe in app.COOKBOOK
        }
    return measured


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
        command, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT
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


async def recipe_on(recipe: Recipe, python: Path) -> Result:
    """Play a recipe's dialogue, and run its tests if it comes true."""
    if broken := await play(recipe, python):
        return {"verdict": "fails", "transcript": [broken]}
    if failed := failing_test(recipe.name, python):
        return {"verdict": "runs", "transcript": [failed]}
    return {"verdict": "passes its tests"}


def failing_test(module: str, python: Path) -> str:
    """Return the first of a recipe's tests that fails, or nothing.

    The tests of an answer run on its production file as well, which is not
    measured here.
    """
    try:
        ended = run_tests(
            python,
            *("-x", "-k", "not production"),
            *("-p", "verdicts.older", "-p", "pytest_asyncio.plugin"),
            *("-o", "asyncio_mode=auto"),
            *("-o", "asyncio_default_fixture_loop_scope=function"),
            ROOT / "tests" / f"test_{module}.py",
        )
    except subprocess.TimeoutExpired:
        return "its tests hang"
    if ended.returncode == 0:
        return ""
    # An id may have spaces in it. The message comes after it.
    line = r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$"
    found = re.search(line, ended.stdout, re.MULTILINE)
    return found[1] if found else "its tests cannot be run"


def run_tests(
    python: Path, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugins and settings that are named, and no other."""
    return subprocess.run(
        [
            *(python, "-m", "pytest", "-q", "-c", "/dev/null"),
            *("--rootdir", ROOT, "-p", "no:cacheprovider", *arguments),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


async def play(recipe: Recipe, python: Path) -> str:
    """Return what goes wrong: an error in the log, or a broken promise."""
    # Before 3.14, aiohttp does not show which port the system has chosen.
    async with sandboxed(recipe.file, str(python), free_port()) as runner:
        broken = await runner.play(recipe.docs.dialogue)
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
