"""Proofs for verdicts/: every claim has its result, every result its claim."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import warnings
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import click
import pytest
from aiohttp import ClientSession, web
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import app
from cookbook.differences import read_patch
from cookbook.pages.board import Board
from cookbook.pages.rendering import render
from cookbook.recipe import Recipe
from cookbook.source import read_header
from cookbook.verdicts import (
    BRANCHES,
    EDITION,
    FAQ,
    Cell,
    Claim,
    Column,
    Verdicts,
    read_verdicts,
)
from tests.servers import (
    ROOT,
    START_TIMEOUT,
    UNMEASURED,
    copy_sources,
    serving,
)
from verdicts import __main__ as program
from verdicts import test_claims
from verdicts.__main__ import claims_on, failing_test, refuse_errors
from verdicts.claim import CLAIMS

FOLDER = ROOT / "verdicts"
RESULTS = json.loads((FOLDER / "results.json").read_text())
RELEASES = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]
OLDEST = "3.9"
"""The release that no header goes below: it brought `web.AppKey`."""

OF_NEWER = {"aiohappyeyeballs", "propcache"}
"""What aiohttp itself needs since 3.10 and 3.11."""

HIGHER = {"nested_apps", "parallel_events", "subapp_database"}
"""Recipes whose dialogue comes true on an older aiohttp than they ask for.

On 3.9, with the redis-py of its time, a test of an outage fails. With a yarl
that is newer than 1.12, every request below a mounted prefix is a 500 there.
"""

every_recipe = pytest.mark.parametrize(
    "recipe", app.COOKBOOK, ids=lambda recipe: recipe.name
)


def claims() -> dict[str, dict[str, Any]]:
    """Return the claims that have a test, as results.json holds them."""
    return {
        name.removeprefix("test_"): CLAIMS[test].row
        for name, test in vars(test_claims).items()
        if name.startswith("test_")
    }


def lowest_aiohttp(recipe: Recipe) -> Version:
    """Return the lowest aiohttp that a recipe's header allows."""
    header = read_header(recipe.source)
    [lowest] = [
        Version(specifier.version)
        for requirement in map(Requirement, header.packages)
        if requirement.name == "aiohttp"
        for specifier in requirement.specifier
        if specifier.operator == ">="
    ]
    return lowest


def test_every_claim_has_a_result_and_every_result_a_claim() -> None:
    results = {
        name: {key: result[key] for key in result if key != "releases"}
        for name, result in RESULTS["claims"].items()
    }
    assert results == claims()


def test_there_are_claims_of_every_question() -> None:
    assert len(claims()) >= 60
    questions = [claim["question"] for claim in claims().values()]
    assert questions == sorted(questions)
    said = {claim["question"] for claim in claims().values() if claim["said"]}
    assert said == set(range(1, 17))


def test_only_what_the_faq_says_is_quoted() -> None:
    for name, claim in claims().items():
        assert claim["said"] or not claim["printed"], name


def test_the_board_speaks_of_the_faq_of_the_release_that_runs_here() -> None:
    assert RELEASES[-1] == EDITION
    assert f"/v{RESULTS['versions'][EDITION]}/faq.html" in FAQ


def test_every_claim_was_measured_on_every_release() -> None:
    assert list(RESULTS["versions"]) == RELEASES
    for result in RESULTS["claims"].values():
        assert list(result["releases"]) == RELEASES
        for cell in result["releases"].values():
            assert cell["verdict"] in {"holds", "fails", "not there yet"}
            assert cell["verdict"] != "fails" or cell["transcript"]


def test_every_recipe_was_played_on_every_release() -> None:
    modules = [recipe.name for recipe in app.COOKBOOK]
    assert list(RESULTS["recipes"]) == modules
    for releases in RESULTS["recipes"].values():
        assert list(releases) == RELEASES
        assert releases["3.14"] == {"verdict": "passes its tests"}


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_of_upstream_was_measured_whole_at_a_commit(
    name: str,
) -> None:
    column = RESULTS["branches"][name]
    assert re.fullmatch("[0-9a-f]{40}", column["commit"])
    assert list(column["claims"]) == list(claims())
    assert list(column["recipes"]) == [each.name for each in app.COOKBOOK]
    for cell in column["claims"].values():
        assert cell["verdict"] in {"holds", "fails", "not there yet"}
    for cell in column["recipes"].values():
        assert cell["verdict"] in {"fails", "runs", "passes its tests"}
        assert ("transcript" in cell) == (cell["verdict"] != "passes its tests")


