"""Writes a project: all of it, or nothing."""

import io
import os
import secrets
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

from cookbook.temporary import removed_at_the_end

OLDEST = (1980, 1, 1, 0, 0, 0)
"""The time of a file in an archive, so that each is made the same."""


def write_project(folder: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder that is empty, or not there yet.

    They are written beside it, and then take its place at once. However this
    process ends, the folder has all of them or none. Raises FileExistsError for
    a folder that is not empty, and OSError where it cannot be written.
    """
    # A link keeps leading to it.
    place = Path(os.path.realpath(folder))
    _check(place)
    beside = place.with_name(f".new-{secrets.token_hex(8)}")
    # What removes it is there before it is.
    with removed_at_the_end(beside):
        beside.mkdir(mode=0o700)
        project = beside / "project"
        project.mkdir()
        for name, text in files.items():
            file = project / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        if place.exists():
            project.chmod(stat.S_IMODE(place.stat().st_mode))
        try:
            # It takes the place of an empty folder, and of no other.
            project.rename(place)
        except OSError:
            _check(place)
            raise


def _check(place: Path) -> None:
    if not place.exists():
        return
    if not stat.S_ISDIR(place.stat().st_mode):
        raise NotADirectoryError(f"{place.name} is no folder")
    if any(place.iterdir()):
        raise FileExistsError(f"{place.name} is not empty")


def archive(folder: str, files: Mapping[str, str]) -> bytes:
    """Return files as a zip, in which they lie below `folder`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, text in files.items():
            info = zipfile.ZipInfo(f"{folder}/{name}", OLDEST)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            target.writestr(info, text.encode())
    return buffer.getvalue()
