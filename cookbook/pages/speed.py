"""What the recipes cost beside their peers: the figures of `make bench`."""

import json
import math
import re
import statistics
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import hdrs, web

from cookbook.pages.documents import REVALIDATE, Document, Negotiated
from cookbook.pages.rendering import render

UNITS = {
    "cpu": (1e6, "µs"),
    "p50": (1e3, "ms"),
    "p99": (1e3, "ms"),
    "answered": (1e3, "ms"),
    "gone": (1e3, "ms"),
    "rate": (1.0, "/s"),
    "bytes": (1e-3, "kB"),
    "memory": (2.0**-20, "MiB"),
    "socket": (2.0**-10, "KiB"),
}
"""How each figure is shown: a factor, and its unit after that."""


CLOCK = frozenset({"p50", "p99", "answered", "gone", "rate"})
"""What counts the clock's time, and so depends on what else runs."""

BUSY = 1.5
"""Load for each core from which on that is not judged. Our own is below it."""


class Range(NamedTuple):
    """The median of some rounds, with the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Range":
        return cls(statistics.median(values), min(values), max(values))


class NotMeasuredError(LookupError):
    """The file of results has no such figure."""


class Figure(NamedTuple):
    """A figure of a comparison: of a subject, or divided by another's."""

    comparison: str
    what: str
    subject: str
    other: str = ""


@dataclass(frozen=True)
class Comparison:
    """Subjects that took turns; `subjects` has the rounds of each figure."""

    title: str
    unit: str
    subjects: dict[str, dict[str, list[float]]]

    def figure(self, figure: Figure) -> Range:
        """Return a figure; a ratio is that of rounds which took turns."""
        ours = self._rounds(figure.subject, figure.what)
        if not figure.other:
            return Range.of(ours)
        theirs = self._rounds(figure.other, figure.what)
        return Range.of([a / b for a, b in zip(ours, theirs, strict=True)])

    def _rounds(self, subject: str, what: str) -> list[float]:
        try:
            return self.subjects[subject][what]
        except KeyError:
            raise NotMeasuredError(f"{what} of {subject}") from None

    @property
    def columns(self) -> list[str]:
        """The figures that all subjects have, in the order of `UNITS`."""
        found = [set(figures) for figures in self.subjects.values()]
        return [name for name in UNITS if all(name in each for each in found)]

    @property
    def rows(self) -> list[list[str]]:
        """Return a row for each subject: figures, and the first beside it."""
        first = next(iter(self.subjects))
        rows = []
        for subject in self.subjects:
            ratio = self.figure(Figure("", "cpu", subject, first))
            row = [subject, *(self._cell(subject, n) for n in self.columns)]
            rows.append([*row, digits(ratio.median)])
        return rows

    def _cell(self, subject: str, what: str) -> str:
        factor, unit = UNITS[what]
        values = [factor * value for value in self.subjects[subject][what]]
        median, low, high = Range.of(values)
        spread = f" ({digits(low)} to {digits(high)})" if what == "cpu" else ""
        return f"{digits(median)} {unit}{spread}"

    @property
    def headings(self) -> list[str]:
        first = next(iter(self.subjects))
        names = {
            "cpu": f"CPU for {self.unit}",
            "p50": "p50",
            "p99": "p99",
            "answered": "answered after",
            "gone": "all gone after",
            "rate": "done in a second",
            "bytes": "sent",
            "memory": "memory",
            "socket": "memory of a socket",
        }
        columns = [names[name] for name in self.columns]
        return ["", *columns, f"CPU : {first}"]


