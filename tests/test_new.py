"""Proofs for `new`: a project is whole, runs alone, and is written at once."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import pytest
from click.testing import CliRunner, Result
from packaging.requirements import Requirement

import app
from cookbook.commands import group
from cookbook.project import Project, archive, files_of, read_project
from cookbook.project.ingredients import Ingredient
from cookbook.recipe import Recipe
from tests.conftest import folder_of_run, locked
from tests.servers import ROOT, START_TIMEOUT, UNMEASURED

RECIPES = ROOT / "recipes"
DEPLOY = ROOT / "deploy"

ANSWERS = [recipe.name for recipe in app.COOKBOOK]
PRODUCTION = [recipe.name for recipe in app.PRODUCTION]

PROJECTS = [
    *(([name], False) for name in ANSWERS),
    *(([name], True) for name in PRODUCTION),
    # The first that reads nothing, one of each kind, and all.
    (["nested_apps", "prefix_sink"], False),
    (["database", "websocket_logout", "global_gzip"], False),
    (ANSWERS, False),
    (["route_table", "database", "after_response"], True),
    (PRODUCTION, True),
]

MODULES = {
    "aiohttp_session": "aiohttp-session",
    "psycopg_pool": "psycopg",  # by an extra of it
    "pytest_aiohttp": "pytest-aiohttp",
    "pytest_asyncio": "pytest-asyncio",
}
"""Packages whose name is not that of their module."""

every_project = pytest.mark.parametrize(
    ("names", "production"),
    PROJECTS,
    ids=[
        f"{'+'.join(names[:3])}{'-production' * production}-{len(names)}"
        for names, production in PROJECTS
    ],
)


def new(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, ["new", *map(str, arguments)])


def make(names: list[str], production: bool) -> Project:
    return read_project(RECIPES, names, "service", production=production)


def files_in(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text()
        for file in folder.rglob("*")
        if file.is_file()
    }


def imports_in(sources: Iterator[str]) -> set[str]:
    """Return the modules that sources import, of no part of Python."""
    modules = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add(str(node.module))
    tops = {module.partition(".")[0] for module in modules}
    return tops - sys.stdlib_module_names


# What is in it


@pytest.mark.unmeasured("a project of each kind is made below")
@every_project
def test_a_project_names_exactly_the_packages_that_it_imports(
    names: list[str], production: bool
) -> None:
    files = files_of(make(names, production), DEPLOY)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    named = [Requirement(each).name for each in project["dependencies"]]
    assert len(set(named)) == len(named)
    modules = [name for name in files if name.endswith(".py")]
    own = {Path(name).stem for name in modules}
    imported = imports_in(files[name] for name in modules if "/" not in name)
    assert {MODULES.get(name, name) for name in imported - own} == set(named)
    tests = imports_in(files[name] for name in modules if "/" in name)
    for_tests = [
        Requirement(each).name
        for each in project["optional-dependencies"]["test"]
    ]
    needed = {MODULES.get(name, name) for name in tests - own} - set(named)
    assert set(for_tests) == needed | {"mypy", "pytest", "ruff"}


@pytest.mark.unmeasured("a project of each kind is made below")
@every_project
def test_a_project_has_all_that_it_is_promised(
    names: list[str], production: bool
) -> None:
    files = files_of(make(names, production), DEPLOY)
    assert {
        "Dockerfile",
        "Makefile",
        "README.md",
        ".github/workflows/tests.yml",
        ".gitignore",
        "app.py",
        "pyproject.toml",
        "tests/test_app.py",
    } <= set(files)
    assert ("deploy/compose.yaml" in files) == production
    for name in names:
        docs = read_project(RECIPES, [name], "a").recipes[0].docs
        assert docs.title in files["README.md"]
    for name, text in files.items():
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name
        assert "{%" not in text, name
        assert "\n\n\n\n" not in text, name
    for name in ("deploy/compose.yaml", "deploy/nginx.conf.template"):
        assert "gunicorn" not in files.get(name, "")
        assert "cookbook" not in files.get(name, "")


@pytest.mark.parametrize("recipe", app.COOKBOOK + app.PRODUCTION)
def test_the_app_is_the_recipe_but_for_the_host_of_a_container(
    recipe: Recipe,
) -> None:
    project = make([recipe.name], recipe in app.PRODUCTION)
    ours = recipe.source.splitlines()
    theirs = project.sources["app.py"].splitlines()
    added = [line for line in theirs if line not in ours]
    gone = [line for line in ours if line not in theirs]
    assert added[0].strip() == (
        'listen_host = os.environ.get("HOST", "127.0.0.1")'
    )
    assert [
        line.replace("listen_host", '"127.0.0.1"') for line in added[1:]
    ] == (gone)
    assert len(gone) == 1


def test_a_project_is_the_same_each_time(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        assert new("database", "one_response", tmp_path / folder / "service")
        (tmp_path / folder).mkdir(exist_ok=True)
        outcome = new("database", "global_gzip", tmp_path / folder / "service")
        assert outcome.exit_code == 0, outcome.output
    one, other = (files_in(tmp_path / name) for name in ("one", "other"))
    assert one == other
    assert one
    project = make(["database"], production=False)
    files = files_of(project, DEPLOY)
    packed = archive("service", files)
    assert packed == archive("service", files)
    with zipfile.ZipFile(BytesIO(packed)) as unpacked:
        assert unpacked.testzip() is None
        assert unpacked.read("service/app.py").decode() == files["app.py"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My Shop!", "my-shop"),
        ("日本", "app"),
        ("-x", "x"),
        # pip would take it for the package itself.
        ("aiohttp", "aiohttp-app"),
        ("PyTest", "pytest-app"),
    ],
)
def test_a_project_bears_a_name_that_a_package_may_have(
    folder: str, name: str
) -> None:
    assert read_project(RECIPES, ["database"], folder).name == name


def test_two_recipes_need_the_newer_of_their_versions() -> None:
    project = make(["database", "prefix_sink"], production=False)
    assert "aiohttp>=3.10.6,<4" in project.dependencies


def test_extras_of_a_package_are_needed_together() -> None:
    names = ["database", "after_response"]
    [psycopg] = [
        each
        for each in make(names, production=True).dependencies
        if each.startswith("psycopg")
    ]
    assert psycopg == "psycopg[binary,pool]>=3.3,<4"


# Where it is written


def test_new_writes_a_project_and_says_what_to_type(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    outcome = new("database", folder)
    assert outcome.exit_code == 0
    project = read_project(RECIPES, ["database"], "notes")
    assert files_in(folder) == files_of(project, DEPLOY)
    assert "make run" in outcome.output
    assert [each.name for each in tmp_path.iterdir()] == ["notes"]
    umask = os.umask(0)
    os.umask(umask)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize("name", ["a b", "-rf", "日本\n", "'\"$(x)", "x" * 255])
def test_new_takes_odd_names(tmp_path: Path, name: str) -> None:
    assert new("database", tmp_path / name).exit_code == 0
    assert (tmp_path / name / "app.py").exists()


def test_new_takes_an_empty_folder_and_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir(mode=0o700)
    assert new("database", folder).exit_code == 0
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "app.py").exists()


def test_new_follows_a_link_to_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    assert new("database", tmp_path / "link").exit_code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "app.py").exists()


def test_new_takes_the_folder_that_the_reader_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.chdir(folder)
    outcome = new("database", ".")
    monkeypatch.undo()
    assert outcome.exit_code == 0, outcome.output
    assert "`cd .`" in outcome.output
    assert (folder / "app.py").exists()


def test_new_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / ".hidden").touch()
    outcome = new("database", tmp_path / "notes")
    assert outcome.exit_code == 2
    assert "is not empty" in outcome.output
    assert [each.name for each in tmp_path.rglob("*")] == ["notes", ".hidden"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("file", "file is no folder"),
        ("no/such/notes", "No such file or directory"),
        ("file/notes", "Not a directory"),
        ("x" * 256, "File name too long"),
        ("loop", "Not a directory"),
    ],
)
def test_new_says_in_one_line_why_it_cannot_write(
    tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.rglob("*"))
    outcome = new("database", tmp_path / place)
    assert outcome.exit_code == 2
    assert reason in outcome.output
    assert outcome.output.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="it needs a /proc")
def test_new_says_that_a_parent_cannot_be_written() -> None:
    outcome = new("database", "/proc/notes")
    assert outcome.exit_code == 2
    assert outcome.output.startswith("Error: cannot write to /proc/notes: ")


def test_new_refuses_what_makes_no_project(tmp_path: Path) -> None:
    for arguments, reason in [
        (["database", "database"], "each recipe can be taken once"),
        (["route_table", "--production"], "no second file: its answer is"),
        (
            ["route_table", "nested_apps", "--production"],
            "no second file: their answers are",
        ),
        (["no_such"], "there is no recipe no_such"),
    ]:
        outcome = new(*arguments, tmp_path / "service")
        assert outcome.exit_code == 2
        assert reason in outcome.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow("it starts a program")
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    # No file may have more than 1 KiB; SIGXFSZ is an error of Python's.
    command = (
        f"ulimit -f 2; '{sys.executable}' -m aiohttp_cookbook new database"
    )
    outcome = subprocess.run(
        ["/bin/sh", "-c", f"{command} '{tmp_path / 'notes'}'"],
        cwd=ROOT,
        env={**os.environ, **UNMEASURED, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
    )
    assert outcome.returncode == 2
    assert "File too large" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
from cookbook.project import writing

folder = Path(sys.argv[1]) / "notes"
files = {"app.py": "pass", "tests/test_app.py": "pass"}

def interrupted_at(line, kill):
    lines = 0
    def trace(frame, event, argument):
        nonlocal lines
        if frame.f_code.co_filename not in (writing.__file__, temporary):
            return None
        lines += event == "line"
        if lines == line and event == "line":
            if kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
        return trace
    sys.settrace(trace)
    try:
        writing.write_project(folder, files)
    except KeyboardInterrupt:
        os._exit(1)
    os._exit(0)

temporary = sys.modules["cookbook.temporary"].__file__
for is_there in (False, True):
    for kill in (False, True):
        for line in range(1, 1000):
            if is_there:
                folder.mkdir()
            child = os.fork()
            if child == 0:
                interrupted_at(line, kill)
            _, status = os.waitpid(child, 0)
            deadline = time.monotonic() + 10
            while list(folder.parent.glob(".new-*")):
                assert time.monotonic() < deadline, "it is left behind"
                time.sleep(0.005)
            found = sorted(
                file.relative_to(folder).as_posix()
                for file in folder.rglob("*") if file.is_file()
            )
            assert found in ([], sorted(files)), (line, kill, found)
            assert folder.exists() or not is_there
            if folder.exists():
                for file in found:
                    (folder / file).unlink()
                if found:
                    (folder / "tests").rmdir()
                folder.rmdir()
            if status == 0:
                break
        print(is_there, kill, line)
"""


