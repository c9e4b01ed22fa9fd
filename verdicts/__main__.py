"""Measures the FAQ's claims, and the recipes, on seven releases of aiohttp.

`make verdicts` writes results.json, which the board shows. With `newest` or
`pre`, only what the package registry has now is measured, compared with the
last column of the board, and nothing is written.
"""

import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from socket import create_server
from tempfile import TemporaryDirectory
from typing import Any

import click
from packaging.version import Version

import app
from cookbook.pages.content import file_of, name_of
from cookbook.recipe import Recipe, dialogue
from cookbook.stage import staged

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results.json"
REQUIREMENTS = {
    file.stem: file for file in (HERE / "requirements").glob("*.txt")
}
RELEASES = sorted(REQUIREMENTS, key=Version)
OLDER = tomllib.loads((HERE / "older.toml").read_text(encoding="utf-8"))
TIMEOUT = 120.0

Result = dict[str, Any]


@click.command(help=__doc__)
@click.argument("release", required=False, type=click.Choice(["newest", "pre"]))
def main(release: str | None) -> None:
    if release:
        sys.exit(compare(release))
    measured: dict[str, Result] = {}
    with click.progressbar(RELEASES, label="verdicts") as releases:
        for each in releases:
            measured[each] = measure(each)
    RESULTS.write_text(
        json.dumps(table_of(measured), indent=1) + "\n", encoding="utf-8"
    )
    click.echo(f"written: {RESULTS.relative_to(ROOT)}")


def measure(release: str) -> Result:
    """Measure all claims and all recipes on one release."""
    python = environment(release, ["-r", str(REQUIREMENTS[release])])
    return {
        "version": version_of(python),
        "claims": claims_on(python),
        "recipes": {
            name_of(recipe): asyncio.run(recipe_on(recipe, python))
            for recipe in app.COOKBOOK.values()
        },
    }


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


def claims_on(python: Path) -> dict[str, Result]:
    """Run the claims' tests; a claim that fails is a result, too."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "results.json")
        run_tests(python, "--results", file, HERE / "test_claims.py")
        results: dict[str, Result] = json.loads(file.read_text())
    return results


async def recipe_on(recipe: Recipe, python: Path) -> Result:
    """Play a recipe's dialogue and run its tests.

    If the dialogue fails, it is played again with the line changed.
    """
    file = file_of(recipe)
    broken = await play(recipe, file, python)
    if not broken:
        if failed := failing_test(name_of(recipe), python):
            return {"verdict": "runs", "transcript": [failed]}
        return {"verdict": "passes its tests"}
    if change := OLDER.get(name_of(recipe)):
        source = file.read_text(encoding="utf-8")
        with TemporaryDirectory() as folder:
            changed = Path(folder, file.name)
            text = source.replace(change["line"], change["older"])
            changed.write_text(text, encoding="utf-8")
            if not await play(recipe, changed, python):
                return {"verdict": "runs with one line changed"}
    return {"verdict": "fails", "transcript": [broken]}


def failing_test(module: str, python: Path) -> str:
    """Return the first of a recipe's own tests that fails, or nothing."""
    try:
        ended = run_tests(
            python,
            *("-x", "-p", "verdicts.older", "-p", "pytest_asyncio.plugin"),
            *("-o", "asyncio_mode=auto"),
            *("-o", "asyncio_default_fixture_loop_scope=function"),
            ROOT / "tests" / f"test_{module}.py",
        )
    except subprocess.TimeoutExpired:
        return "its tests hang"
    if ended.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    return found[1] if found else "its tests cannot be run"


def run_tests(
    python: Path, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    """Run pytest with no plugin and no setting but those named."""
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


async def play(recipe: Recipe, file: Path, python: Path) -> str:
    """Return what goes wrong: an error in the log, or a broken promise."""
    # Before 3.14, aiohttp does not tell which port the system has chosen.
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with staged(file, str(python), port) as player:
        broken = await player.play(dialogue(recipe))
        errors = [line for line in player.log if "Error: " in line]
        if broken and errors:
            # Without the place in this machine.
            return errors[-1].partition(" (/")[0]
        return broken


def table_of(measured: dict[str, Result]) -> Result:
    """Turn columns into rows: for each claim and recipe, all releases."""
    newest = measured[RELEASES[-1]]
    claims = {
        name: {
            **{key: result.pop(key) for key in ("question", "text")},
            "releases": {
                each: {
                    key: measured[each]["claims"][name][key]
                    for key in ("verdict", "transcript")
                }
                for each in RELEASES
            },
        }
        for name, result in newest["claims"].items()
    }
    recipes = {
        name: {each: measured[each]["recipes"][name] for each in RELEASES}
        for name in newest["recipes"]
    }
    return {
        "python": platform.python_version(),
        "versions": {each: measured[each]["version"] for each in RELEASES},
        "claims": claims,
        "recipes": recipes,
    }


def compare(release: str) -> int:
    """Measure what is released now; return 1 where a verdict has changed."""
    packages = ["--upgrade", "aiohttp", "pytest", "aiohttp-session", "redis"]
    if release == "pre":
        packages.append("--pre")
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
