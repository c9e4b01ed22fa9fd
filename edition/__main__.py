"""`python -m edition`: records transcripts, and writes the public edition."""

import asyncio
import logging
from pathlib import Path

import click

from app import COOKBOOK
from cookbook.pages import Edition
from cookbook.transcripts import Transcripts
from edition import record
from edition.publish import publish

TRANSCRIPTS = Path(__file__).with_name("transcripts.json")

RECIPES = {recipe.name: recipe for recipe in COOKBOOK}

BASE = "http://localhost:8000/"
"""Where `python -m http.server` serves the folder that it is started in."""


@click.group()
def main() -> None:
    """Make the public edition of the cookbook."""


@main.command("record")
@click.argument("names", nargs=-1, type=click.Choice(list(RECIPES)))
def record_some(names: tuple[str, ...]) -> None:
    """Play all dialogues, or those of NAMES, and write what was answered.

    Example: python -m edition record database after_response
    """
    recipes = [RECIPES[name] for name in names or RECIPES]
    length = record.count(recipes)
    with click.progressbar(length=length, label="dialogues") as bar:
        fresh = asyncio.run(record.record(recipes, lambda: bar.update(1)))
    if names:
        fresh = Transcripts.read(TRANSCRIPTS).with_changes(fresh)
    fresh.write(TRANSCRIPTS)


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--base",
    default=BASE,
    show_default=True,
    help="The address that the folder will have.",
)
def build(folder: Path, base: str) -> None:
    """Write the public edition into FOLDER, which has to be empty.

    Example: python -m edition build site --base https://example.org/cookbook/
    """
    # That a recipe lacks its service is of no interest here.
    logging.disable(logging.WARNING)
    base = f"{base.rstrip('/')}/"
    edition = Edition(base, Transcripts.read(TRANSCRIPTS))
    try:
        publish(folder, edition)
    except OSError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
