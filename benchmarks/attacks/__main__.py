"""Attack the cookbook, and record what was found: `make attack`.

The figures are in `attacks.json`. What is recorded for the same seed, size and
files is not done again, so that a run that was ended goes on where it was.
"""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import click

from benchmarks.attacks import Attack, Found
from benchmarks.measure import ROOT, provenance

RESULTS = ROOT / "benchmarks" / "attacks.json"
PACKAGES = ("aiohttp", "aiosqlite", "gunicorn", "psycopg", "redis", "uvloop")

START = 120.0
"""Seconds that an attack may take, whatever its size."""

MOST_FAULTS = 20
"""Faults that are recorded; the others are counted."""


@click.command(help=__doc__)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--small", is_flag=True, help="Try a small size; record nothing.")
@click.option("--size", type=click.IntRange(min=1), help="Try another size.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--again", is_flag=True, help="Do again what is recorded.")
def main(
    names: tuple[str, ...],
    small: bool,
    size: int | None,
    seed: int,
    again: bool,
) -> None:
    attacks = dict(find_attacks())
    if unknown := sorted(set(names) - set(attacks)):
        raise click.UsageError(
            f"no attack is called {unknown[0]}; there are {', '.join(attacks)}"
        )
    breaches = 0
    for name in names or attacks:
        attack: Attack = attacks[name].ATTACK
        if attack.linux and sys.platform != "linux":
            click.echo(f"{name}: left out, as only Linux can do this")
            continue
        wanted = size or (attack.small if small else attack.full)
        inputs = {
            "size": wanted,
            "seed": seed,
            "digest": digest_of(attacks[name]),
        }
        result = read_results().get(name, {})
        is_recorded = all(result.get(key) == inputs[key] for key in inputs)
        if small or again or not is_recorded:
            result = {**inputs, **carry_out(name, attack, wanted, seed)}
            if not small:
                record(name, {**describe(attacks[name]), **result})
        breaches += bool(result["faults"])
        report(name, attack.unit, result)
    if breaches:
        sys.exit(f"{breaches} have found something")


def find_attacks() -> Iterator[tuple[str, ModuleType]]:
    """Yield each attack's name and module, in the order of the names."""
    for module in iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("_"):
            yield (
                module.name,
                import_module(f"benchmarks.attacks.{module.name}"),
            )


def carry_out(
    name: str, attack: Attack, size: int, seed: int
) -> dict[str, Any]:
    """Run an attack, and return what it has found and how long it took."""
    began = time.monotonic()
    with click.progressbar(length=size, label=name) as bar:
        found = asyncio.run(
            bounded(attack, ROOT, size, seed, lambda: bar.update(1))
        )
    return {
        "seconds": round(time.monotonic() - began, 1),
        "found": dict(found.counts),
        "faults": len(found.faults),
        "first faults": found.faults[:MOST_FAULTS],
    }


async def bounded(
    attack: Attack,
    root: Path,
    size: int,
    seed: int,
    advance: Any,
    start: float = START,
) -> Found:
    """Run an attack, and call it a fault if it does not end."""
    limit = start + size * attack.longest
    try:
        async with asyncio.timeout(limit) as bound:
            return await attack.run(root, size, seed, advance)
    except TimeoutError:
        if not bound.expired():
            raise  # a wait of the attack's own
        return Found({}, [f"it did not end within {limit:.0f} s"])


def digest_of(module: ModuleType) -> str:
    """Return what changes with a byte of an attack or of what it attacks."""
    digest = hashlib.sha256(Path(str(module.__file__)).read_bytes())
    for name in module.ATTACK.files:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def describe(module: ModuleType) -> dict[str, Any]:
    """Return what an attack says of itself, and where it runs."""
    attack: Attack = module.ATTACK
    title, *_ = str(module.__doc__).splitlines()
    return {
        "title": title,
        "promises": attack.promises,
        "unit": attack.unit,
        "goal": attack.full,
        **provenance(PACKAGES),
    }


def read_results() -> dict[str, Any]:
    if not RESULTS.exists():
        return {}
    results: dict[str, Any] = json.loads(RESULTS.read_text())
    return results


def record(name: str, result: dict[str, Any]) -> None:
    results = {**read_results(), name: result}
    text = json.dumps(dict(sorted(results.items())), indent=2)
    RESULTS.write_text(text + "\n")


def report(name: str, unit: str, result: dict[str, Any]) -> None:
    """Print what was found, in a line and a further one for each fault."""
    what = f"{name}: {result['size']} {unit}, seed {result['seed']}"
    click.echo(f"{what}, {result['faults'] or 'no'} faults")
    for key, value in result["found"].items():
        click.echo(f"    {key}: {value}")
    for fault in result["first faults"]:
        click.echo(f"    FAULT {fault}")


if __name__ == "__main__":
    main()
