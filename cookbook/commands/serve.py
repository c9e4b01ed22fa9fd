"""`serve`: all recipes and their pages, as `make run` has them."""

import click


# Its options are those of the server, which is imported only to be run.
@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def serve(context: click.Context, options: tuple[str, ...]) -> None:
    """Serve all recipes: so does `aiohttp-cookbook` without a command.

    `serve --help` lists the options.

    \b
    Examples:
      $ aiohttp-cookbook serve --port 8081
    """
    from cookbook.server import command

    app = context.obj()
    command(app.create_app, app.COOKBOOK).main(
        list(options), prog_name=context.command_path, standalone_mode=False
    )
