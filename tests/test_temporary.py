"""Proofs for cookbook/temporary.py: a folder goes, however we end."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cookbook.temporary import temporary_folder
from tests.servers import ROOT, START_TIMEOUT, TIMEOUT

SCRIPT = """
import sys
import time
from cookbook.temporary import temporary_folder
with temporary_folder("test-") as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_temporary_folder_is_of_this_user_and_goes() -> None:
    with temporary_folder("test-") as folder:
        assert folder.name.startswith("test-")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "folder").mkdir()
        (folder / "folder" / "file").touch()
    assert not folder.exists()


def test_a_temporary_folder_goes_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), temporary_folder("test-") as folder:
        1 / 0  # noqa: B018
    assert not folder.exists()


def test_a_temporary_folder_may_be_gone_already() -> None:
    with temporary_folder("test-") as folder:
        folder.rmdir()
    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_temporary_folder_goes_when_the_process_group_is_killed(
    number: signal.Signals,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().decode().rstrip())
    assert (folder / "file").exists()
    os.killpg(process.pid, number)
    process.communicate(timeout=START_TIMEOUT)
    deadline = time.monotonic() + TIMEOUT
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
