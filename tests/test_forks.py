"""Proofs for the processes in which scripts of the tests run."""

import os
from pathlib import Path

from tests.forks import fork
from tests.servers import MEASURED, until_it_is_gone

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


WHAT_IS_MEASURED = """
import os, sys
print(sys.gettrace() is not None)
print(bool(os.environ.get("COVERAGE_PROCESS_CONFIG")))
"""


async def test_a_script_is_measured_alone(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(WHAT_IS_MEASURED)
    environment = {**os.environ, **MEASURED}
    async with fork(script, cwd=tmp_path, env=environment) as process:
        printed = (await process.stdout.read()).decode().split()
    are_tests_measured = bool(MEASURED["COVERAGE_PROCESS_CONFIG"])
    assert printed == [str(are_tests_measured), "False"]


async def test_a_script_imports_from_the_path_of_its_environment(
    tmp_path: Path,
) -> None:
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "script.py"
    script.write_text("import beside; print(beside.__file__)")
    module = tmp_path / "beside.py"
    module.touch()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    async with fork(script, cwd=tmp_path, env=environment) as process:
        assert (await process.stdout.read()).decode() == f"{module}\n"
