"""Proofs for tests/mutations: small patches that fit, for every recipe."""

import subprocess
from pathlib import Path

import pytest

import app
from cookbook.pages.content import name_of
from tests.servers import ROOT

PATCHES = sorted((ROOT / "tests" / "mutations").glob("*/*.patch"))

every_patch = pytest.mark.parametrize(
    "patch",
    PATCHES,
    ids=[f"{each.parent.name}/{each.stem}" for each in PATCHES],
)


@every_patch
def test_a_patch_fits(patch: Path) -> None:
    check = ["git", "apply", "--check", str(patch)]
    assert subprocess.run(check, cwd=ROOT, timeout=10).returncode == 0


@every_patch
def test_a_patch_is_of_one_to_five_lines_of_its_recipe(patch: Path) -> None:
    names, *lines = patch.read_text().split("\n@@", 1)
    assert names.endswith(f"b/recipes/{patch.parent.name}.py")
    marks = [line[:1] for line in lines[0].splitlines()]
    assert 1 <= max(marks.count("+"), marks.count("-")) <= 5


def test_every_recipe_has_at_least_three() -> None:
    folders = [patch.parent.name for patch in PATCHES]
    for recipe in app.COOKBOOK.values():
        assert folders.count(name_of(recipe)) >= 3
