"""`explain`: what an error message means, and what helps."""

import re
import sys
from typing import IO

import click

from cookbook.commands.names import MESSAGES
from cookbook.messages import Message, read_messages
from cookbook.search import MAX_QUERY, Search

UNREADABLE = 2
"""The exit code where there is nothing to explain: 1 is for the unknown."""


@click.command()
@click.argument("file", default="-")
def explain(file: str) -> None:
    """Explain the error message or traceback in FILE, or in standard input.

    The exit code is 1 where nothing is known, and 2 where FILE cannot be read.

    \b
    Examples:
      $ python app.py 2>&1 | aiohttp-cookbook explain
      $ aiohttp-cookbook explain app.log
    """
    try:
        with click.open_file(file, errors="replace") as stream:
            text = read_end(stream)
    except OSError as error:
        click.echo(f"cannot read {file}: {error.strerror}", err=True)
        sys.exit(UNREADABLE)
    messages = Search([], read_messages(MESSAGES)).explain(text)
    if not messages:
        click.echo("Nothing here explains this.", err=True)
        sys.exit(1)
    click.echo("\n\n".join(describe(message, text) for message in messages))


def read_end(stream: IO[str]) -> str:
    """Return the end of a log of any length: it is never whole in memory."""
    text = ""
    while part := stream.read(MAX_QUERY):
        text = (text + part)[-MAX_QUERY:]
    return text


def describe(message: Message, printed: str) -> str:
    """Return what a terminal shows of a message, with its colours.

    The releases are those that print its own text, and not all have the others.
    """
    lines = [click.style(message.text, bold=True)]
    for cause in message.causes:
        lines.append(f"  {_plain(cause.why)}")
        lines.append(click.style(f"    {_plain(cause.cure)}", fg="green"))
    if message.releases and message.is_in(printed):
        lines.append(f"  Printed by: {', '.join(message.releases)}")
    if message.recipe:
        lines.append(f"  See: recipes/{message.recipe}.py")
    if message.trap:
        trap = f"recipes/traps/{message.recipe}/{message.trap}.py"
        lines.append(f"  The mistake: {trap}")
    return "\n".join(lines)


def _plain(markdown: str) -> str:
    """Return a line of Markdown without its marks."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    # Two asterisks in code are code: `2**20`.
    parts = text.split("`")
    parts[::2] = [prose.replace("**", "") for prose in parts[::2]]
    return "".join(parts)
