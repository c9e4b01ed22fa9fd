"""Proofs for the wheel: it is installed, and run beside files of our names."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest
from aiohttp import ClientSession

import app
from tests.servers import ROOT, START_TIMEOUT, UNMEASURED, Process, listening

pytestmark = pytest.mark.full("it builds a wheel")

LINKS = re.compile(r"\]\(([^)]*)\)")
"""Where links and pictures of a Markdown lead."""

TOOLS = ["cat", "nice", "rm", "sh"]
"""What an installed cookbook may need of a system: curl is not among them."""

UV = Path(sys.executable).with_name("uv")

PYTHON = ["--no-python-downloads", "--python", sys.executable]
"""The interpreter that uv takes."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the project, as it is on disk now."""
    return build_wheel(tmp_path_factory.mktemp("wheel"), COOKBOOK_FILES="")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and no `app`.

    The packages that it needs are those of this environment, and come last.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder], check=True
    )
    programs = folder / "bin"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--quiet"),
            *("--python", programs / "python"),
            *("install", "--no-deps", "--no-index", wheel),
        ],
        check=True,
        timeout=100,
    )
    [packages] = folder.glob("lib/python*/site-packages")
    # Its own .pth files are not read: the repository is not on the path.
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    return programs


@pytest.fixture
def folder_of_traps(tmp_path: Path) -> Path:
    """A reader's folder, which has our names for other things."""
    text = "raise SystemExit('a file of the reader was run')\n"
    for name in ("app", "cookbook", "recipes", "tests", "verdicts"):
        (tmp_path / f"{name}.py").write_text(text)
    for name in ("cookbook", "recipes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    return tmp_path


@pytest.fixture(scope="module")
def path_without_curl(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bin")
    for name in TOOLS:
        (folder / name).symlink_to(f"/bin/{name}")
    return str(folder)


@pytest.fixture(scope="module")
def cached_by_uv() -> Path:
    """A recipe whose packages uv need not fetch any more."""
    recipe = ROOT / "recipes" / "database.py"
    subprocess.run(
        [UV, "sync", "--quiet", "--script", recipe, *PYTHON],
        check=True,
        timeout=100,
    )
    return recipe


@pytest.fixture
def bound(installed: Path) -> Iterator[list[str]]:
    """Make the environment read-only, and yield what holds a command to it."""
    folder = installed.parent
    command = []
    if os.geteuid() == 0:
        # No mode stops a root that has not given up its capabilities.
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root can write everywhere, and there is no setpriv")
        command = [setpriv, "--bounding-set=-all", "--"]
    subprocess.run(["/bin/chmod", "-R", "a-w", folder], check=True)
    touch = [*command, "touch", str(folder / "written")]
    assert subprocess.run(touch, capture_output=True).returncode != 0
    yield command
    subprocess.run(["/bin/chmod", "-R", "u+w", folder], check=True)


def build_wheel(folder: Path, **environment: str) -> Path:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)),
        ],
        env={**os.environ, **environment},
        check=True,
        timeout=100,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def description_of(wheel: Path) -> str:
    """Return the page of the package, as an index shows it."""
    with ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if "/METADATA" in each]
        metadata = message_from_bytes(archive.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    return str(metadata.get_payload())


def files_of(folder: Path) -> dict[Path, int]:
    """Return what lies in a folder, and when it was last written."""
    return {
        file: file.stat().st_mtime_ns
        for file in folder.rglob("*")
        if "__pycache__" not in file.parts and file.is_file()
    }


def tracked(*places: str) -> Iterator[str]:
    """Yield the files of the repository at these places."""
    for place in places:
        for path in [ROOT / place, *(ROOT / place).rglob("*")]:
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT).as_posix()


@asynccontextmanager
async def started(
    *command: str, cwd: Path, **environment: str
) -> AsyncIterator[Process]:
    log = cwd / "log"
    variables = {"HOME": str(cwd), "COOKBOOK_PORT": "0", **UNMEASURED}
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env=variables | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    async with listening(process, log) as server:
        yield server


def run_by_uv(script: str, cwd: Path) -> AbstractAsyncContextManager[Process]:
    """Run a script as its reader does, on a free port."""
    environment = {**os.environ, "PORT": "0"}
    return started(str(UV), "run", *PYTHON, script, cwd=cwd, **environment)


def test_the_wheel_has_one_top_level_package_and_all_content(
    wheel: Path,
) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith("dist-info")} == {
        "aiohttp_cookbook"
    }
    content = {
        name.removeprefix("aiohttp_cookbook/")
        for name in names
        if name.startswith("aiohttp_cookbook/")
    }
    places = ("app.py", "cookbook", "recipes", "deploy", "tests/production")
    assert set(tracked(*places)) <= content
    assert {"verdicts/results.json", "benchmarks/results.json"} <= content
    for recipe in app.COOKBOOK:
        assert f"tests/test_{recipe.name}.py" in content


def test_the_description_without_an_address_has_no_broken_link(
    wheel: Path,
) -> None:
    text = description_of(wheel)
    assert "](docs/" not in text
    assert "![" not in text
    assert all(link.startswith("http") for link in LINKS.findall(text))
    assert "| recipes/database.py | [/recipes/database](http" in text


