"""The files of a project, from recipes: the same each time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packaging.requirements import Requirement

from cookbook.pages.rendering import render
from cookbook.project.ingredients import (
    Ingredient,
    imports_of,
    read_ingredient,
)
from cookbook.project.requirements import requirements, requirements_of_tests

OPTIONS = {
    "redis_url": "redis_url=redis_url",
    "postgres_url": "postgres_url=postgres_url",
    "key": "key=key",
    "token": "token=token",
    "work_here": "work_here=True",
}
"""How the application that mounts recipes hands an option on."""

NGINX = {
    "where gunicorn listens": "where the application listens",
}
"""What is said otherwise where a project has no gunicorn."""


@dataclass(frozen=True)
class Project:
    """A project of recipes, called `name`.

    One is `app.py` itself. Several are modules beside an `app.py` that mounts
    each below its prefix.
    """

    name: str
    recipes: Sequence[Ingredient]

    @property
    def is_alone(self) -> bool:
        return len(self.recipes) == 1

    @property
    def is_for_production(self) -> bool:
        return any(recipe.is_production for recipe in self.recipes)

    @property
    def may_be_several(self) -> bool:
        """Whether several processes may serve it: an answer is for one."""
        return all(recipe.is_production for recipe in self.recipes)

    def reads(self, variable: str) -> bool:
        """Tell whether a recipe reads a variable of the environment."""
        return any(recipe.reads(variable) for recipe in self.recipes)

    @cached_property
    def sources(self) -> dict[str, str]:
        """The modules and their sources."""
        if self.is_alone:
            return {"app.py": self.recipes[0].alone()}
        mounting = _render("app.py", self)
        return {
            "app.py": mounting,
            **{f"{each.name}.py": each.source for each in self.recipes},
        }

    @cached_property
    def tests(self) -> dict[str, str]:
        """The tests and their sources."""
        tests = {}
        if self.reads("REDIS_URL"):
            tests["tests/conftest.py"] = _render("conftest.py", self)
        if self.is_alone:
            tests["tests/test_app.py"] = self.recipes[0].test_of("app")
            return tests
        tests["tests/test_app.py"] = _render("test_app.py", self)
        for recipe in self.recipes:
            tests[f"tests/test_{recipe.name}.py"] = recipe.test_of(recipe.name)
        return tests

    @cached_property
    def dependencies(self) -> list[str]:
        sources = [recipe.source for recipe in self.recipes]
        imported = set().union(*map(imports_of, sources))
        packages = [
            package
            for recipe in self.recipes
            for package in recipe.header.packages
        ]
        return requirements(packages, imported)

    @property
    def test_dependencies(self) -> list[str]:
        imported = set().union(*map(imports_of, self.tests.values()))
        return requirements_of_tests(imported, self.dependencies)

    @property
    def python(self) -> str:
        return self.recipes[0].header.python

    def handed_on(self, recipe: Ingredient) -> str:
        """Return what the application that mounts a recipe calls it with."""
        options = [
            f'database=data_dir / "{recipe.name}.db"'
            if option == "database"
            else OPTIONS[option]
            for option in recipe.options
            if option == "database" or option in OPTIONS
        ]
        return ", ".join(options)

    @property
    def options(self) -> list[str]:
        """What the application that mounts several takes itself."""
        names = ["database", "redis_url", "postgres_url", "key", "token"]
        return [name for name in names if self.takes(name)]

    def takes(self, option: str) -> bool:
        """Tell whether a recipe takes an option."""
        return any(option in recipe.options for recipe in self.recipes)


def read_project(
    recipes: Path, names: Sequence[str], name: str, *, production: bool = False
) -> Project:
    """Read the recipes of a project from the folder `recipes`.

    `name` may be that of any folder: what a package cannot be called is left
    out.
    """
    ingredients = [
        read_ingredient(recipes, each, production=production) for each in names
    ]
    words = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    project = Project(words or "app", ingredients)
    packages = {
        Requirement(each).name
        for each in project.dependencies + project.test_dependencies
    }
    if project.name in packages:
        # pip would take it for the package.
        return Project(f"{project.name}-app", ingredients)
    return project


def files_of(project: Project, deploy: Path) -> dict[str, str]:
    """Return the texts of all files, by their paths.

    `deploy` is the folder of the cookbook that nginx' file is taken from.
    """
    files = {
        **project.sources,
        **project.tests,
        "pyproject.toml": _render("pyproject.toml", project),
        "Makefile": _render("Makefile", project),
        "README.md": _render("README.md", project),
        ".gitignore": _render("gitignore", project),
        ".dockerignore": _render("dockerignore", project),
        ".github/workflows/tests.yml": _render("tests.yml", project),
        "Dockerfile": _render("Dockerfile", project),
    }
    if project.is_for_production:
        nginx = (deploy / "cookbook.conf.template").read_text(encoding="utf-8")
        for theirs, ours in NGINX.items():
            nginx = nginx.replace(theirs, ours)
        files["deploy/nginx.conf.template"] = nginx
        files["deploy/compose.yaml"] = _render("compose.yaml", project)
        files["deploy/app@.service"] = _render("app@.service", project)
    return dict(sorted(files.items()))


def _render(template: str, project: Project) -> str:
    text = render(f"project/{template}.jinja", project=project)
    return text.rstrip("\n") + "\n"
