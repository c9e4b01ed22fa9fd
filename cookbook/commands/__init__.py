"""The command line: a group of commands, each in a file of its own.

The machinery knows no recipe by its name. So whoever starts the command line
says how they are loaded: a command that needs them calls `context.obj`.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import click

from cookbook.commands.doctor import doctor
from cookbook.commands.explain import explain
from cookbook.commands.listing import list_
from cookbook.commands.new import new
from cookbook.commands.run import run
from cookbook.commands.serve import serve
from cookbook.commands.show import show

if TYPE_CHECKING:
    from aiohttp import web

    from cookbook.recipe import Recipe

INTERRUPTED = 130
"""The exit code after Ctrl-C, as a shell has it."""

OF_THE_GROUP = frozenset({"--help", "--version"})
"""Options that are not for `serve`."""


class Collection(Protocol):
    """The module `app`: what it lists, and what serves it."""

    COOKBOOK: "list[Recipe]"
    PRODUCTION: "list[Recipe]"

    @property
    def create_app(self) -> "Callable[..., web.Application]": ...


class _Group(click.Group):
    """A group whose options, and the lack of a command, are for `serve`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_for_serve = not args or (
            args[0].startswith("-") and args[0] not in OF_THE_GROUP
        )
        # A shell that completes is told of all commands.
        if is_for_serve and not ctx.resilient_parsing:
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group)
@click.version_option(package_name="aiohttp-cookbook", message="%(version)s")
def group() -> None:
    """The aiohttp cookbook: the answers of aiohttp's FAQ, as files that run.

    Without a command, all of them are served at http://localhost:8080.
    `aiohttp-cookbook serve --help` lists the options, which need no command
    either.

    \b
    Examples:
      $ aiohttp-cookbook
      $ aiohttp-cookbook --port 8081

    Completion, for the shell that you use:

    \b
      bash  eval "$(_AIOHTTP_COOKBOOK_COMPLETE=bash_source aiohttp-cookbook)"
      zsh   eval "$(_AIOHTTP_COOKBOOK_COMPLETE=zsh_source aiohttp-cookbook)"
      fish  _AIOHTTP_COOKBOOK_COMPLETE=fish_source aiohttp-cookbook | source
    """


for command in (serve, list_, show, run, new, explain, doctor):
    group.add_command(command)


def run_command_line(load: Callable[[], Collection]) -> None:
    """Run the command that the shell names.

    `load` returns the recipes. What is wrong with the command line is said in
    one line.
    """
    try:
        group(
            prog_name="aiohttp-cookbook",
            complete_var="_AIOHTTP_COOKBOOK_COMPLETE",
            standalone_mode=False,
            obj=load,
        )
    except click.ClickException as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(INTERRUPTED)
