"""Puts all that an installed cookbook needs into its one package.

The repository keeps `app.py`, `cookbook/` and `recipes/` at its top. At the top
of a reader's site-packages they would be taken for the reader's own, or the
reader's own for ours.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONTENT = [
    "app.py",
    "benchmarks",
    "cookbook",
    "deploy",
    "docs/*.md",
    "recipes",
    # Pages show them: "Proved by".
    "tests/production",
    "verdicts",
]


class Hook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # What is installed by `--editable` is the repository as it is.
        if version == "editable":
            return
        root = Path(self.root)
        names = [file.name for file in root.glob("recipes/[!_]*.py")]
        tests = [f"tests/test_{name}" for name in names]
        for pattern in CONTENT + tests:
            for path in sorted(root.glob(pattern)):
                place = path.relative_to(root).as_posix()
                build_data["force_include"][str(path)] = (
                    f"aiohttp_cookbook/{place}"
                )
