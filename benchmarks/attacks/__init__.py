"""What should break the cookbook, and does not: `make attack`.

An attack is a module in here whose name does not begin with `_`. It has an
`ATTACK`, and its docstring says in the first line what is done. It starts the
programs under attack in processes of their own, from the project's folder that
it is given, and judges by what it sees from outside: clients, files, engines.
It shares no code with what it judges. What it may do is bounded in count and
in time, all traffic stays on this machine, and its random choices come from a
seed.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

Advance = Callable[[], None]
"""To be called once for each unit of an attack's size that is done."""


class Found(NamedTuple):
    """What an attack has seen."""

    counts: Mapping[str, int | float]
    """How much was done, and what came of it."""
    faults: list[str]
    """What breaks a promise, a line each; none where all is well."""


class Attack(NamedTuple):
    """A way to break what the cookbook promises, with its sizes."""

    run: Callable[[Path, int, int, Advance], Awaitable[Found]]
    """Called with the project's folder, a size, a seed, and an `Advance`."""
    promises: tuple[str, ...]
    """The ids of what it puts to the test."""
    files: tuple[str, ...]
    """What is under attack: files and folders of the project."""
    unit: str
    """What a size counts."""
    full: int
    """The size of `make attack`."""
    small: int
    """The size of `make check-full`: it takes some seconds."""
    longest: float
    """Seconds that a unit may take; an attack that takes longer hangs."""
    linux: bool = False
    """Whether it does something that Linux alone lets it do."""
