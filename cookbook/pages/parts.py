"""The parts of the cluster: what each holds, and what is lost with it."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Loss:
    """What is lost when a part dies, and the test that shows it."""

    lost: str
    test: str

    @property
    def test_name(self) -> str:
        """The name of the function."""
        return self.test.partition("::")[2]

    @property
    def page(self) -> str:
        """The page of the file that the test is in."""
        file = Path(self.test.partition("::")[0])
        recipe = file.stem.removeprefix("test_")
        return f"/recipes/production/{recipe}/tests"


@dataclass(frozen=True)
class Part:
    """A program of the cluster, of which `count` processes run.

    `row` and `column` say where the drawing has it; without a column, it is as
    wide as both. `talks_to` names other parts by their keys, and what about.
    """

    key: str
    name: str
    note: str
    holds: str
    losses: list[Loss]
    row: int
    column: str | None = None
    count: int = 1
    talks_to: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name, and how many there are."""
        return self.name if self.count == 1 else f"{self.count} {self.name}"


def read_parts(file: Path) -> list[Part]:
    """Read the parts, the outermost first."""
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return [_read_part(key, table) for key, table in tables.items()]


def _read_part(key: str, table: dict[str, Any]) -> Part:
    losses = [Loss(**loss) for loss in table.pop("losses")]
    return Part(key=key, losses=losses, **table)