def test_a_recipe_that_fails_on_4_0_has_a_patch_with_which_it_runs() -> None:
    column = RESULTS["branches"]["master"]
    patched = {
        recipe.name for recipe in app.COOKBOOK if recipe.patch_for_4_0.exists()
    }
    assert patched == set(column["patched"])
    assert patched == {
        name
        for name, cell in column["recipes"].items()
        if cell["verdict"] == "fails"
    }
    for cell in column["patched"].values():
        assert cell["verdict"] in {"runs", "passes its tests"}


def test_a_recipe_that_only_runs_on_4_0_has_a_note_that_says_why() -> None:
    column = RESULTS["branches"]["master"]
    noted = {
        recipe.name for recipe in app.COOKBOOK if recipe.note_on_4_0.exists()
    }
    notes = {file.stem for file in (ROOT / "recipes" / "on_4_0").glob("*.md")}
    assert notes == noted
    assert noted == {
        name
        for name, cell in column["recipes"].items()
        if cell["verdict"] == "runs"
    }
    # Where it has a patch, that says why.
    for name, cell in column["patched"].items():
        if cell["verdict"] == "runs":
            patch = ROOT / "recipes" / "on_4_0" / f"{name}.patch"
            assert "tests" in read_patch(patch.read_text())[0]


@pytest.mark.unmeasured("it runs patch")
def test_every_patch_for_4_0_fits_its_recipe(tmp_path: Path) -> None:
    copy_sources(ROOT / "recipes", tmp_path / "recipes")
    patches = sorted((ROOT / "recipes" / "on_4_0").glob("*.patch"))
    assert patches == sorted(
        recipe.patch_for_4_0
        for recipe in app.COOKBOOK
        if recipe.patch_for_4_0.exists()
    )
    for patch in patches:
        file = tmp_path / "recipes" / f"{patch.stem}.py"
        before = file.read_text()
        program.run("git", "-C", tmp_path, "apply", patch)
        assert file.read_text() != before
        compile(file.read_text(), file.name, "exec")
        text, hunks = read_patch(patch.read_text())
        assert len(text.split()) > 20
        added = [line for hunk in hunks for line in hunk.lines]
        assert sum(line.startswith("+") for line in added) <= 14


@every_recipe
def test_a_recipe_fails_or_runs_or_passes_its_tests_on_each_release(
    recipe: Recipe,
) -> None:
    for cell in RESULTS["recipes"][recipe.name].values():
        assert cell["verdict"] in {"fails", "runs", "passes its tests"}
        # What it fails at, and which test does not pass.
        assert ("transcript" in cell) == (cell["verdict"] != "passes its tests")


@every_recipe
def test_the_header_names_the_lowest_aiohttp_on_which_the_dialogue_came_true(
    recipe: Recipe,
) -> None:
    board = read_verdicts(FOLDER)
    since = board.runs_from(recipe.name, "runs", "passes its tests")
    first = max(since, OLDEST, key=Version)
    before = RELEASES[: RELEASES.index(first)]
    lowest = lowest_aiohttp(recipe)
    if recipe.name in HIGHER:
        assert lowest > Version(board.versions[first]), "it is lowest now"
        return
    # It may lie between two releases that were measured.
    assert lowest <= Version(board.versions[first])
    assert all(Version(board.versions[each]) < lowest for each in before)


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


@pytest.mark.slow("it starts a program")
def test_a_release_is_measured_with_what_the_tests_import() -> None:
    program = "import sys, verdicts.older, tests.conftest; print(*sys.modules)"
    imported = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **UNMEASURED},
        check=True,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
    ).stdout.split()
    packages = packages_distributions()
    needed = {
        canonicalize_name(package)
        for module in imported
        for package in packages.get(module, [])
    }
    assert "psutil" in needed
    for release in RELEASES:
        text = (FOLDER / f"requirements/{release}.txt").read_text()
        lines = text.splitlines()
        pinned = {canonicalize_name(line.split("==")[0]) for line in lines}
        assert needed <= pinned | {*OF_NEWER, "setuptools"}, release
    # A test of the newest imports all production files.
    assert {"procrastinate", "psycopg-pool"} <= pinned


def test_a_session_that_cannot_begin_says_nothing_of_a_release(
    tmp_path: Path,
) -> None:
    plugin = tmp_path / "verdicts"
    plugin.mkdir()
    (plugin / "__init__.py").touch()
    (plugin / "older.py").write_text("import no_such_package\n")
    with pytest.raises(click.ClickException, match="no_such_package"):
        failing_test("any", Path(sys.executable), tmp_path)


@pytest.mark.full("it tests all claims again")
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


