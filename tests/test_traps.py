"""Proofs for recipes/traps: each fails as told, and its recipe does not."""

import asyncio
from pathlib import Path

import pytest

import app
from cookbook.pages.content import file_of, name_of
from cookbook.stage import staged
from cookbook.traps import MARK, Trap, traps_of
from tests.servers import ROOT

TRAPS = {
    f"{name_of(recipe)}/{trap.name}": (file_of(recipe), trap)
    for recipe in app.COOKBOOK.values()
    for trap in traps_of(file_of(recipe))
}

every_trap = pytest.mark.parametrize(
    ("recipe", "trap"), TRAPS.values(), ids=TRAPS
)


@every_trap
async def test_a_trap_fails_as_told_and_only_so(
    recipe: Path, trap: Trap
) -> None:
    async def play(program: Path) -> str:
        async with staged(program) as player:
            return await player.play(trap.dialogue)

    wrong, right = await asyncio.gather(play(trap.file), play(recipe))
    assert not wrong
    assert right, "the recipe does what the trap does"


def test_every_recipe_has_a_trap() -> None:
    assert all(traps_of(file_of(recipe)) for recipe in app.COOKBOOK.values())


def test_every_trap_belongs_to_a_recipe() -> None:
    files = set((ROOT / "recipes" / "traps").rglob("*.py"))
    assert files == {trap.file for _, trap in TRAPS.values()}


@every_trap
def test_a_trap_is_short_and_marks_the_mistake(
    recipe: Path, trap: Trap
) -> None:
    source = trap.file.read_text()
    _, docstring, code = source.split('"""', 2)
    assert len(docstring.splitlines()) <= 30
    assert 20 <= len(code.strip().splitlines()) <= 64
    assert source.count(MARK) == 1
    assert MARK in trap.excerpt
    assert len(trap.excerpt.splitlines()) <= 14


@every_trap
def test_a_trap_says_what_goes_wrong_why_and_how_it_shows(
    recipe: Path, trap: Trap
) -> None:
    assert trap.title.endswith(".")
    assert len(trap.why.split()) > 20
    assert any(step.promised for step in trap.dialogue)


@every_trap
def test_a_trap_uses_the_names_of_its_recipe(recipe: Path, trap: Trap) -> None:
    names = {
        line.partition("(")[0].split()[-1]
        for line in trap.file.read_text().splitlines()
        if line.startswith(("async def ", "def "))
    }
    right = recipe.read_text()
    assert any(f"def {name}(" in right for name in names - {"create_app"})
