"""Where the time of a recipe goes, by Python's own profiler.

Run: `python -m benchmarks.profile NAME [SUBJECT]`. It repeats the first of the
recipe's comparisons, and prints the functions that took most by themselves. The
profiler makes short functions look longer than they are.
"""

import asyncio
import pstats
import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import click
import psutil

from benchmarks.compare import Subject
from benchmarks.measure import pin
from benchmarks.recipes.__main__ import NAMES

LINES = 18
"""Functions that are printed."""


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.argument("subject", default="the answer")
def main(name: str, subject: str) -> None:
    """Profile a SUBJECT of the recipe NAME."""
    pin(psutil.Process(), -1)
    module = import_module(f"benchmarks.recipes.{name}")
    comparison = next(iter(module.COMPARISONS.values()))
    [chosen] = [each for each in comparison.subjects if each.name == subject]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "profile")
        # Without the -m that runs it.
        program = chosen.command[1:]
        command = ("-m", "benchmarks.profiled", str(output), *program)
        profiled = replace(comparison, subjects=[Subject(subject, command)])
        asyncio.run(profiled.run(lambda: None))
        stats = pstats.Stats(str(output))
        stats.sort_stats("tottime").print_stats(LINES)


if __name__ == "__main__":
    main()
