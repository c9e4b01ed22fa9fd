"""Proofs for recipes/traps: each fails as described, and its pair does not."""

import asyncio
from dataclasses import replace

import pytest

import app
from cookbook.differences import count_lines
from cookbook.sandbox import sandboxed
from cookbook.source import read_header
from cookbook.traps import Trap
from tests.servers import ROOT

TRAPS = {
    f"{recipe.name}/{trap.name}": trap
    for recipe in app.COOKBOOK
    for trap in recipe.traps
}
MAX_LINES = 14
"""Lines that a trap adds and removes."""

LARGER: dict[str, int] = {}
"""Traps whose mistake cannot be shown in less, and what they need."""

SINCE = {
    "after_response/lost_follow_up": "aiohttp>=3.10,<4",
    "client_session/family_in_the_connector": "aiohttp>=3.10,<4",
}
"""Traps that show on a newer aiohttp than their pair needs."""

every_trap = pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)


@pytest.mark.slow("it starts two programs")
@every_trap
async def test_a_trap_fails_as_told_and_only_so(trap: Trap) -> None:
    async def play(side: str) -> str:
        program = trap.file if side == "trap" else trap.pair
        async with sandboxed(program) as runner:
            return await runner.play(trap.docs.dialogue)

    wrong, right = await asyncio.gather(play("trap"), play("pair"))
    assert not wrong
    assert right, "the right one does what the trap does"


def test_every_recipe_has_a_trap() -> None:
    assert all(recipe.traps for recipe in app.COOKBOOK)


def test_every_trap_belongs_to_a_recipe() -> None:
    files = set((ROOT / "recipes" / "traps").rglob("*.py"))
    assert files == {trap.file for trap in TRAPS.values()}


@every_trap
def test_a_trap_is_its_pair_with_one_small_mistake(trap: Trap) -> None:
    name = f"{trap.file.parent.name}/{trap.name}"
    changed = count_lines(trap.hunks)
    assert 1 <= changed <= LARGER.get(name, MAX_LINES)
    if name in LARGER:
        assert changed > MAX_LINES, "it needs no exception any more"


@every_trap
def test_a_trap_has_the_header_of_its_pair(trap: Trap) -> None:
    header, right = (
        read_header(file.read_text()) for file in (trap.file, trap.pair)
    )
    name = f"{trap.file.parent.name}/{trap.name}"
    if name in SINCE:
        assert header != right, "it needs no exception any more"
        aiohttp, *others = right.packages
        assert aiohttp.startswith("aiohttp>=")
        right = replace(right, packages=[SINCE[name], *others])
    assert header == right


@every_trap
def test_a_trap_says_what_goes_wrong_why_and_how_it_shows(trap: Trap) -> None:
    _, docstring, _ = trap.file.read_text().split('"""', 2)
    assert len(docstring.splitlines()) <= 30
    assert trap.docs.title.endswith(".")
    assert len(trap.docs.text.split()) > 20
    assert any(step.promised for step in trap.docs.dialogue)
