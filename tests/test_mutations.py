"""Proofs for tests/mutations: small patches that fit, for every recipe."""

import subprocess
import sys
from pathlib import Path

import pytest

import app
from tests.mutations import __main__ as mutations
from tests.servers import ROOT

pytestmark = pytest.mark.unmeasured("it is about the tests alone")

PATCHES = sorted((ROOT / "tests" / "mutations").glob("*/*.patch"))


def test_every_patch_fits() -> None:
    for patch in PATCHES:
        check = ["git", "apply", "--check", str(patch)]
        checked = subprocess.run(check, cwd=ROOT, timeout=10)
        assert checked.returncode == 0, patch


def test_every_patch_is_of_one_to_five_lines_of_its_recipe() -> None:
    for patch in PATCHES:
        module = f"{patch.parent.name}.py"
        assert mutations.target_of(patch) in {
            Path("recipes", module),
            Path("recipes", "production", module),
        }
        _, *lines = patch.read_text().split("\n@@", 1)
        marks = [line[:1] for line in lines[0].splitlines()]
        assert 1 <= max(marks.count("+"), marks.count("-")) <= 5, patch


def test_every_recipe_has_at_least_three_mutations() -> None:
    folders = [patch.parent.name for patch in PATCHES]
    for recipe in app.COOKBOOK:
        assert folders.count(recipe.name) + len(recipe.traps) >= 3


@pytest.mark.full("it starts a test session")
@pytest.mark.parametrize("folder", ["recipes", "recipes/production"])
def test_a_mutation_is_looked_for_by_the_tests_of_its_file(folder: str) -> None:
    chosen = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--collect-only", "-q"),
            *mutations.tests_of(Path(folder, "database.py")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.splitlines()
    ids = [line for line in chosen if "::" in line]
    is_production = folder.endswith("production")
    assert ids
    for each in ids:
        assert ("production" in each) == is_production
