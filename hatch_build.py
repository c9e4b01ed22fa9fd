"""Puts all that an installed cookbook needs into its one package.

The repository keeps `app.py`, `cookbook/` and `recipes/` at its top. At the top
of a reader's site-packages they would be taken for the reader's own, or the
reader's own for ours.

The description of the package is README.md, whose links lead to files of the
repository. `COOKBOOK_FILES` is the address below which they are, such as
https://github.com/OWNER/NAME/blob/v1. Without it, the links are left out.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

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

PICTURE = re.compile(r"^!\[([^]]*)\]\(([^):]+)\)\n\n", re.MULTILINE)

LINK = re.compile(r"\[([^]]*)\]\(([^):]+)\)")
"""A link to a file of the repository: the address of any other has a colon."""


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


class Description(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        readme = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": describe(readme, os.environ.get("COOKBOOK_FILES")),
        }


def describe(readme: str, files: str | None) -> str:
    """Return what a page elsewhere can show of README.md."""
    if not files:
        return LINK.sub(r"\1", PICTURE.sub("", readme))
    base = files.rstrip("/")
    # GitHub shows a file as a page, unless it is asked for the file alone.
    readme = PICTURE.sub(rf"![\1]({base}/\2?raw=true)\n\n", readme)
    return LINK.sub(rf"[\1]({base}/\2)", readme)
