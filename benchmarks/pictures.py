"""Draw the pictures of the page /speed from `results.json`.

Run: `python -m benchmarks.pictures`, or `make bench`. They are in `pictures/`,
each for light and for dark screens, and are the same for the same figures.
"""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing

from benchmarks.measure import RESULTS, ROOT
from cookbook.pages.speed import Comparison, Curve, Figure, digits, read_speed

FOLDER = RESULTS.with_name("pictures")
SAID = ROOT / "recipes" / "speed.toml"

WIDTH = 3.6
"""Inches of 100 pixels: as wide as a narrow screen has room for."""

INKS = {"light": "#1c1c1c", "dark": "#e6e6e6"}
COLOURS = {
    "light": ("#0b62a4", "#b04a00", "#2f7d32", "#7b3fa0", "#8a6d00", "#555555"),
    "dark": ("#6bb3f0", "#ff9d57", "#7fd083", "#cf9bee", "#dfc04a", "#b5b5b5"),
}
MARKERS = "osD^vP"


def draw_all() -> Iterator[tuple[Path, str]]:
    """Return where each picture belongs, and its text."""
    speed = read_speed(RESULTS, SAID)
    assert speed
    for name, measured in speed.recipes.items():
        for theme in INKS:
            for number, each in enumerate(measured.comparisons.values(), 1):
                path = FOLDER / f"{name}-{number}-{theme}.svg"
                yield path, draw_comparison(each, theme)
            for number, curve in enumerate(measured.curves.values(), 1):
                path = FOLDER / f"{name}-curve-{number}-{theme}.svg"
                yield path, draw_curve(curve, theme)


def draw_comparison(comparison: Comparison, theme: str) -> str:
    """Draw the CPU of each subject as a bar, with the spread of its rounds."""
    names = list(comparison.subjects)
    ranges = [
        comparison.figure(Figure("", "cpu", subject)) for subject in names
    ]
    height = 0.75 + 0.3 * len(names)
    with mpl.rc_context(_style(theme)):
        drawing = Drawing((WIDTH, height), layout="constrained")
        axes = drawing.add_subplot()
        medians = [1e6 * each.median for each in ranges]
        spreads = [
            [1e6 * (each.median - each.low) for each in ranges],
            [1e6 * (each.high - each.median) for each in ranges],
        ]
        colours = [COLOURS[theme][0], *[COLOURS[theme][5]] * (len(names) - 1)]
        axes.barh(names, medians, color=colours, height=0.6)
        axes.errorbar(
            medians, names, xerr=spreads, fmt="none", ecolor=INKS[theme]
        )
        for place, each in enumerate(ranges):
            text = f"  {digits(medians[place])}"
            axes.text(1e6 * each.high, place, text, va="center", size=8)
        axes.margins(x=0.2)
        axes.invert_yaxis()
        axes.set_title(comparison.title, loc="left", wrap=True)
        axes.set_xlabel(f"µs of CPU for {comparison.unit}")
        return _text_of(drawing)


def draw_curve(curve: Curve, theme: str) -> str:
    """Draw the cost of each subject as a line, both axes logarithmic."""
    with mpl.rc_context(_style(theme)):
        drawing = Drawing((WIDTH, 2.7), layout="constrained")
        axes = drawing.add_subplot()
        for number, subject in enumerate(curve.subjects):
            points = curve.medians(subject)
            axes.loglog(
                [x for x, _ in points],
                [y for _, y in points],
                color=COLOURS[theme][number],
                marker=MARKERS[number],
                markersize=4,
                label=f"{subject}, power {curve.exponent(subject):.2f}",
            )
        axes.set_title(curve.title, loc="left", wrap=True)
        axes.set_xlabel(curve.x)
        axes.set_ylabel(f"µs of CPU for {curve.unit}")
        axes.legend(frameon=False)
        return _text_of(drawing)


def _style(theme: str) -> Any:
    """Return settings of matplotlib, whose keys are a type of their own."""
    ink = INKS[theme]
    colours = ("axes.edgecolor", "axes.labelcolor", "text.color")
    ticks = ("xtick.color", "ytick.color")
    return {
        **dict.fromkeys((*colours, *ticks), ink),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 9,
        "font.family": "sans-serif",
        "font.size": 8.5,
        "legend.fontsize": 8,
        # Text stays text, and the same figures give the same bytes.
        "svg.fonttype": "none",
        "svg.hashsalt": "cookbook",
    }


def _text_of(drawing: Drawing) -> str:
    output = StringIO()
    drawing.savefig(
        output, format="svg", transparent=True, metadata={"Date": None}
    )
    # Or each line of a path would end in a space.
    lines = (line.rstrip() for line in output.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all pictures, and remove those that are no longer drawn."""
    FOLDER.mkdir(exist_ok=True)
    pictures = dict(draw_all())
    for path in set(FOLDER.glob("*.svg")) - pictures.keys():
        path.unlink()
    for path, text in pictures.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
