"""Proofs for the page /promises: each has a test, and what attacks found."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

import app
from cookbook.guard import protect
from cookbook.pages.documents import RENDERING
from cookbook.pages.promises import (
    AROUND,
    Promise,
    PromisesPage,
    read_attacks,
    read_promises,
)
from cookbook.pages.site import ATTACKS
from tests.conftest import Serve
from tests.servers import ROOT, Server
from tests.test_pages import get, text_of

FILE = ROOT / "recipes" / "promises.toml"
FOUND = read_attacks(ATTACKS)
GROUPS = read_promises(FILE, FOUND)
PROMISES = [promise for group in GROUPS.values() for promise in group]


@pytest.fixture
async def client(cookbook_server: Server) -> AsyncIterator[ClientSession]:
    async with ClientSession(cookbook_server.url) as session:
        yield session


@pytest.mark.parametrize("promise", PROMISES, ids=lambda each: each.id)
def test_what_shows_a_promise_is_a_test(promise: Promise) -> None:
    file, _, name = promise.test.partition("::")
    source = (ROOT / file).read_text("utf-8")
    assert re.search(rf"(?m)^(async )?def {name}\(", source)


def test_each_recipe_promises_something() -> None:
    names = {recipe.name for recipe in app.COOKBOOK} | {AROUND}
    # What this one shows are rules, and no faults.
    assert names - GROUPS.keys() == {"api_stability"}
    assert GROUPS.keys() <= names
    ids = [promise.id for promise in PROMISES]
    assert len(ids) == len(set(ids))


def test_a_promise_knows_who_has_attacked_it() -> None:
    results = json.loads(ATTACKS.read_text("utf-8"))
    for promise in PROMISES:
        names = [attack.name for attack in promise.attacks]
        assert names == [
            name
            for name, result in results.items()
            if promise.id in result["promises"]
        ]


async def test_the_page_and_its_markdown_have_each_promise_and_attack(
    client: ClientSession,
) -> None:
    markup = await get(client, "/promises")
    page, markdown = text_of(markup), await get(client, "/promises.md")
    for promise in PROMISES:
        assert f'<div id="{promise.id}">' in markup
        assert promise.promise.replace("`", "") in page
        assert promise.promise in markdown
        assert promise.test in markdown
    for attack in FOUND:
        assert f"{attack.size:,} {attack.unit}" in page
        assert attack.outcome in markdown


@pytest.mark.parametrize("size", [10, 40])
def test_an_attack_that_did_less_than_aimed_at_says_so(
    tmp_path: Path, size: int
) -> None:
    name, result = next(iter(json.loads(ATTACKS.read_text("utf-8")).items()))
    result |= {"size": size, "goal": 40, "unit": "kills", "seconds": 60.0}
    file = tmp_path / "attacks.json"
    file.write_text(json.dumps({name: result}))
    page = PromisesPage(FILE, file)
    for text in (page._render("promises.html"), page._render("promises.md")):
        assert ("10 kills of 40" in text) is (size == 10)
        assert bool(re.search("All (40 )?would take", text)) is (size == 10)
        assert ("would take 4 minutes" in text) is (size == 10)


async def test_a_fault_that_was_found_is_told(
    serve: Serve, tmp_path: Path
) -> None:
    results = json.loads(ATTACKS.read_text("utf-8"))
    name, result = next(iter(results.items()))
    broken = {name: {**result, "faults": 3, "promises": ["X1"]}}
    (tmp_path / "attacks.json").write_text(json.dumps(broken))
    for file, words in [("attacks.json", "broken 3 times"), ("none.json", "")]:
        root = web.Application()
        protect(root)
        root.add_routes(PromisesPage(FILE, tmp_path / file).routes())
        root[RENDERING] = asyncio.Lock()
        server = await serve(root)
        async with ClientSession(server.url) as client:
            page = text_of(await get(client, "/promises"))
        assert ("broken" in page.partition("The attacks")[2]) is bool(words)
        assert words in page
