"""Proofs for the processes in which scripts of the tests run."""

import os
from pathlib import Path

from tests.forks import fork
from tests.servers import until_it_is_gone

SCRIPT = """
import subprocess, time
child = subprocess.Popen(["sleep", "60"])
print(child.pid)
time.sleep(60)
"""


async def test_what_a_script_has_started_ends_with_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    async with fork(script, cwd=tmp_path, env=os.environ) as process:
        started = int(await process.stdout.readline())
    await until_it_is_gone(started)
