"""`doctor`: what the FAQ and the traps warn of, found in a project."""

import json
import sys
from pathlib import Path

import click

from cookbook.doctor.project import Finding, Report, examine

FOUND = 1
"""The exit code where there are findings."""

UNREADABLE = 2
"""The exit code where something could not be read, and nothing was found."""


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(path: Path, as_json: bool) -> None:
    """Find in PATH what the FAQ of aiohttp warns of.

    PATH is a file or a folder. It is read, and nothing of it is run. A comment
    `# doctor: ignore RULE` silences a rule on its line, or in the whole file
    where it stands alone.

    The exit code is 1 where something is found, and 2 where PATH, or a file in
    it, cannot be read.

    \b
    Examples:
      $ aiohttp-cookbook doctor app.py
      $ aiohttp-cookbook doctor --json app.py
    """
    try:
        report = examine(path)
    except OSError as error:
        click.echo(
            _printable(f"cannot read {path}: {error.strerror}"), err=True
        )
        sys.exit(UNREADABLE)
    if as_json:
        click.echo(json.dumps(describe(report), indent=2))
    else:
        for finding in report.findings:
            click.echo(_text(finding))
    for file, reason in report.unread:
        click.echo(_printable(f"cannot read {file}: {reason}"), err=True)
    if not report.files and not report.unread:
        click.echo(_printable(f"no Python file in {path}"), err=True)
        sys.exit(UNREADABLE)
    count = len(report.findings)
    click.echo(
        _printable(f"{report.files} files read, {count} findings"), err=True
    )
    if report.findings:
        sys.exit(FOUND)
    if report.unread:
        sys.exit(UNREADABLE)


def describe(report: Report) -> dict[str, object]:
    """Return a report as JSON has it."""
    return {
        "files": report.files,
        "lines": report.lines,
        "findings": [
            {
                "file": finding.file,
                "line": finding.line,
                "column": finding.column,
                "rule": finding.rule.name,
                "message": finding.rule.message,
                "recipe": finding.recipe,
                "trap": finding.trap or None,
                "fix": finding.fix or None,
            }
            for finding in report.findings
        ],
        "unread": [
            {"file": file, "reason": reason} for file, reason in report.unread
        ],
    }


def _text(finding: Finding) -> str:
    file = _printable(finding.file)
    place = f"{file}:{finding.line}:{finding.column}"
    lines = [
        f"{click.style(place, bold=True)}: {finding.rule.name}: "
        f"{finding.rule.message}",
        f"  See: {finding.recipe}",
    ]
    if finding.trap:
        lines.append(f"  The mistake: {finding.trap}")
    if finding.fix:
        lines.append(
            click.style(f"  Fix: {_printable(finding.fix)}", fg="green")
        )
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Return a text without what would move the cursor of a terminal."""
    return "".join(
        each if each.isprintable() else ascii(each)[1:-1] for each in text
    )
