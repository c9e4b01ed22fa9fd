"""`aiohttp-cookbook`, and `python -m aiohttp_cookbook`: the command line."""

from importlib import import_module
from typing import cast

import aiohttp_cookbook  # noqa: F401 - first, since it says where the rest is
from cookbook.commands import Collection, run_command_line


def run() -> None:
    """Run the command that the shell names; without one, serve."""
    run_command_line(load)


def load() -> Collection:
    """Import all recipes, which takes longer than all else."""
    return cast(Collection, import_module("app"))


if __name__ == "__main__":
    run()
