"""What a recipe is called on the command line, and where its files are."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

RECIPES = Path(__file__).parents[2] / "recipes"
MESSAGES = RECIPES / "messages.toml"


def answer_names() -> list[str]:
    """Return the names of all answers."""
    return sorted(file.stem for file in RECIPES.glob("[!_]*.py"))


def trap_names(recipe: str) -> list[str]:
    """Return the names of the traps beside a recipe."""
    return sorted(file.stem for file in RECIPES.glob(f"traps/{recipe}/*.py"))


@cache
def message_names() -> tuple[str, ...]:
    """Return the names of all error messages."""
    return tuple(tomllib.loads(MESSAGES.read_text(encoding="utf-8")))


def answer_file(name: str) -> Path:
    """Return the file of an answer."""
    return RECIPES / f"{name}.py"


def production_file(name: str) -> Path:
    """Return the file for production; raise UsageError where none is there."""
    file = RECIPES / "production" / f"{name}.py"
    if not file.exists():
        raise click.UsageError(
            f"{name} has no second file: its answer is whole"
        )
    return file


def trap_file(recipe: str, name: str) -> Path:
    """Return the file of a trap; raise UsageError for one that is unknown."""
    names = trap_names(recipe)
    if name not in names:
        raise click.UsageError(
            f"{recipe} has no trap {name}. It has {', '.join(names)}"
        )
    return RECIPES / "traps" / recipe / f"{name}.py"


class RecipeName(click.ParamType[str]):
    """The name of an answer: with hyphens, as in its address, it will do."""

    name = "recipe"

    def convert(
        self,
        value: str,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        name = value.replace("-", "_").removesuffix(".py")
        if name not in answer_names():
            self.fail(f"there is no {self.name} {value}: see `list`", param)
        return name

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = self.names()
        if trap := ctx.params.get("trap"):
            names = [name for name in names if trap in trap_names(name)]
        return [
            CompletionItem(name)
            for name in names
            if name.startswith(incomplete)
        ]

    def names(self) -> list[str]:
        """Return what is completed."""
        return answer_names()


class PageName(RecipeName):
    """The name of an answer, or of an error message."""

    name = "page"

    def convert(
        self,
        value: str,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        if value in message_names():
            return value
        return super().convert(value, param, ctx)

    def names(self) -> list[str]:
        return [*super().names(), *message_names()]


def complete_trap(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[Any]:
    """Return the traps of the recipe that was typed before, else all."""
    # `--trap` has no value yet: click has left what it has read in `args`.
    typed = ctx.args[0].replace("-", "_") if ctx.args else "*"
    return [name for name in trap_names(typed) if name.startswith(incomplete)]
