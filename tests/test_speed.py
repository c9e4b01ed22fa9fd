"""Proofs for the page /speed, and for what measures it."""

import asyncio
import html
import json
import math
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from cookbook.pages import speed
from cookbook.pages.documents import RENDERING
from cookbook.pages.speed import Figure, Range, Said, Speed, SpeedPage
from tests.conftest import Serve, at_length
from tests.servers import ROOT, Server

RESULTS = ROOT / "benchmarks" / "results.json"
SAID = ROOT / "recipes" / "speed.toml"
VALUES = json.loads(RESULTS.read_text())["recipes"]
NAMES = list(VALUES)
SPEED = Speed(RESULTS, SAID)

MEASURED = {
    "commit": "0",
    "date": "2026-01-01",
    "machine": {"cpu": "one", "cores": 2, "python": "3.11"},
    "versions": {"aiohttp": "3.14"},
    "load at the start": 0.5,
    "tool": "wrk 4",
    "files": {"recipes/one.py": "0"},
    "comparisons": {
        "text": {
            "title": "A text",
            "unit": "a request",
            "subjects": {
                "ours": {"cpu": [2e-6, 4e-6, 9e-6], "p50": [1e-3] * 3},
                "theirs": {"cpu": [4e-6, 2e-6, 3e-6], "p50": [2e-3] * 3},
            },
        }
    },
    "curves": {
        "bodies": {
            "title": "Bodies",
            "x": "bytes",
            "unit": "a request",
            "subjects": {
                "ours": [[1, [1e-6]], [10, [1e-5]], [100, [1e-4]]],
                "theirs": [[1, [1e-6]], [10, [1e-6]], [100, [1e-6]]],
            },
        }
    },
}
"""What is measured of a recipe, with figures that can be reckoned by hand."""

TEXT = """
[one]
sentence = "A text takes {ours}, {beside} of theirs."
profile = "Half of it is `loads`."

[one.figures]
ours = ["text", "cpu", "ours"]
beside = ["text", "cpu", "ours", "theirs"]

[[one.goals]]
text = "At most 3 times theirs"
figure = ["text", "cpu", "ours", "theirs"]
at_most = 3

[[one.goals]]
text = "Quicker than theirs"
figure = ["text", "cpu", "ours", "theirs"]
at_most = 1
why = "It does more."

[[one.goals]]
text = "At most 5 microseconds"
figure = ["text", "cpu", "ours"]
at_most = 5

[[one.goals]]
text = "As slow as the body is long"
figure = ["bodies", "exponent", "ours"]
at_most = 1.01

[[one.goals]]
text = "Something else"
figure = ["nothing", "cpu", "ours"]

[two]
sentence = "Nobody has measured {this}."

[two.figures]
this = ["text", "cpu", "ours"]

[[two.goals]]
text = "Nobody knows"
figure = ["text", "cpu", "ours"]
"""


@pytest.fixture
async def client(cookbook_server: Server) -> AsyncIterator[ClientSession]:
    async with ClientSession(cookbook_server.url) as session:
        yield session


@pytest.fixture
def reckoned(tmp_path: Path) -> Speed:
    """What can be reckoned by hand, as it is read from files."""
    results = tmp_path / "benchmarks" / "results.json"
    results.parent.mkdir()
    results.write_text(json.dumps({"recipes": {"one": MEASURED}}))
    said = tmp_path / "speed.toml"
    said.write_text(TEXT)
    return Speed(results, said)


async def get(client: ClientSession, path: str) -> str:
    async with client.get(path) as response:
        assert response.status == 200
        return await response.text()


def text_of(page: str) -> str:
    text = re.sub(r"(?s)<[^>]*>", " ", page)
    return " ".join(html.unescape(text).split())


