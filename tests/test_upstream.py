"""Proofs for docs/upstream/: each page shows what its program prints."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from tests.forks import fork
from tests.servers import ROOT

UPSTREAM = ROOT / "docs" / "upstream"
PAGES = sorted(UPSTREAM.glob("*.md"))

CHECKOUT = os.environ.get("AIOHTTP_CHECKOUT")
"""A checkout of aiohttp, for the program that reads its documentation."""


async def run(program: Path, *arguments: str | Path) -> str:
    """Run a program, and return what it prints, errors too."""
    forking = fork(program, *arguments, cwd=ROOT, env=os.environ, filters=[])
    async with forking as process, asyncio.timeout(30):
        printed = (await process.stdout.read()).decode()
        assert await process.wait() == 0, printed
    return printed


@pytest.mark.slow("each runs a program")
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
async def test_a_program_for_upstream_prints_what_its_page_says(
    page: Path,
) -> None:
    program = page.with_suffix(".py")
    arguments: list[str] = []
    if "--checkout" in program.read_text():
        if CHECKOUT is None:
            pytest.skip("AIOHTTP_CHECKOUT names no checkout")
        arguments = ["--checkout", CHECKOUT]
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    shown = re.findall(r"^    (?!\$ )(.+\n)", text, re.MULTILINE)
    assert shown
    assert await run(program, *arguments) == "".join(shown)


def test_every_program_for_upstream_has_a_page() -> None:
    programs = {program.stem for program in UPSTREAM.glob("*.py")}
    assert programs == {page.stem for page in PAGES}


DOCUMENTATION = """
A block that is whole::

    async with session.get(url) as response:
        return await response.text()

One that lacks its colon, with an option that is none of its lines:

.. code-block:: python
    :linenos:

    import aiohttp

    async def main()
        pass

A coroutine that is none::

    def handler(request):
        await request.text()

.. note::

    with what no block is

What is no Python::

    $ pip install aiohttp
"""


async def test_a_block_of_the_documentation_that_does_not_compile_is_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.rst").write_text(DOCUMENTATION)
    printed = await run(
        UPSTREAM / "docs_code_blocks.py", "--checkout", tmp_path
    )
    assert printed == (
        "docs/a.rst:14: expected ':'\n"
        "docs/a.rst:20: 'await' outside async function\n"
    )
