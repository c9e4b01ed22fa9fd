"""The lines of a dialogue as they are where a recipe is mounted.

The tests of a dialogue (`cookbook.runner`) do the same the other way round.
"""

import re

from cookbook.pages.curl import HOST

PATH = re.compile(r'(?<=["\s])(?=/)')
"""Where a path of an output begins: behind a quote, or a header's colon."""


def mounted_command(text: str, host: str, prefix: str) -> str:
    """Return a command that asks this host, below the prefix."""
    return text.replace(HOST, host + prefix)


def mounted_output(text: str, host: str, prefix: str) -> str:
    """Return an output, its paths below the prefix."""
    return PATH.sub(prefix, mounted_command(text, host, prefix))