@pytest.mark.full("it starts hundreds of processes")
def test_new_writes_all_or_nothing_however_it_is_interrupted(
    tmp_path: Path,
) -> None:
    # Ctrl-C and `kill -9` at each line that writes.
    outcome = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, tmp_path],
        cwd=ROOT,
        env={**os.environ, **UNMEASURED},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert outcome.returncode == 0, outcome.stderr
    counts = [int(line.split()[-1]) for line in outcome.stdout.splitlines()]
    assert len(counts) == 4
    assert min(counts) > 20


# In an environment of its own


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has what the projects name.

    Another test holds what each of them needs of it.
    """
    run = folder_of_run(tmp_path_factory)
    folder = run / "environment"
    with locked(run / "environment.lock"):
        if not (folder / "done").exists():
            projects = [make(*each) for each in PROJECTS]
            packages = {
                package
                for project in projects
                for package in project.dependencies + project.test_dependencies
            }
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run(
                [
                    *(folder / "bin" / "pip", "install", "--quiet"),
                    *("--constraint", ROOT / "constraints.txt"),
                    *sorted(packages),
                ],
                check=True,
                timeout=300,
            )
            (folder / "done").touch()
    return folder / "bin"


PYTEST = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider"]


def run_in(
    folder: Path,
    programs: Path,
    *command: str,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """Run a program of an environment in a project."""
    # Most of it is aiohttp's. Of two mypys in one, one may crash.
    cache = f"mypy-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    environment = {
        "PATH": f"{programs}:{os.defpath}",
        "HOME": str(folder.parent),
        "MYPY_CACHE_DIR": str(programs.parent / cache),
        **variables,
    }
    return subprocess.run(
        [programs / command[0], *command[1:]],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )


@pytest.mark.full("it installs packages, and runs tools and tests of a project")
@pytest.mark.timeout(400)
@every_project
def test_a_project_passes_its_own_lint_types_and_tests(
    names: list[str],
    production: bool,
    programs: Path,
    tmp_path: Path,
    postgres_url: str,
) -> None:
    folder = tmp_path / "service"
    option = ["--production"] if production else []
    assert new(*names, folder, *option).exit_code == 0
    for command in (
        ["ruff", "check"],
        ["ruff", "format", "--check", "--diff"],
        ["mypy"],
        PYTEST,
    ):
        outcome = run_in(
            folder, programs, *command, variables={"POSTGRES_URL": postgres_url}
        )
        assert outcome.returncode == 0, outcome.stdout
        assert "skipped" not in outcome.stdout


ADDED = """    app.router.add_static("/files", ".")
"""

CHANGES = {
    # What is replaced, by what, and the tests that fail then.
    "a prefix": ("app.py", '"/database"', '"/api/notes"', []),
    "a route": ("app.py", "    return app\n", f"{ADDED}    return app\n", []),
    "two on one prefix": (
        "app.py",
        '"/database"',
        '"/route-table"',
        ["test_each_module_is_served_below_a_prefix_of_its_own"],
    ),
    "an endpoint": (
        "route_table.py",
        '"/private"',
        '"/secret"',
        ["test_a_private_page_needs_the_token"],
    ),
}


@pytest.mark.full("it installs packages, and runs tests of a project")
@pytest.mark.timeout(400)
@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_the_tests_of_a_project_fail_that_should(
    programs: Path, tmp_path: Path, change: str
) -> None:
    folder = tmp_path / "service"
    names = ["route_table", "database", "websocket_logout"]
    assert new(*names, folder).exit_code == 0
    file, before, after, failing = CHANGES[change]
    source = (folder / file).read_text()
    assert source.count(before) == 1
    (folder / file).write_text(source.replace(before, after))
    outcome = run_in(folder, programs, *PYTEST)
    assert outcome.returncode == bool(failing), outcome.stdout
    failed = re.findall(r"^FAILED tests/\w+\.py::(\w+)", outcome.stdout, re.M)
    assert failed == failing


@pytest.mark.full("it installs packages, and runs tools and tests of a project")
@pytest.mark.timeout(400)
def test_a_module_can_be_taken_out_of_a_project_and_another_put_in(
    programs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "service"
    assert new("route_table", "nested_apps", folder).exit_code == 0
    source = (folder / "app.py").read_text()
    (folder / "app.py").write_text(source.replace("nested_apps", "more"))
    (folder / "nested_apps.py").rename(folder / "more.py")
    (folder / "tests" / "test_nested_apps.py").unlink()
    for command in (["ruff", "check"], ["mypy"], PYTEST):
        outcome = run_in(folder, programs, *command)
        assert outcome.returncode == 0, outcome.stdout
    with (folder / "more.py").open("a") as more:
        more.write("count: int = 'one'\n")
    outcome = run_in(folder, programs, "mypy")
    assert "more.py:" in outcome.stdout


@pytest.mark.full("it installs packages")
@pytest.mark.timeout(400)
def test_the_two_commands_of_a_project_work_from_nothing(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "service"
    assert new("prefix_sink", folder).exit_code == 0
    make_program = shutil.which("make")
    assert make_program
    environment = {
        **{name: os.environ[name] for name in os.environ if "PIP" in name},
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", str(tmp_path)),
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
    }
    outcome = subprocess.run(
        [make_program, f"PYTHON={sys.executable}", "test"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert outcome.returncode == 0, outcome.stdout
    assert " passed" in outcome.stdout


def test_what_makes_no_application_is_no_ingredient() -> None:
    ingredient = Ingredient("odd", "x = 1\n", "", is_production=False)
    with pytest.raises(ValueError, match="odd has no create_app"):
        assert ingredient.options
