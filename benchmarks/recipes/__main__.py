"""Measure the recipes beside their peers.

Run: `make bench`, or `python -m benchmarks.recipes [NAME ...]`. The figures are
in `results.json`. A recipe whose files are those that were measured is skipped;
`--again` measures it all the same.
"""

import json
import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import psutil
import uvloop

from benchmarks.compare import Comparison, Curve
from benchmarks.measure import RESULTS, ROOT, pin, record
from benchmarks.wrk import wrk_version
from cookbook.pages.speed import digest_of

FOLDER = Path(__file__).parent

NAMES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
"""The recipes that have something to compare."""


def files_of(name: str) -> dict[str, str]:
    """Return what a recipe's figures depend on: files, and their digests."""
    peers = sorted((ROOT / "benchmarks" / "peers" / name).glob("*.py"))
    paths = [
        ROOT / "recipes" / f"{name}.py",
        ROOT / "recipes" / "production" / f"{name}.py",
        FOLDER / f"{name}.py",
        *peers,
    ]
    return {
        path.relative_to(ROOT).as_posix(): digest_of(path)
        for path in paths
        if path.exists()
    }


def is_measured(name: str) -> bool:
    """Tell whether there are figures of these very files."""
    results = json.loads(RESULTS.read_text())
    measured = results.get("recipes", {}).get(name, {})
    return bool(measured.get("files") == files_of(name))


def rounded(values: list[float]) -> list[float]:
    """Return values with the digits that mean something."""
    return [float(f"{value:.4g}") for value in values]


async def measure(name: str) -> None:
    """Measure a recipe, and write its figures down."""
    module = import_module(f"benchmarks.recipes.{name}")
    comparisons: dict[str, Comparison] = module.COMPARISONS
    files, load = files_of(name), os.getloadavg()[0]
    start = time.monotonic()
    curves: dict[str, Curve] = getattr(module, "CURVES", {})
    figures: dict[str, Any] = {}
    grown: dict[str, Any] = {}
    steps = sum(each.steps for each in comparisons.values())
    steps += sum(each.steps for each in curves.values())
    with click.progressbar(length=steps, label=f"{name:20}") as bar:
        for key, comparison in comparisons.items():
            rounds = await comparison.run(lambda: bar.update(1))
            figures[key] = {
                "title": comparison.title,
                "unit": comparison.unit,
                "subjects": {
                    subject: {
                        what: rounded(values)
                        for what, values in measured.items()
                    }
                    for subject, measured in rounds.items()
                },
            }
        for key, curve in curves.items():
            points = await curve.run(lambda: bar.update(1))
            grown[key] = {
                "title": curve.title,
                "x": curve.x,
                "unit": curve.unit,
                "subjects": {
                    subject: [[x, rounded(values)] for x, values in each]
                    for subject, each in points.items()
                },
            }
    record(
        "recipes",
        {
            "load at the start": round(load, 1),
            "tool": wrk_version() or "our own",
            "seconds": round(time.monotonic() - start),
            "files": files,
            "comparisons": figures,
            "curves": grown,
        },
        part=name,
    )


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--again", is_flag=True, help="Measure what was measured, too.")
def main(names: tuple[str, ...], again: bool) -> None:
    """Measure the recipes NAMES, or all."""
    pin(psutil.Process(), -1)
    failed = []
    for name in names or NAMES:
        if is_measured(name) and not again:
            click.echo(f"{name:20}  measured before")
            continue
        try:
            uvloop.run(measure(name))
        except (AssertionError, OSError, RuntimeError) as error:
            # A machine that is too busy, for one. The others can be measured.
            click.echo(f"{name} is not measured: {error!r}", err=True)
            failed.append(name)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
