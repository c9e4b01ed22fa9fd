"""Proofs for the public edition: plain files that lead nowhere but to others.

It is built once, from what was recorded, and built again for comparison.
"""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree

import pytest
import sphobjinv
from click.testing import CliRunner

import app
from cookbook.docs import Step
from cookbook.messages import read_messages
from cookbook.transcripts import Transcript, Transcripts, name_of
from edition.__main__ import TRANSCRIPTS, main
from edition.record import record
from tests.servers import ROOT

BASE = "https://cookbook.example/of/aiohttp/"

RECORDED = Transcripts.read(TRANSCRIPTS)

TRAPS = {
    name_of(trap): trap.docs.dialogue
    for recipe in app.COOKBOOK
    for trap in recipe.traps
}


class Links(HTMLParser):
    """The links of a page, what scripts and styles it loads, and its ids."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.canonical = ""
        self.feed(page)

    def handle_starttag(
        self, tag: str, attributes: list[tuple[str, str | None]]
    ) -> None:
        values = dict(attributes)
        if "id" in values:
            self.ids.add(str(values["id"]))
        if values.get("rel") == "canonical":
            self.canonical = str(values["href"])
            return
        for name in ("href", "src", "srcset", "action"):
            if name in values:
                self.links.append(str(values[name]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edition") / "site"
    build(folder)
    return folder


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[Path, Links]:
    """All pages, parsed by their files."""
    return {
        file: Links(file.read_text("utf-8")) for file in folder.rglob("*.html")
    }


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edition", "build", str(folder), "--base", BASE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def file_at(folder: Path, address: str) -> Path:
    """Return the file that a static host sends for an address of ours."""
    assert address.startswith(BASE), address
    path = unquote(urlsplit(address.removeprefix(BASE)).path)
    return (
        folder / path / "index.html"
        if path[-1:] in ("", "/")
        else folder / path
    )


@pytest.mark.parametrize("name", [recipe.name for recipe in app.COOKBOOK])
def test_what_was_recorded_is_what_the_docstring_promises(name: str) -> None:
    [recipe] = [each for each in app.COOKBOOK if each.name == name]
    assert RECORDED.answers[name].keeps_promises(recipe.docs.dialogue)


@pytest.mark.parametrize("name", TRAPS)
def test_what_was_recorded_of_a_trap_differs_from_the_right(name: str) -> None:
    steps = TRAPS[name]
    assert RECORDED.wrong[name].keeps_promises(steps)
    assert RECORDED.right[name].is_of(steps)
    assert not RECORDED.right[name].keeps_promises(steps)


def test_no_transcript_of_what_is_gone_stays_behind() -> None:
    assert RECORDED.answers.keys() == {each.name for each in app.COOKBOOK}
    assert RECORDED.wrong.keys() == RECORDED.right.keys() == TRAPS.keys()


def test_a_transcript_is_no_longer_that_of_a_changed_dialogue() -> None:
    steps = [Step("run", "curl localhost:8080/notes", "[]")]
    transcript = Transcript.of_steps(steps, ["[]"])
    assert transcript.keeps_promises(steps)
    assert not transcript.keeps_promises([*steps, *steps])
    assert not Transcript.of_steps(steps, ["{}"]).keeps_promises(steps)


def test_no_transcript_tells_of_the_folders_of_a_machine() -> None:
    text = TRANSCRIPTS.read_text("utf-8")
    assert ".../site-packages/aiohttp" in text
    assert str(ROOT) not in text
    assert "/lib/python3" not in text.replace(".../lib/python3", "")


def test_transcripts_are_written_as_they_were_read(tmp_path: Path) -> None:
    RECORDED.write(tmp_path / "transcripts.json")
    assert Transcripts.read(tmp_path / "transcripts.json") == RECORDED
    written = (tmp_path / "transcripts.json").read_bytes()
    assert written == TRANSCRIPTS.read_bytes()


def test_what_is_recorded_anew_takes_the_place_of_the_old() -> None:
    steps = [Step("run", "curl localhost:8080/new")]
    new = Transcript.of_steps(steps, ["new"])
    fresh = replace(
        RECORDED,
        answers={"database": new},
        wrong={"database/new": new},
        right={},
    )
    changed = RECORDED.with_changes(fresh)
    assert changed.answers == RECORDED.answers | {"database": new}
    of_database = {each for each in changed.wrong if each[:9] == "database/"}
    assert of_database == {"database/new"}
    assert not any(each[:9] == "database/" for each in changed.right)
    others = [each for each in RECORDED.right if each[:9] != "database/"]
    assert list(changed.right) == others


@pytest.mark.full("it plays more than a hundred dialogues")
@pytest.mark.timeout(400)
async def test_a_fresh_run_answers_as_recorded() -> None:
    fresh = await record(app.COOKBOOK, lambda: None)
    for recipe in app.COOKBOOK:
        assert fresh.answers[recipe.name].keeps_promises(recipe.docs.dialogue)
    for name, steps in TRAPS.items():
        assert fresh.wrong[name].keeps_promises(steps)
        assert not fresh.right[name].keeps_promises(steps)


@pytest.mark.full("it writes hundreds of files, twice")
def test_the_same_is_built_again_byte_for_byte(
    folder: Path, tmp_path: Path
) -> None:
    assert build(tmp_path / "again").returncode == 0
    assert files_of(folder) == files_of(tmp_path / "again")


@pytest.mark.full("it writes hundreds of files")
def test_a_link_leads_to_a_file_and_to_a_place_in_it(
    folder: Path, pages: dict[Path, Links]
) -> None:
    assert len(pages) > 200
    for file, page in pages.items():
        here = urljoin(BASE, str(file.relative_to(folder)))
        for link in page.links:
            address = urljoin(here, link)
            if urlsplit(address).netloc != urlsplit(BASE).netloc:
                continue
            target = file_at(folder, address)
            assert target.is_file(), f"{file} leads to {link}"
            fragment = unquote(urlsplit(address).fragment)
            if fragment:
                assert fragment in pages[target].ids, f"{file}: {link}"


@pytest.mark.full("it writes hundreds of files")
def test_each_page_names_its_address_and_is_on_the_map(
    folder: Path, pages: dict[Path, Links]
) -> None:
    root = ElementTree.parse(folder / "sitemap.xml").getroot()
    listed = {
        str(place.text) for place in root.iter() if "http" in str(place.text)
    }
    named = {
        page.canonical
        for file, page in pages.items()
        if file.name != "404.html"
    }
    assert listed == named
    assert all(file_at(folder, address) in pages for address in listed)


@pytest.mark.full("it writes hundreds of files")
def test_nothing_needs_a_server(folder: Path, pages: dict[Path, Links]) -> None:
    for file in pages:
        text = file.read_text("utf-8")
        assert "Not served" not in text
        assert 'data-part="run"' not in text
        assert "Show me" not in text or "tests" in file.parts
        assert "<script>" not in text
        assert "default-src 'none'" in text


@pytest.mark.full("it writes hundreds of files")
def test_a_page_shows_what_was_recorded(folder: Path) -> None:
    page = (folder / "recipes" / "after_response" / "index.html").read_text()
    assert "uvx aiohttp-cookbook" in page
    assert f"uv run {BASE}recipes/after_response.py" in page
    assert "leave <code>/after-response</code> out of the lines" in page
    assert RECORDED.date in page
    assert RECORDED.versions["aiohttp"] in page
    assert "{&#34;count&#34;: 1, &#34;pending&#34;: 0}" in page
    recipe = (folder / "recipes" / "after_response.py").read_bytes()
    assert recipe == (ROOT / "recipes" / "after_response.py").read_bytes()


@pytest.mark.full("it writes hundreds of files")
def test_the_index_says_that_its_search_needs_javascript(folder: Path) -> None:
    index = (folder / "index.html").read_text("utf-8")
    _, _, hint = index.partition("<noscript>")
    hint, end, _ = hint.partition("</noscript>")
    assert end
    assert "The search needs JavaScript." in hint
    assert 'href="errors/"' in hint


@pytest.mark.full("it writes hundreds of files")
def test_programs_find_whole_addresses(folder: Path) -> None:
    for recipe in json.loads((folder / "recipes.json").read_text("utf-8")):
        assert file_at(folder, recipe["address"]).is_file()
        assert file_at(folder, recipe["markdown"]).is_file()
    for line in (folder / "llms.txt").read_text("utf-8").splitlines():
        if line.startswith("- ["):
            address = line.partition("](")[2].partition(")")[0]
            assert file_at(folder, address).is_file()


@pytest.mark.full("it writes hundreds of files")
def test_sphinx_finds_each_page_message_production_file_and_trap(
    folder: Path, pages: dict[Path, Links]
) -> None:
    inventory = sphobjinv.Inventory(str(folder / "objects.inv"))
    names = {item.name: item for item in inventory.objects}
    messages = read_messages(ROOT / "recipes" / "messages.toml")
    files = [
        *(ROOT / "recipes" / "production").glob("[!_]*.py"),
        *(ROOT / "recipes" / "traps").rglob("*.py"),
    ]
    assert names.keys() >= {
        *(recipe.page[1:] for recipe in app.COOKBOOK),
        *(f"errors/{message.name}" for message in messages),
        *(str(file.relative_to(ROOT).with_suffix("")) for file in files),
    }
    for item in inventory.objects:
        assert (item.domain, item.role) == ("std", "doc")
        # What a link of Sphinx says.
        assert item.dispname not in ("", "-")
        address = urlsplit(f"{BASE}{item.uri_expanded}")
        page = pages[file_at(folder, address.geturl())]
        assert not address.fragment or address.fragment in page.ids
    assert names["recipes/database"].dispname.startswith("Where do I put")
    assert names["speed"].dispname == "Speed"


def test_a_folder_with_files_in_it_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    # It would be for all tests that follow in this process.
    monkeypatch.setattr(logging, "disable", lambda level: None)
    built = CliRunner().invoke(main, ["build", str(tmp_path)])
    assert built.exit_code == 1
    assert built.stderr == f"Error: {tmp_path} is not empty\n"
    assert files_of(tmp_path) == {"mine.txt": b"mine"}
