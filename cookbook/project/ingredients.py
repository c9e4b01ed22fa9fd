"""Recipes as they go into a reader's project."""

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cookbook.docs import Docs
from cookbook.source import Header, read_header

LOOPBACK = 'host="127.0.0.1"'
# As long as what it replaces: the lines stay as the formatter leaves them.
CHOSEN_HOST = "host=listen_host"
CHOICE = '    listen_host = os.environ.get("HOST", "127.0.0.1")\n'
MAIN = 'if __name__ == "__main__":\n'


@dataclass(frozen=True)
class Ingredient:
    """A recipe: the answer, or the file for production."""

    name: str
    source: str
    starter_test: str
    is_production: bool

    @property
    def prefix(self) -> str:
        """Where it is mounted, if it is not alone."""
        return f"/{self.name.replace('_', '-')}"

    @cached_property
    def docs(self) -> Docs:
        return Docs.of_source(self.source)

    @cached_property
    def header(self) -> Header:
        return read_header(self.source)

    @cached_property
    def options(self) -> list[str]:
        """The names of what `create_app` takes."""
        for node in ast.parse(self.source).body:
            if isinstance(node, ast.FunctionDef) and node.name == "create_app":
                return [argument.arg for argument in node.args.kwonlyargs]
        raise ValueError(f"{self.name} has no create_app")

    def reads(self, variable: str) -> bool:
        """Tell whether it reads a variable of the environment."""
        return f'environ.get("{variable}"' in self.source

    def alone(self) -> str:
        """Return the source as a program that a container can publish.

        It is the recipe, but that HOST says where it listens.
        """
        before, main, after = self.source.rpartition(MAIN)
        return before + main + CHOICE + after.replace(LOOPBACK, CHOSEN_HOST)

    def test_of(self, module: str) -> str:
        """Return the test for a project in which the recipe is `module`.

        There it is the project's own, and stands below what others made.
        """
        tree = ast.parse(self.starter_test)
        lines = self.starter_test.splitlines()
        imports = [
            node
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        [own] = [
            node
            for node in imports
            if isinstance(node, ast.ImportFrom) and node.module == self.name
        ]
        names = ", ".join(alias.name for alias in own.names)
        below = imports[-1].end_lineno or 0
        lines[below:below] = ["", f"from {module} import {names}"]
        del lines[own.lineno - 1]
        return "\n".join(lines) + "\n"


def read_ingredient(
    recipes: Path, name: str, *, production: bool
) -> Ingredient:
    """Read a recipe and the test that belongs to it.

    With `production`, it is the second file; where there is none, the answer is
    whole.
    """
    file = recipes / f"{name}.py"
    test = recipes / "testing" / f"test_{name}.py"
    second = recipes / "production" / f"{name}.py"
    is_production = production and second.exists()
    if is_production:
        file = second
        # Where the options are those of the answer, its test will do.
        own = recipes / "testing" / "production" / test.name
        test = own if own.exists() else test
    return Ingredient(
        name,
        file.read_text(encoding="utf-8"),
        test.read_text(encoding="utf-8"),
        is_production,
    )


def imports_of(source: str) -> set[str]:
    """Return the modules that a source imports, without their parts."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    return {module.partition(".")[0] for module in modules}
