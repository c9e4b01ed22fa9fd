"""`list`: what there is, by the names that the other commands take."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import click

from cookbook.commands.names import MESSAGES, RECIPES
from cookbook.docs import Docs
from cookbook.messages import read_messages

if TYPE_CHECKING:
    from cookbook.commands import Collection

HEADINGS = {
    "question": "Questions",
    "production": "Production files",
    "trap": "Traps",
    "message": "Error messages",
}


@dataclass(frozen=True)
class Entry:
    """A thing that has a name; `command` shows it, or runs it."""

    kind: str
    name: str
    title: str
    command: str


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """List questions, production files, traps and error messages.

    \b
    Examples:
      $ aiohttp-cookbook list
      $ aiohttp-cookbook list | grep -i cookie
      $ aiohttp-cookbook list --json
    """
    entries = list(_entries(context.obj()))
    if as_json:
        values = [asdict(entry) for entry in entries]
        click.echo(json.dumps(values, ensure_ascii=False, indent=1))
        return
    for kind, group in groupby(entries, lambda entry: entry.kind):
        click.echo(click.style(HEADINGS[kind], bold=True))
        for entry in group:
            click.echo(f"  {entry.name:<36} {entry.title}")


def _entries(collection: "Collection") -> Iterator[Entry]:
    for recipe in collection.COOKBOOK:
        name, title = recipe.name, recipe.docs.title
        yield Entry("question", name, title, f"show {name}")
    for recipe in collection.PRODUCTION:
        name, title = recipe.name, recipe.docs.title
        yield Entry("production", name, title, f"show {name} --production")
    for recipe in collection.COOKBOOK:
        folder = RECIPES / "traps" / recipe.name
        for file in sorted(folder.glob("*.py")):
            docs = Docs.of_source(file.read_text(encoding="utf-8"))
            command = f"run {recipe.name} --trap {file.stem}"
            yield Entry(
                "trap", f"{recipe.name} {file.stem}", docs.title, command
            )
    for message in read_messages(MESSAGES):
        title = message.text.replace("\n", " ")
        yield Entry("message", message.name, title, f"show {message.name}")