ENDINGS = """
import json

import pytest

from verdicts.claim import claim


@claim(1, "It holds", printed="    a line\\n", note="A note.")
def test_holds():
    print("seen")


@claim(1, "It fails by an assertion", said=False)
def test_fails():
    assert 1 == 2


@claim(1, "It fails as expected", fails=ValueError)
def test_fails_as_expected():
    json.loads("no JSON")


@claim(1, "It does not raise")
def test_raises_nothing():
    with pytest.raises(ValueError):
        pass


@claim(1, "It fails as nobody expected")
def test_error():
    json.loads("no JSON")


@claim(1, "Something else asserts")
def test_error_of_others():
    pytest.importorskip("helper").check()


@claim(1, "It is not there")
def test_skipped():
    pytest.skip("nothing to measure")


@pytest.fixture
def broken():
    raise ValueError("no fixture")


@claim(1, "It cannot begin")
def test_error_of_a_fixture(broken):
    pass


@claim(1, "It does not compile", fails=SyntaxError)
def test_syntax():
    compile("def f():\\n    await x", "faq.py", "exec")
"""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the results of claims that end in every way."""
    folder = tmp_path_factory.mktemp("claims")
    shutil.copy(FOLDER / "conftest.py", folder)
    (folder / "helper.py").write_text("def check():\n    assert False\n")
    file = folder / "test_claims.py"
    file.write_text(ENDINGS)
    return claims_on(Path(sys.executable), file)


def test_a_claim_fails_only_by_what_its_test_expects(
    judged: dict[str, Any],
) -> None:
    verdicts = {name: result["verdict"] for name, result in judged.items()}
    assert verdicts == {
        "holds": "holds",
        "fails": "fails",
        "fails_as_expected": "fails",
        "raises_nothing": "fails",
        "error": "error",
        "error_of_others": "error",
        "skipped": "not there yet",
        "error_of_a_fixture": "error",
        "syntax": "fails",
    }


def test_a_result_keeps_what_the_marker_says(judged: dict[str, Any]) -> None:
    assert judged["holds"] == {
        "question": 1,
        "text": "It holds",
        "said": True,
        "printed": "a line",
        "note": "A note.",
        "verdict": "holds",
        "transcript": ["seen"],
    }
    assert not judged["fails"]["said"]


def test_a_transcript_ends_with_the_kind_of_the_error(
    judged: dict[str, Any],
) -> None:
    [last] = judged["syntax"]["transcript"]
    assert last.startswith("SyntaxError: 'await' outside async function")
    [last] = judged["fails"]["transcript"]
    assert last == "AssertionError: assert 1 == 2"
    assert judged["skipped"]["transcript"] == ["nothing to measure"]


def test_an_error_stops_the_program(judged: dict[str, Any]) -> None:
    with pytest.raises(click.ClickException) as raised:
        refuse_errors(judged, "3.8")
    lines = raised.value.message.splitlines()
    assert lines[0] == "on 3.8:"
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "error",
        "error_of_others",
        "error_of_a_fixture",
    ]
    del judged["error"], judged["error_of_others"]
    del judged["error_of_a_fixture"]
    refuse_errors(judged, "3.8")


def test_claims_that_cannot_be_collected_stop_the_program(
    tmp_path: Path,
) -> None:
    shutil.copy(FOLDER / "conftest.py", tmp_path)
    file = tmp_path / "test_claims.py"
    file.write_text("import nothing_of_that_name")
    with pytest.raises(click.ClickException, match="nothing_of_that_name"):
        claims_on(Path(sys.executable), file)


def test_warnings_keep_their_category() -> None:
    def warn() -> None:
        warnings.warn("of a user\nand more", UserWarning, stacklevel=1)
        warnings.warn("of a file", ResourceWarning, stacklevel=1)

    found = test_claims.warnings_of(warn)
    assert found == ["UserWarning: of a user"]
    assert test_claims.warnings_of(warn, DeprecationWarning) == []


def test_one_part_is_measured_and_the_other_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "results.json"
    file.write_text('{"claims": "old", "recipes": "old"}')
    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "RESULTS", file)

    def measure(release: str, parts: list[str]) -> dict[str, Any]:
        assert parts == ["recipes"]
        return {"version": f"{release}.0", "recipes": {"sink": release}}

    monkeypatch.setattr(program, "measure", measure)
    ended = CliRunner().invoke(program.main, ["--only", "recipes"])
    assert ended.exit_code == 0, ended.output
    results = json.loads(file.read_text())
    assert results["claims"] == "old"
    assert results["recipes"] == {"sink": {each: each for each in RELEASES}}
    assert results["versions"]["3.8"] == "3.8.0"


def commit_of(checkout: Path) -> str:
    """Make a clone of a package with that name, and return its commit."""
    (checkout / "aiohttp").mkdir(parents=True)
    (checkout / "aiohttp" / "__init__.py").touch()
    git = ("git", "-C", checkout, "-c", "user.name=ann", "-c", "user.email=ann")
    program.run("git", "init", "--quiet", checkout)
    program.run("git", "-C", checkout, "add", ".")
    program.run(*git, "commit", "--quiet", "--message", "First")
    return program.run("git", "-C", checkout, "rev-parse", "HEAD")


def test_a_checkout_is_measured_at_its_commit_and_other_columns_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "a clone"
    commit = commit_of(checkout)
    (checkout / "aiohttp" / "not_committed.py").touch()
    file = tmp_path / "results.json"
    master = {"commit": commit, "recipes": "kept"}
    branches = {"3.15": {"commit": "old"}, "master": master}
    file.write_text(json.dumps({"claims": "old", "branches": branches}))
    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "RESULTS", file)
    installed: list[str] = []

    def environment(name: str, packages: list[str]) -> Path:
        assert name == "master"
        if packages[0].endswith(".tar.gz"):
            with tarfile.open(packages[0]) as files:
                installed.extend(files.getnames())
        return Path(sys.executable)

    def measure(python: Path, name: str, parts: list[str]) -> dict[str, Any]:
        cell = {"verdict": "holds", "transcript": [], "text": "It holds"}
        return {"version": "4.0", "claims": {"one": cell}}

    monkeypatch.setattr(program, "environment", environment)
    monkeypatch.setattr(program, "measure_with", measure)
    ended = CliRunner().invoke(
        program.main, ["--only", "claims", "--checkout", f"master={checkout}"]
    )
    assert ended.exit_code == 0, ended.output
    assert "aiohttp/aiohttp/__init__.py" in installed
    assert not [name for name in installed if "not_committed" in name]
    results = json.loads(file.read_text())
    assert str(checkout) not in file.read_text()
    assert results["claims"] == "old"
    assert results["branches"]["3.15"] == {"commit": "old"}
    assert results["branches"]["master"] == {
        "recipes": "kept",
        "commit": commit,
        "version": "4.0",
        "claims": {"one": {"verdict": "holds", "transcript": []}},
    }


def test_a_column_is_of_one_commit() -> None:
    before = {"commit": "one", "recipes": "old", "claims": "old"}
    results = {"branches": {"master": before}}
    column = {"commit": "two", "claims": "new"}
    both = program.with_branches(results, {"master": column})
    assert both == {"master": column}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("4.0=.", "a branch is one of"),
        ("master", "no checkout of aiohttp"),
        ("master=nowhere", "no checkout of aiohttp"),
    ],
)
def test_a_checkout_that_cannot_be_measured_is_told(
    value: str, reason: str
) -> None:
    ended = CliRunner().invoke(program.main, ["--checkout", value])
    assert ended.exit_code == 2
    assert reason in ended.output


@pytest.mark.full("it starts three test sessions")
def test_an_answer_is_measured_without_its_production_file(
    tmp_path: Path,
) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    python = Path(sys.executable)
    recipes = "import logging, pytest\n\n"
    recipes += "@pytest.mark.parametrize('recipe', {})\n"
    test = "def test_recipe(recipe):\n"
    test += "    logging.error('a line of the log')\n"
    test += "    assert recipe == 'answer'\n"
    both = recipes.format(["answer", "production"]) + test
    (tests / "test_both.py").write_text(both)
    assert failing_test("both", python, tmp_path) == ""
    wrong = recipes.format(["another one", "production"]) + test
    (tests / "test_wrong.py").write_text(wrong)
    failed = "tests/test_wrong.py::test_recipe[another one]"
    assert failing_test("wrong", python, tmp_path) == failed
    (tests / "test_none.py").write_text(recipes.format(["production"]) + test)
    assert failing_test("none", python, tmp_path) == "its tests cannot be run"


def claim_with(
    verdicts: list[str], *, said: bool = True, printed: str = ""
) -> Claim:
    releases = ["3.8", "3.9", "3.10"]
    cells = {
        release: Cell(verdict, [])
        for release, verdict in zip(releases, verdicts, strict=True)
    }
    return Claim("name", 1, "text", cells, said, printed)


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        (["holds", "holds", "holds"], "holds"),
        (["not there yet", "holds", "holds"], "holds since 3.9"),
        (["holds", "fails", "holds"], "holds since 3.10"),
        (["fails", "fails", "fails"], "does not hold"),
        (["holds", "fails", "fails"], "outdated since 3.9"),
        (["not there yet", "not there yet", "not there yet"], "not there yet"),
        (["fails", "holds", "fails"], "outdated since 3.10"),
    ],
)
def test_a_claim_is_judged_in_a_word(verdicts: list[str], word: str) -> None:
    assert claim_with(verdicts).word == word


def test_only_what_is_printed_can_be_wrong_as_printed() -> None:
    never = ["fails", "fails", "fails"]
    assert claim_with(never, printed="a line").word == "wrong as printed"


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        (["holds", "holds", "holds"], "yes"),
        (["fails", "fails", "fails"], "no"),
        (["fails", "fails", "holds"], "yes, since 3.10"),
        (["not there yet", "holds", "holds"], "yes, since 3.9"),
        (["holds", "holds", "fails"], "no, since 3.10"),
    ],
)
def test_what_the_faq_does_not_say_is_answered_by_yes_or_no(
    verdicts: list[str], word: str
) -> None:
    claim = claim_with(verdicts, said=False)
    assert claim.word == word
    words = {claim.word_of(cell) for cell in claim.cells.values()}
    assert words <= {"yes", "no", "not there yet"}


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
    board = Verdicts("3.11", {}, [], {"recipe": releases})
    assert board.runs_from("recipe", "runs") == first
    assert board.runs_from("another", "runs") == ""


def test_the_board_is_read_whole() -> None:
    board = read_verdicts(FOLDER)
    read = [
        each
        for number in range(1, 17)
        for each in (
            *board.of_question(number),
            *board.beyond_question(number),
        )
    ]
    assert {each.name for each in read} == set(claims())
    assert len(read) == len(board.claims)
    for each in read:
        assert each.said == claims()[each.name]["said"]
        assert each.printed == claims()[each.name]["printed"]
        assert each.note == claims()[each.name]["note"]


def test_a_branch_that_was_not_measured_says_so(tmp_path: Path) -> None:
    results = {**RESULTS, "branches": {}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    board = read_verdicts(tmp_path)
    assert list(board.columns) == [*RELEASES, *BRANCHES]
    master = board.columns["master"]
    assert not master.version
    assert master.of_claim(board.claims[0]).verdict == "not measured here"
    assert master.of_recipe("database").verdict == "not measured here"
    page = render("verdicts.html", verdicts=board, questions=["Why?"])
    assert "master, not measured here." in page
    assert "/verdicts/master" not in page
    assert "/verdicts/3.14#" in page


async def test_a_branch_that_was_not_measured_has_no_page() -> None:
    empty = Column("master", "", {}, {})
    board = Verdicts("3.11", {}, [], {}, {"master": empty})
    application = web.Application()
    application.add_routes(Board([], lambda: board).routes())
    async with (
        serving(application) as server,
        ClientSession(server.url) as client,
        client.get("verdicts/master") as response,
    ):
        assert response.status == 404


def test_a_branch_counts_in_no_word(tmp_path: Path) -> None:
    board = read_verdicts(FOLDER)
    (tmp_path / "results.json").write_text(
        json.dumps({**RESULTS, "branches": {}})
    )
    without = read_verdicts(tmp_path)
    assert [each.word for each in board.claims] == [
        each.word for each in without.claims
    ]
    assert board.runs_from("one_response", "passes its tests") == "3.14"


def test_a_question_has_its_address_in_the_faq() -> None:
    question = 'Does aiohttp have a concept like Flask\'s "blueprint"?'
    address = Verdicts("3.11", {}, [], {}).address_of(question)
    assert address == (
        "https://docs.aiohttp.org/en/v3.14.5/faq.html"
        "#does-aiohttp-have-a-concept-like-flask-s-blueprint"
    )


def test_the_board_shows_apart_what_the_faq_does_not_say() -> None:
    page = render(
        "verdicts.html",
        verdicts=Verdicts(
            "3.11",
            {"3.14": "3.14.5"},
            [
                Claim("a", 1, "Said", {"3.14": Cell("fails", [])}, True, "x"),
                Claim("b", 1, "Unsaid", {"3.14": Cell("fails", [])}, False),
            ],
            {},
        ),
        questions=["Why?"],
    )
    said, apart = page.split("What the FAQ does not say")
    assert '<tr id="a">' in said
    assert "wrong as printed" in said
    assert f'href="{FAQ}#why"' in said
    assert "FAQ of 3.14, question 1" in said
    assert '<tr id="b">' in apart
    assert "fails" not in apart
    assert "wrong" not in apart