async def test_the_page_says_of_speed_what_the_file_has(
    client: ClientSession,
) -> None:
    page = text_of(await get(client, "/speed"))
    markdown = await get(client, "/speed.md")
    for name, values in VALUES.items():
        assert f"on {values['date']} at commit {values['commit']}" in page
        for comparison in values["comparisons"].values():
            assert comparison["title"] in page
            assert comparison["title"] in markdown
            for subject, figures in comparison["subjects"].items():
                # The middle one of an odd number.
                middle = sorted(figures["cpu"])[len(figures["cpu"]) // 2]
                cost = f"{speed.digits(1e6 * middle)} µs ("
                assert f"{subject} {cost}" in page, name
                assert f"| {subject} | {cost}" in markdown, name


@pytest.mark.parametrize(
    "names", [NAMES[:2], at_length(NAMES[2:])], ids=["two", "the others"]
)
async def test_each_recipe_says_what_its_figures_are(
    client: ClientSession, names: list[str]
) -> None:
    of_all = text_of(await get(client, "/speed"))
    for name in names:
        sentence = SPEED.sentence(name)
        if not sentence:
            assert SPEED.recipes[name].is_busy, name
            continue
        page = await get(client, f"/recipes/{name}")
        assert sentence in text_of(page)
        assert f'<a href="/speed#{name}">' in page
        assert sentence in await get(client, f"/recipes/{name}.md")
        assert sentence in of_all


def test_all_that_is_said_of_speed_is_measured() -> None:
    assert SPEED.recipes.keys() <= SPEED.said.keys()
    for name, measured in SPEED.recipes.items():
        said = SPEED.said[name]
        names = set(re.findall(r"{(\w+)}", said.sentence))
        assert names == said.figures.keys()
        figures = [*said.figures.values(), *(g.figure for g in said.goals)]
        for figure in figures:
            if measured.is_busy and figure.what in speed.CLOCK:
                continue
            assert math.isfinite(measured.figure(figure).median)


def test_a_missed_goal_is_explained() -> None:
    for name, goal, shown, outcome in SPEED.goal_rows():
        if shown == "not measured":
            continue
        assert outcome == "reached" or len(outcome) > len("missed. "), (
            name,
            goal,
        )


def test_a_ratio_is_the_median_of_those_of_the_rounds(
    reckoned: Speed,
) -> None:
    measured = reckoned.recipes["one"]
    ratio = measured.figure(Figure("text", "cpu", "ours", "theirs"))
    assert ratio == Range(2, 0.5, 3)
    assert reckoned.sentence("one") == "A text takes 4 µs, 2 of theirs."


def test_a_goal_is_judged_by_its_figure(reckoned: Speed) -> None:
    assert [row[2:] for row in reckoned.goal_rows()] == [
        ["2", "reached"],
        ["2", "missed. It does more."],
        ["4 µs", "reached"],
        ["1.00", "reached"],
        ["not measured", "nothing"],
        ["not measured", ""],
    ]


def test_a_busy_machine_is_believed_in_cpu_time_alone() -> None:
    busy = {**MEASURED, "load at the start": 3.1}
    measured = speed.measured_from("one", busy)
    assert measured.figure(Figure("text", "cpu", "ours")).median == 4e-6
    with pytest.raises(speed.NotMeasuredError, match="busy"):
        measured.figure(Figure("text", "p50", "ours"))


def test_nothing_is_said_of_what_is_not_measured(
    reckoned: Speed, tmp_path: Path
) -> None:
    assert reckoned.sentence("two") == ""
    assert reckoned.sentence("three") == ""
    assert reckoned.profile("three") == ""
    figures = {"ours": Figure("text", "rate", "ours")}
    reckoned.said["one"] = Said("It is {ours}.", figures, [])
    assert reckoned.sentence("one") == ""


def test_growth_is_the_slope_of_the_logarithms(reckoned: Speed) -> None:
    curve = reckoned.recipes["one"].curves["bodies"]
    assert curve.exponent("ours") == pytest.approx(1)
    assert curve.exponent("theirs") == pytest.approx(0)
    assert curve.rows == [
        ["ours", "1 µs", "10 µs", "100 µs", "1.00"],
        ["theirs", "1 µs", "1 µs", "1 µs", "0.00"],
    ]
    assert curve.headings == [
        "",
        "1 bytes",
        "10 bytes",
        "100 bytes",
        "exponent",
    ]


async def test_the_page_tells_which_file_has_changed_since(
    reckoned: Speed, tmp_path: Path, serve: Serve
) -> None:
    results = tmp_path / "benchmarks" / "results.json"
    pictures = tmp_path / "benchmarks" / "pictures"
    pictures.mkdir()
    (pictures / "one-1-light.svg").write_text("<svg/>")
    client = await serving(serve, results, tmp_path / "speed.toml")
    async with client:
        for path in ("/speed", "/speed.md"):
            text = await get(client, path)
            assert "recipes/one.py has changed since it was measured" in text
            assert "Half of it is" in text
        assert "/speed/one-1-light.svg" in await get(client, "/speed")
        assert await get(client, "/speed/one-1-light.svg") == "<svg/>"


async def test_the_page_does_without_what_is_not_measured(
    tmp_path: Path, serve: Serve
) -> None:
    results = tmp_path / "benchmarks" / "results.json"
    async with await serving(serve, results, SAID) as client:
        for path in ("/speed", "/speed.md"):
            assert "Nothing is measured here" in await get(client, path)


async def test_a_picture_that_is_not_drawn_is_a_404(
    client: ClientSession,
) -> None:
    async with client.get("/speed/nothing.svg") as response:
        assert response.status == 404


@pytest.mark.full("it draws each picture again")
def test_the_pictures_are_those_of_the_figures() -> None:
    # What draws takes a second to import, in each worker.
    from benchmarks.pictures import FOLDER, draw_all

    pictures = dict(draw_all())
    assert pictures.keys() == set(FOLDER.glob("*.svg"))
    for path, text in pictures.items():
        assert path.read_text() == text, (
            f"{path}: python -m benchmarks.pictures"
        )


async def serving(serve: Serve, results: Path, said: Path) -> ClientSession:
    app = web.Application()
    app[RENDERING] = asyncio.Lock()
    app.add_routes(SpeedPage(results, said).routes())
    server = await serve(app)
    return ClientSession(server.url)