def test_pictures_and_links_of_the_description_are_absolute(
    tmp_path: Path,
) -> None:
    base = "https://example.org/cookbook/blob/v1"
    wheel = build_wheel(tmp_path, COOKBOOK_FILES=f"{base}/")
    links = LINKS.findall(description_of(wheel))
    assert all(link.startswith("http") for link in links)
    files = [link[len(base) + 1 :] for link in links if link.startswith(base)]
    assert {"CONTRIBUTING.md", "docs/index.png?raw=true"} <= set(files)
    for file in files:
        assert (ROOT / file.removesuffix("?raw=true")).is_file()


@pytest.mark.parametrize(
    "command", [["aiohttp-cookbook"], ["python", "-m", "aiohttp_cookbook"]]
)
async def test_the_installed_cookbook_serves_beside_files_of_its_names(
    installed: Path,
    folder_of_traps: Path,
    path_without_curl: str,
    command: list[str],
) -> None:
    before = files_of(installed.parent)
    program, *arguments = command
    async with started(
        str(installed / program),
        *arguments,
        cwd=folder_of_traps,
        PATH=path_without_curl,
    ) as process:
        url = f"http://localhost:{process.port}"
        async with ClientSession(url, raise_for_status=True) as client:
            for recipe in app.COOKBOOK:
                async with client.get(recipe.page) as response:
                    assert 'id="proved-by"' in await response.text()
                for path in (f"{recipe.page}.py", f"{recipe.page}/tests"):
                    async with client.get(path):
                        pass
            for path in ("/", "/errors", "/verdicts", "/recipes.json"):
                async with client.get(path):
                    pass
            # What the benchmarks have measured is there.
            async with client.get("/production") as response:
                assert 'id="growth"' in await response.text()
            async with client.post("/route-table/post", data="x") as response:
                assert await response.json() == {"method": "POST", "body": "x"}
        assert await process.end() == 0
    assert "Traceback" not in process.log.read_text()
    assert files_of(installed.parent) == before


async def test_a_read_only_cookbook_serves_where_home_cannot_be_written(
    installed: Path, bound: list[str], path_without_curl: str, tmp_path: Path
) -> None:
    async with started(
        *bound,
        str(installed / "aiohttp-cookbook"),
        cwd=tmp_path,
        PATH=path_without_curl,
        HOME=str(installed.parent / "home"),
    ) as process:
        url = f"http://localhost:{process.port}"
        async with ClientSession(url, raise_for_status=True) as client:
            for path in ("/", "/recipes/database.zip", "/database/answer"):
                async with client.get(path):
                    pass
            # Its Redis has a folder elsewhere.
            async with client.post("/parallel-events/channels/a", data="x"):
                pass
        assert await process.end() == 0
    assert "Traceback" not in process.log.read_text()


def test_uvx_runs_the_wheel_beside_files_of_its_names(
    wheel: Path, folder_of_traps: Path
) -> None:
    outcome = subprocess.run(
        [
            UV.with_name("uvx"),
            *("--quiet", *PYTHON),
            *("--constraints", ROOT / "constraints.txt", "--from", wheel),
            *("aiohttp-cookbook", "list"),
        ],
        cwd=folder_of_traps,
        env={**os.environ, **UNMEASURED},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert outcome.returncode == 0, outcome.stderr
    for recipe in app.COOKBOOK:
        assert f"  {recipe.name} " in outcome.stdout


async def test_uv_runs_the_file_of_a_recipe_by_its_header(
    cached_by_uv: Path, tmp_path: Path
) -> None:
    file = str(shutil.copy(cached_by_uv, tmp_path))
    async with run_by_uv(file, tmp_path) as process:
        async with ClientSession() as client:
            url = f"http://localhost:{process.port}/notes"
            async with client.get(url, raise_for_status=True):
                pass
        assert await process.end() == 0


async def test_uv_runs_a_recipe_from_the_address_that_its_page_names(
    installed: Path,
    cached_by_uv: Path,
    path_without_curl: str,
    tmp_path: Path,
) -> None:
    command = str(installed / "aiohttp-cookbook")
    async with (
        started(command, cwd=tmp_path, PATH=path_without_curl) as cookbook,
        ClientSession(raise_for_status=True) as client,
    ):
        page = f"http://localhost:{cookbook.port}/recipes/{cached_by_uv.stem}"
        async with client.get(page) as response:
            line = re.search(
                r"^uv run (http[^<]*)", await response.text(), re.M
            )
        assert line
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        async with run_by_uv(line[1], elsewhere) as process:
            url = f"http://localhost:{process.port}/notes"
            async with client.get(url):
                pass
            assert await process.end() == 0
        assert await cookbook.end() == 0


def test_the_installed_command_explains_an_error(
    installed: Path, folder_of_traps: Path
) -> None:
    outcome = subprocess.run(
        [installed / "aiohttp-cookbook", "explain"],
        input="RuntimeError: Session is closed",
        cwd=folder_of_traps,
        env={**os.environ, **UNMEASURED},
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.startswith("Session is closed\n")


def test_the_installed_command_tells_its_version(installed: Path) -> None:
    outcome = subprocess.run(
        [installed / "aiohttp-cookbook", "--version"],
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert outcome.stdout == f"{project['version']}\n"
