"""Proofs for the pages that describe the project: what they name is there."""

import re
from pathlib import Path

import pytest

from tests.servers import ROOT

GUIDES = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/going_live.md",
]
SOURCES = [
    ROOT / "app.py",
    *(ROOT / "cookbook").rglob("*.py"),
    *(ROOT / "recipes").glob("*.py"),
    *(ROOT / "tests").glob("*.py"),
]

every_guide = pytest.mark.parametrize("guide", GUIDES)


def code_of(guide: str) -> set[str]:
    """Return what stands between backticks, on one line."""
    return set(re.findall(r"`([^`\n]+)`", (ROOT / guide).read_text()))


@every_guide
def test_a_link_of_a_guide_leads_to_a_file(guide: str) -> None:
    text = (ROOT / guide).read_text()
    folder = (ROOT / guide).parent
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (folder / target).exists(), target


@every_guide
def test_a_path_in_a_guide_exists(guide: str) -> None:
    for name in code_of(guide):
        if re.fullmatch(r"[\w./-]*(/|\.(py|toml|txt|json))", name):
            places = [ROOT / name, ROOT / "cookbook" / name]
            is_folder_of_user = name.startswith((".", "/"))
            assert is_folder_of_user or any(map(Path.exists, places)), name


@every_guide
def test_a_make_target_in_a_guide_exists(guide: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for code in code_of(guide):
        for target in re.findall(r"\bmake ([a-z]+)", code):
            assert f"\n{target}:" in makefile, target


def test_a_name_in_the_architecture_is_in_the_code() -> None:
    code = "\n".join(path.read_text() for path in SOURCES)
    for name in code_of("docs/architecture.md"):
        for part in name.split("."):
            if re.fullmatch(r"[A-Z]\w+|[a-z]+_\w+|_\w+", part):
                assert re.search(rf"\b{part}\b", code), name


def test_the_architecture_names_every_module_of_the_machinery() -> None:
    named = code_of("docs/architecture.md")
    for path in (ROOT / "cookbook").glob("[!_]*.py"):
        assert path.name in named, path
