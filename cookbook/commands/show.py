"""`show`: a page in the terminal."""

import sys
from typing import TYPE_CHECKING

import click

from cookbook.commands.names import MESSAGES, RECIPES, PageName, production_file

if TYPE_CHECKING:
    from cookbook.commands import Collection
    from cookbook.pages.content import Content


@click.command()
@click.argument("name", type=PageName())
@click.option("--production", is_flag=True, help="Show the second file.")
@click.pass_context
def show(context: click.Context, name: str, production: bool) -> None:
    """Show the page of a recipe, or of an error message.

    In a pipe, it is plain Markdown.

    \b
    Examples:
      $ aiohttp-cookbook show database
      $ aiohttp-cookbook show database --production > database.md
      $ aiohttp-cookbook show session_is_closed
    """
    if production:
        production_file(name)
    text = _read(name, production, context)
    if not sys.stdout.isatty():
        click.echo(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def _read(name: str, production: bool, context: click.Context) -> str:
    from cookbook.messages import read_messages
    from cookbook.pages.errors import message_in_markdown
    from cookbook.pages.programs import (
        production_in_markdown,
        recipe_in_markdown,
    )
    from cookbook.pages.site import BENCHMARKS, VERDICTS
    from cookbook.pages.speed import read_speed
    from cookbook.verdicts import read_verdicts

    if not (RECIPES / f"{name}.py").exists():
        messages = {each.name: each for each in read_messages(MESSAGES)}
        return message_in_markdown(messages[name])
    content = _content_of(name, context.obj())
    if production:
        return production_in_markdown(content)
    speed = read_speed(BENCHMARKS, RECIPES / "speed.toml")
    return recipe_in_markdown(content, read_verdicts(VERDICTS), speed)


def _content_of(name: str, collection: "Collection") -> "Content":
    """Return what the page of a recipe shows where it is served."""
    from aiohttp import web
    from cryptography.fernet import Fernet

    from cookbook.pages.content import Content
    from cookbook.recipe import Settings

    [(number, recipe)] = [
        (number, recipe)
        for number, recipe in enumerate(collection.COOKBOOK, 1)
        if recipe.name == name
    ]
    # Nothing is opened: the application is looked at, and not run.
    settings = Settings(
        redis_url="redis://localhost",
        postgres_url="postgresql://localhost/cookbook",
        data_dir=RECIPES,
        session_key=Fernet.generate_key().decode(),
    )
    app = recipe.create_app(settings)
    web.Application().add_subapp(recipe.prefix, app)
    return Content(number, recipe, app, unavailable={})
