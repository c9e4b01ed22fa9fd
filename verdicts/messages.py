"""Measures which releases of aiohttp print the messages of recipes/messages/.

`python -m verdicts.messages` runs the programs of all messages that are not of
another package, on the newest patch of each release, and writes messages.json:
the releases that print each. tests/test_messages.py compares them with what
recipes/messages.toml says.
"""

import json
import platform
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from cookbook.messages import Message, read_messages
from tests.programs import running_programs
from verdicts.__main__ import RELEASES, REQUIREMENTS, environment, version_of

HERE = Path(__file__).parent
RESULTS = HERE / "messages.json"
MESSAGES = HERE.parent / "recipes" / "messages.toml"
KINDS = ("client", "server", "websocket", "warning", "session")
"""The groups whose messages depend on the release of aiohttp."""


def measured() -> list[Message]:
    """Return the messages that are measured: those with a program."""
    return [
        message
        for message in read_messages(MESSAGES)
        if message.program and message.kind in KINDS
    ]


def printed_by(python: Path, messages: Iterable[Message]) -> set[str]:
    """Run the programs of messages, and return who is printed."""
    names = set()
    with running_programs(str(python)) as programs:
        for message in messages:
            with TemporaryDirectory() as folder:
                outcome = programs.run(message.program or "", Path(folder))
            if message.is_in(outcome.printed):
                names.add(message.name)
    return names


@click.command(help=__doc__)
def main() -> None:
    versions = {}
    printed = {}
    with click.progressbar(RELEASES, label="messages") as columns:
        for release in columns:
            python = environment(release, ["-r", str(REQUIREMENTS[release])])
            versions[release] = version_of(python)
            printed[release] = printed_by(python, measured())
    results = {
        "python": platform.python_version(),
        "versions": versions,
        "messages": {
            message.name: [
                each for each in RELEASES if message.name in printed[each]
            ]
            for message in measured()
        },
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    click.echo(f"written: {RESULTS.name}")


if __name__ == "__main__":
    main()
