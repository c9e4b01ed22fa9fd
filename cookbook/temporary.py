"""A temporary folder that goes with this process, however it ends."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

# The kernel closes the shell's standard input however this process ends, by
# SIGKILL too. What this process had started may still write for a moment.
REMOVER = """
read -r _
for _ in 1 2 3 4 5; do
    rm -rf "$1" && exit
    sleep 1
done
"""


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Make a folder that only this user can open, and remove it at the end.

    A shell removes it, in a session of its own: neither Ctrl-C nor the death
    of this process keeps it from that.
    """
    with (
        TemporaryDirectory(prefix=prefix) as folder,
        removed_at_the_end(Path(folder)),
    ):
        yield Path(folder)


@contextmanager
def removed_at_the_end(folder: Path) -> Iterator[None]:
    """Remove a folder at the end, however this process ends."""
    remover = subprocess.Popen(
        ["/bin/sh", "-c", REMOVER, "sh", folder],
        cwd="/",
        env={"PATH": os.defpath},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        remover.communicate()
