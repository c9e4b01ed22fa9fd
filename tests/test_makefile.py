"""Proofs for the Makefile: what it says where something is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project, without its .venv."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # What the `make` around these tests was told is not meant for this one.
    told = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON"}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={name: os.environ[name] for name in os.environ.keys() - told},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_make_alone_lists_what_it_can_do(folder: Path) -> None:
    help_text = make(folder).stdout
    assert help_text == make(folder, "help").stdout
    phony = (ROOT / "Makefile").read_text().partition(".PHONY: ")[2]
    for target in phony.splitlines()[0].split():
        assert f"make {target} " in help_text


def test_a_python_without_venv_leaves_none_behind(folder: Path) -> None:
    # As on Debian without python3-venv: the interpreter is there, pip is not.
    write_program(
        folder / "python",
        'test "$2" = venv || exit 0\n'
        'mkdir -p "$3/bin"; touch "$3/bin/python"\n'
        "exit 1",
    )
    made = make(folder, "PYTHON=./python", "run")
    assert made.returncode == 2
    assert "apt install python3-venv" in made.stdout
    assert not (folder / ".venv").exists()


def test_an_old_python_is_refused(folder: Path) -> None:
    write_program(folder / "python", "exit 1")
    made = make(folder, "PYTHON=./python", "run")
    assert made.stdout.startswith("Python 3.11 or newer is needed")


def test_another_python_than_that_of_the_venv_is_refused(
    folder: Path,
) -> None:
    write_program(folder / ".venv" / "bin" / "python", "echo another")
    made = make(folder, f"PYTHON={sys.executable}", "run")
    assert made.returncode == 2
    line, *_ = made.stdout.splitlines()
    assert line.startswith("The .venv is of another Python than ")
    assert line.endswith(": make clean")


def test_the_python_of_the_venv_is_accepted(folder: Path) -> None:
    write_program(
        folder / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"'
    )
    write_program(folder / ".venv" / "bin" / "pip", "echo installed")
    made = make(folder, f"PYTHON={sys.executable}", ".venv/run")
    assert made.returncode == 0
    assert "installed" in made.stdout
