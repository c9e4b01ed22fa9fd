"""`new`: a project of one's own, from recipes."""

import os
from pathlib import Path

import click

from cookbook.commands.names import RECIPES, RecipeName


class CannotWriteError(click.ClickException):
    """Nothing was written."""

    exit_code = 2


@click.command()
@click.argument("names", nargs=-1, required=True, type=RecipeName())
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--production",
    is_flag=True,
    help="Take the second file of each that has one, and add deploy/.",
)
def new(names: tuple[str, ...], folder: Path, production: bool) -> None:
    """Make a project from recipes in DIR, which is empty or not there yet.

    One recipe becomes its app.py. Several become an application that mounts
    each below its prefix. Tests, settings, a Makefile, a workflow and a
    Dockerfile come with it.

    \b
    Examples:
      $ aiohttp-cookbook new database notes
      $ aiohttp-cookbook new database websocket_logout global_gzip service
      $ aiohttp-cookbook new parallel_events events --production
    """
    from cookbook.project import files_of, read_project, write_project

    if len(set(names)) < len(names):
        raise click.UsageError("each recipe can be taken once")
    if production and not _has_second_file(names):
        which = "its answer is" if len(names) == 1 else "their answers are"
        raise click.UsageError(f"no second file: {which} whole")
    where = click.format_filename(folder)
    try:
        is_here = folder.exists() and folder.samefile(Path.cwd())
        name = Path(os.path.realpath(folder)).name
        project = read_project(RECIPES, names, name, production=production)
        files = files_of(project, RECIPES.with_name("deploy"))
        write_project(folder, files)
    except OSError as error:
        reason = error.strerror or error
        raise CannotWriteError(f"cannot write to {where}: {reason}") from error
    click.echo(f"{where} has {len(files)} files. `make run` there serves it.")
    if is_here:
        click.echo("It is a new folder of the same name: `cd .` enters it.")


def _has_second_file(names: tuple[str, ...]) -> bool:
    return any(
        (RECIPES / "production" / f"{name}.py").exists() for name in names
    )
