"""Proofs for verdicts/: every claim has its result, every result its claim."""

import ast
import json
import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import app
from cookbook.pages.content import name_of
from cookbook.verdicts import Cell, Claim, Verdicts, read_verdicts
from tests.servers import ROOT
from verdicts.__main__ import claims_on

FOLDER = ROOT / "verdicts"
RESULTS = json.loads((FOLDER / "results.json").read_text())
RELEASES = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]


def claims() -> dict[str, tuple[int, str]]:
    """Return the claims that have a test: question and text."""
    found = {}
    for node in ast.parse((FOLDER / "test_claims.py").read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            [mark] = node.decorator_list
            assert isinstance(mark, ast.Call)
            question, text = map(ast.literal_eval, mark.args)
            found[node.name.removeprefix("test_")] = question, text
    return found


def test_every_claim_has_a_result_and_every_result_a_claim() -> None:
    results = {
        name: (result["question"], result["text"])
        for name, result in RESULTS["claims"].items()
    }
    assert results == claims()


def test_there_are_claims_of_every_question() -> None:
    questions = [question for question, _ in claims().values()]
    assert len(questions) >= 60
    assert set(questions) == set(range(1, 16))
    assert questions == sorted(questions)


def test_every_claim_was_measured_on_every_release() -> None:
    assert list(RESULTS["versions"]) == RELEASES
    for result in RESULTS["claims"].values():
        assert list(result["releases"]) == RELEASES
        for cell in result["releases"].values():
            assert cell["verdict"] in {"holds", "fails", "not there yet"}
            assert cell["verdict"] != "fails" or cell["transcript"]


def test_every_recipe_was_played_on_every_release() -> None:
    modules = [name_of(recipe) for recipe in app.COOKBOOK.values()]
    assert list(RESULTS["recipes"]) == modules
    for releases in RESULTS["recipes"].values():
        assert list(releases) == RELEASES
        assert releases["3.14"] == {"verdict": "passes its tests"}


def test_no_transcript_tells_of_a_machine() -> None:
    text = json.dumps(RESULTS)
    assert not re.search(
        r"site-packages|/(home|root|tmp|usr)/|0x[0-9a-f]", text
    )


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_is_measured_with_the_packages_of_its_time(
    release: str,
) -> None:
    lines = (FOLDER / f"requirements/{release}.txt").read_text().splitlines()
    pins = [line.partition(" ; ")[0] for line in lines]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    pinned = dict(pin.split("==") for pin in pins)
    assert pinned["aiohttp"] == RESULTS["versions"][release]
    assert pinned["aiohttp"].startswith(f"{release}.")
    assert {"yarl", "multidict", "pytest", "aiohttp-session"} <= set(pinned)


def test_what_is_measured_here_is_what_the_board_says() -> None:
    if version("aiohttp") != RESULTS["versions"]["3.14"]:
        pytest.skip("another aiohttp is installed than the one measured")
    measured = claims_on(Path(sys.executable))
    here = {name: result["verdict"] for name, result in measured.items()}
    board = {
        name: result["releases"]["3.14"]["verdict"]
        for name, result in RESULTS["claims"].items()
    }
    assert here == board


def test_a_change_for_older_releases_fits_its_recipe() -> None:
    older = tomllib.loads((FOLDER / "older.toml").read_text())
    for module, change in older.items():
        source = (ROOT / "recipes" / f"{module}.py").read_text()
        assert source.count(change["line"]) == 1
        verdicts = [
            cell["verdict"] for cell in RESULTS["recipes"][module].values()
        ]
        assert "runs with one line changed" in verdicts


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        (["holds", "holds"], "holds"),
        (["not there yet", "holds"], "holds"),
        (["fails", "holds"], "holds"),
        (["fails", "fails"], "wrong as printed"),
        (["holds", "fails"], "outdated since 3.9"),
    ],
)
def test_a_claim_is_judged_in_a_word(verdicts: list[str], word: str) -> None:
    cells = zip(["3.8", "3.9"], verdicts, strict=True)
    claim = Claim("name", 1, "text", {r: Cell(v, []) for r, v in cells})
    assert claim.word == word


@pytest.mark.parametrize(
    ("verdicts", "first"),
    [
        (["fails", "runs", "runs"], "3.9"),
        (["runs", "fails", "runs"], "3.10"),
        (["runs", "runs", "fails"], ""),
    ],
)
def test_a_recipe_runs_from_a_release_on(
    verdicts: list[str], first: str
) -> None:
    cells = [Cell(verdict, []) for verdict in verdicts]
    releases = dict(zip(["3.8", "3.9", "3.10"], cells, strict=True))
    board = Verdicts("3.11", {}, [], {"recipe": releases}, {})
    assert board.runs_from("recipe", "runs") == first
    assert board.runs_from("another", "runs") == ""


def test_the_board_is_read_whole() -> None:
    board = read_verdicts(FOLDER)
    assert len(board.claims) == len(RESULTS["claims"])
    of_all = [len(board.of_question(number)) for number in range(1, 16)]
    assert sum(of_all) == len(board.claims)