@dataclass(frozen=True)
class Curve:
    """How a cost grows: for each subject its points, with all rounds."""

    title: str
    x: str
    unit: str
    subjects: dict[str, list[tuple[float, list[float]]]]

    def medians(self, subject: str) -> list[tuple[float, float]]:
        """Return the points of a subject, in µs."""
        return [
            (x, 1e6 * statistics.median(rounds))
            for x, rounds in self.subjects[subject]
        ]

    def exponent(self, subject: str) -> float:
        """Return the power of `x` that the cost grows by: 1 is as fast as x.

        It is the slope of a line through the logarithms.
        """
        points = self.medians(subject)
        return statistics.linear_regression(
            [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
        ).slope

    @property
    def rows(self) -> list[list[str]]:
        """Return a row for each subject: its costs, and the exponent."""
        return [
            [
                subject,
                *(f"{digits(y)} µs" for _, y in self.medians(subject)),
                f"{self.exponent(subject):.2f}",
            ]
            for subject in self.subjects
        ]

    @property
    def headings(self) -> list[str]:
        points = next(iter(self.subjects.values()))
        return ["", *(f"{x:,.0f} {self.x}" for x, _ in points), "exponent"]


@dataclass(frozen=True)
class Measured:
    """What was measured of a recipe, and what with."""

    name: str
    commit: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    load: float
    tool: str
    files: dict[str, str]
    comparisons: dict[str, Comparison]
    curves: dict[str, Curve]

    def figure(self, figure: Figure) -> Range:
        """Return a figure of a comparison, or the exponent of a curve.

        Raises NotMeasuredError where there is none, or none to rely on.
        """
        if self.is_busy and figure.what in CLOCK:
            raise NotMeasuredError("the machine was busy with something else")
        if figure.what == "exponent" and figure.comparison in self.curves:
            curve = self.curves[figure.comparison]
            return Range.of([curve.exponent(figure.subject)])
        if figure.comparison not in self.comparisons:
            raise NotMeasuredError(figure.comparison)
        return self.comparisons[figure.comparison].figure(figure)

    @property
    def is_busy(self) -> bool:
        """Whether the machine had other work when the measurement began."""
        return bool(self.load > BUSY * self.machine["cores"])

    def changed(self, root: Path) -> list[str]:
        """Return the recipe's files that are others than those measured."""
        return [
            name
            for name, digest in self.files.items()
            if name.startswith("recipes/") and digest_of(root / name) != digest
        ]


def digest_of(path: Path) -> str:
    """Return the beginning of the SHA-256 of a file, in hexadecimal digits."""
    if not path.exists():
        return ""
    return sha256(path.read_bytes()).hexdigest()[:16]


def measured_from(name: str, values: dict[str, Any]) -> Measured:
    """Read what `benchmarks/recipes` has written of a recipe."""
    return Measured(
        name=name,
        commit=values["commit"],
        date=values["date"],
        machine=values["machine"],
        versions=values["versions"],
        load=values["load at the start"],
        tool=values["tool"],
        files=values["files"],
        comparisons={
            key: Comparison(**each)
            for key, each in values["comparisons"].items()
        },
        curves={key: Curve(**each) for key, each in values["curves"].items()},
    )


@dataclass(frozen=True)
class Goal:
    """What a figure has to be, and why it is not, where it is not."""

    text: str
    figure: Figure
    at_least: float = 0
    at_most: float = math.inf
    why: str = ""


@dataclass(frozen=True)
class Said:
    """What is said of a recipe: a sentence with figures in it, and goals.

    `profile` tells where the time goes, where that was looked at.
    """

    sentence: str
    figures: dict[str, Figure]
    goals: list[Goal]
    profile: str = ""

    def sentence_of(self, measured: Measured) -> str:
        """Return the sentence with the figures that were measured."""
        return re.sub(
            r"{(\w+)}",
            lambda name: shown(self.figures[name[1]], measured),
            self.sentence,
        )


def shown(figure: Figure, measured: Measured) -> str:
    """Return a figure as text: a ratio without a unit."""
    median = measured.figure(figure).median
    if figure.what == "exponent":
        return f"{median:.2f}"
    if figure.other:
        return digits(median)
    factor, unit = UNITS[figure.what]
    return f"{digits(factor * median)} {unit}"


def read_said(file: Path) -> dict[str, Said]:
    """Read `speed.toml`: what is said of each recipe."""
    tables = tomllib.loads(file.read_text("utf-8"))
    return {
        name: Said(
            sentence=table["sentence"],
            figures={
                key: Figure(*values)
                for key, values in table.get("figures", {}).items()
            },
            goals=[
                Goal(**{**goal, "figure": Figure(*goal["figure"])})
                for goal in table.get("goals", [])
            ],
            profile=table.get("profile", ""),
        )
        for name, table in tables.items()
    }


class Speed:
    """What was measured, and what is said of it.

    `results` need not be there: an installed copy has no benchmarks.
    """

    def __init__(self, results: Path, said: Path) -> None:
        self._root = results.parents[1]
        values = json.loads(results.read_text("utf-8"))
        self.said = read_said(said)
        self.recipes = {
            name: measured_from(name, each)
            for name, each in values.get("recipes", {}).items()
        }

    def sentence(self, name: str) -> str:
        """Return the sentence on a recipe; "" where it is not measured."""
        if name not in self.recipes or name not in self.said:
            return ""
        try:
            return self.said[name].sentence_of(self.recipes[name])
        except NotMeasuredError:
            return ""

    def profile(self, name: str) -> str:
        """Return where the time of a recipe goes, or ""."""
        return self.said[name].profile if name in self.said else ""

    def goal_rows(self) -> list[list[str]]:
        """Return each goal, with the recipe, what was measured, and so what."""
        return [
            [name, goal.text, *self._judge(name, goal)]
            for name, said in self.said.items()
            for goal in said.goals
        ]

    def _judge(self, name: str, goal: Goal) -> list[str]:
        try:
            measured = self.recipes[name]
            median = measured.figure(goal.figure).median
        except NotMeasuredError as error:
            return ["not measured", str(error)]
        except KeyError:
            return ["not measured", ""]
        value = median
        if not goal.figure.other and goal.figure.what in UNITS:
            value *= UNITS[goal.figure.what][0]
        is_reached = goal.at_least <= value <= goal.at_most
        text = shown(goal.figure, measured)
        return [text, "reached" if is_reached else f"missed. {goal.why}"]

    def changed(self, name: str) -> list[str]:
        """Return the files of a recipe that have changed since."""
        return self.recipes[name].changed(self._root)


def read_speed(results: Path, said: Path) -> Speed | None:
    """Read what was measured; where the files are not installed, nothing."""
    if not results.exists():
        return None
    return Speed(results, said)


class SpeedPage:
    """The page at `/speed`, and its pictures, which are drawn beforehand."""

    def __init__(self, results: Path, said: Path) -> None:
        self._results = results
        self._said = said
        self._pictures = results.with_name("pictures")
        page = Document(lambda: self._render("speed.html"))
        markdown = Document(lambda: self._render("speed.md"), "text/markdown")
        self._page = Negotiated(page, markdown, "/speed.md")

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the page, of its Markdown, and of pictures."""
        return [
            *self._page.routes("/speed"),
            web.get("/speed/{picture:[a-z0-9_-]+}.svg", self.picture),
        ]

    async def picture(self, request: web.Request) -> web.FileResponse:
        """Send a picture; one that is not there is a 404."""
        name = request.match_info["picture"]
        return web.FileResponse(
            self._pictures / f"{name}.svg",
            headers={
                hdrs.CONTENT_TYPE: "image/svg+xml",
                hdrs.CACHE_CONTROL: REVALIDATE,
            },
        )

    def _render(self, template: str) -> str:
        pictures = {path.stem for path in self._pictures.glob("*.svg")}
        speed = read_speed(self._results, self._said)
        return render(template, speed=speed, pictures=pictures)


def digits(number: float) -> str:
    """Return a number with three digits, or all that it has before the dot."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
