"""Proofs for the workflows: GitHub would run them, and they give nothing away.

They are not run here. What reads them are two linters.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from cookbook.project import files_of, read_project
from tests.servers import PATIENCE, ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def lint(program: str, *arguments: str | Path) -> None:
    outcome = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_zizmor_finds_nothing_in_a_workflow() -> None:
    # Online, it would ask GitHub about each action.
    lint("zizmor", "--offline", "--no-progress", ".github")


@pytest.mark.parametrize("production", [False, True])
def test_zizmor_finds_nothing_in_the_workflow_of_a_project(
    production: bool, tmp_path: Path
) -> None:
    project = read_project(
        ROOT / "recipes", ["database"], "service", production=production
    )
    name = ".github/workflows/tests.yml"
    workflow = tmp_path / name
    workflow.parent.mkdir(parents=True)
    workflow.write_text(files_of(project, ROOT / "deploy")[name])
    config = ROOT / ".github" / "zizmor.yml"
    lint("zizmor", "--offline", "--no-progress", "--config", config, workflow)


@pytest.mark.full("it takes most of a second of CPU")
def test_each_workflow_has_the_form_that_github_documents() -> None:
    schema = "vendor.github-workflows"
    lint("check-jsonschema", "--builtin-schema", schema, *WORKFLOWS)
