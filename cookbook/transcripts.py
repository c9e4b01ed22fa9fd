"""What was answered to each line of a dialogue, recorded once.

The public edition has no server to try a line on. It shows these instead.
"""

import json
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from cookbook.docs import Step
from cookbook.traps import Trap


@dataclass(frozen=True)
class Transcript:
    """The lines of a dialogue, and what each of them printed."""

    lines: list[str]
    printed: list[str]

    @classmethod
    def of_steps(cls, steps: list[Step], printed: list[str]) -> Self:
        """Join the steps of a dialogue and what they printed."""
        return cls([step.line for step in steps], printed)

    def is_of(self, steps: list[Step]) -> bool:
        """Tell whether this is the dialogue that was played."""
        return self.lines == [step.line for step in steps]

    def keeps_promises(self, steps: list[Step]) -> bool:
        """Tell whether each step printed what its docstring promises."""
        return self.is_of(steps) and all(
            step.pattern.fullmatch(printed)
            for step, printed in zip(steps, self.printed, strict=True)
        )


@dataclass(frozen=True)
class Transcripts:
    """All that was recorded, on one day and one machine.

    `answers` have the names of recipes as keys. `wrong` is what a trap printed
    and `right` what its pair did, by the name of the recipe, a slash, and that
    of the trap.
    """

    date: str
    machine: str
    versions: dict[str, str]
    answers: dict[str, Transcript]
    wrong: dict[str, Transcript]
    right: dict[str, Transcript]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file that `write` has written."""
        values = json.loads(file.read_text(encoding="utf-8"))
        for part in ("answers", "wrong", "right"):
            recorded = values[part].items()
            values[part] = {name: Transcript(**each) for name, each in recorded}
        return cls(**values)

    def with_changes(self, fresh: Self) -> Self:
        """Return all, and of some recipes what was recorded anew."""
        names = fresh.answers.keys()
        return replace(
            fresh,
            answers=self.answers | fresh.answers,
            wrong=_without(self.wrong, names) | fresh.wrong,
            right=_without(self.right, names) | fresh.right,
        )

    def write(self, file: Path) -> None:
        """Write all to a file, as JSON in an order that does not change."""
        values = {
            **vars(self),
            "answers": _sorted(self.answers),
            "wrong": _sorted(self.wrong),
            "right": _sorted(self.right),
        }
        text = json.dumps(values, ensure_ascii=False, indent=1)
        file.write_text(text + "\n", encoding="utf-8")


def _without(
    of_traps: dict[str, Transcript], recipes: Container[str]
) -> dict[str, Transcript]:
    return {
        name: transcript
        for name, transcript in of_traps.items()
        if name.partition("/")[0] not in recipes
    }


def _sorted(transcripts: dict[str, Transcript]) -> dict[str, object]:
    return {name: vars(transcripts[name]) for name in sorted(transcripts)}


def name_of(trap: Trap) -> str:
    """Return what a trap is called in `wrong` and `right`."""
    return f"{trap.file.parent.name}/{trap.name}"
