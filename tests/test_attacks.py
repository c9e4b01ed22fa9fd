"""Proofs for the attacks: they find nothing here, and find what is wrong."""

import asyncio
import json
import random
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from blockbuster import BlockBuster
from click.testing import CliRunner

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks import __main__ as attacks
from benchmarks.attacks._ledger import Ledger
from tests.conftest import missing
from tests.servers import ROOT

# Hypothesis takes each draw from the random numbers of this process for one of
# its strategies. A cookbook that other tests read draws in its thread whenever
# its pool connects to PostgreSQL.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the .random. module inside strategies:"
    "hypothesis.errors.HypothesisDeprecationWarning"
)

FOLDER = Path(attacks.__file__).parent
# Their names alone: to import all of them takes seconds.
ATTACKS = sorted(file.stem for file in FOLDER.glob("[!_]*.py"))
SEED = 1


class Mistake(NamedTuple):
    """What is changed in a copy of the project, for an attack to find."""

    file: str
    right: str
    wrong: str


MISTAKES = {
    # A session begins by the clock of its worker, and ages by that of Redis.
    "clock": Mistake(
        "recipes/production/request_data.py",
        "now, _ = await redis.time()",
        'now = int(__import__("time").time())',
    ),
    # Who answers no ping is kept.
    "crowd": Mistake(
        "recipes/production/parallel_events.py",
        "heartbeat=HEARTBEAT, max_msg_size",
        "heartbeat=None, max_msg_size",
    ),
    # As long as aiohttp waits for the headers of a request by itself.
    "slow_peers": Mistake(
        "cookbook/connection.py",
        "HEADERS_TIMEOUT = 15.0",
        "HEADERS_TIMEOUT = 3630.0",
    ),
    # Text is passed on before it is known to be UTF-8.
    "hostile_frames": Mistake(
        "recipes/parallel_events.py",
        "web.WebSocketResponse(heartbeat=20)",
        "web.WebSocketResponse(heartbeat=20, decode_text=False)",
    ),
    # What should be refused is taken for a mistake of the program.
    "bad_http": Mistake(
        "cookbook/guard.py",
        "web.HTTPMisdirectedRequest,",
        "web.HTTPInternalServerError,",
    ),
    # The answer is sent before the notes are stored.
    "kill_database": Mistake(
        "recipes/database.py",
        'await app[WRITER].execute("COMMIT")\n',
        "asyncio.get_running_loop().call_later(\n"
        "                0.05, lambda: asyncio.ensure_future(\n"
        '                    app[WRITER].execute("COMMIT")))\n'
        "            await asyncio.sleep(0)\n",
    ),
    # What came while a client was away is not sent to it.
    "events": Mistake(
        "recipes/production/parallel_events.py",
        'if event.channel in ("", socket.channel):',
        'if event.channel == "":',
    ),
    # An event comes to the sockets of all channels.
    "hub_machine": Mistake(
        "recipes/parallel_events.py",
        'elif message["channel"] == f"events:{socket.channel}":',
        'elif message["type"] == "pmessage":',
    ),
    # The other workers neither hear of a logout, nor ask by themselves: where
    # that is in time, or their sockets are lost with them, nothing is seen.
    "logouts": Mistake(
        "recipes/production/websocket_logout.py",
        "await channel.subscribe(ENDED)\n",
        'await channel.subscribe("another")\n'
        '                checked = float("inf")\n',
    ),
    # A job has its effect twice.
    "follow_ups": Mistake(
        "recipes/production/after_response.py",
        '"UPDATE pongs SET count = count + 1"',
        '"UPDATE pongs SET count = count + 2"',
    ),
    # Each statement is stored by itself, also where its request is refused.
    "kill_production_database": Mistake(
        "recipes/production/database.py",
        'await connection.execute("BEGIN")',
        "pass",
    ),
    # A connection that is lost is taken for a mistake of the program.
    "postgres_network": Mistake(
        "recipes/production/database.py",
        "return AWAY if isinstance(error, psycopg.OperationalError) else None",
        "return None",
    ),
    "production_transactions": Mistake(
        "recipes/production/database.py",
        "        yield connection\n        await commit(connection)\n",
        "        try:\n"
        "            yield connection\n"
        "        finally:\n"
        "            await commit(connection)\n",
    ),
    # JSON that is no object is a mistake of the program.
    "openapi": Mistake(
        "recipes/database.py",
        'body.get("notes") if isinstance(body, dict) else None',
        'body.get("notes")',
    ),
    # A reader that is back begins with what comes next.
    "redis_faults": Mistake(
        "recipes/production/parallel_events.py",
        "    await redis.eval(MARK, 2, STREAM, STATE, str(hub.seen))\n",
        "    await redis.eval(MARK, 2, STREAM, STATE, str(hub.seen))\n"
        "    newest = await redis.hget(STATE, 'last')\n"
        "    hub.place = hub.seen = int(newest or 0)\n",
    ),
    # What is confirmed is rolled back.
    "restart_postgres": Mistake(
        "recipes/production/database.py",
        "        await commit(connection)\n",
        '        await connection.execute("ROLLBACK")\n',
    ),
    # A worker that drains refuses what is still sent to it.
    "rolling_restart": Mistake(
        "cookbook/guard.py",
        "    request[ANSWER] = response\n",
        "    if ending.is_set():\n        raise RuntimeError\n"
        "    request[ANSWER] = response\n",
    ),
    # A session that is used lives on, however old it is.
    "session_machine": Mistake(
        "recipes/production/request_data.py",
        "math.min(ARGV[1], created + ARGV[2] - now)",
        "ARGV[1]",
    ),
    # What is in flight is cut off.
    "sigterm": Mistake(
        "cookbook/server.py",
        "    finally:\n        await runner.cleanup()\n",
        "    finally:\n        os._exit(0)\n",
    ),
    # The handler of a WebSocket waits, when its client has left.
    "soak": Mistake(
        "recipes/production/parallel_events.py",
        "        await asyncio.sleep(0)\n\n\nasync def open_socket",
        "        await asyncio.sleep(0)\n"
        "    await asyncio.Event().wait()\n\n\nasync def open_socket",
    ),
    # A logout ends one of the user's two keys.
    "socket_machine": Mistake(
        "recipes/websocket_logout.py",
        "            del users[token]\n",
        "            del users[token]\n            break\n",
    ),
    # A note that is refused takes back nothing.
    "transactions": Mistake(
        "recipes/database.py",
        "        except BaseException:\n"
        "            await app[WRITER].rollback()\n",
        "        except BaseException:\n"
        "            await app[WRITER].commit()\n",
    ),
    # Requests that write at once share a transaction.
    "writer_machine": Mistake(
        "recipes/database.py", "app[TURN]:", "asyncio.Lock():"
    ),
}
"""One for each attack, which it has to find at its small size."""


@pytest.fixture
def may_block(blockbuster: BlockBuster) -> None:
    """Let an attack wait: what it attacks is another process."""
    blockbuster.deactivate()


def test_each_attack_has_a_mistake_to_find() -> None:
    assert sorted(MISTAKES) == ATTACKS


def attack_called(name: str) -> Attack:
    attack: Attack = import_module(f"benchmarks.attacks.{name}").ATTACK
    if attack.linux and sys.platform != "linux":
        pytest.skip("only Linux can do this")
    if name == "clock" and not find_spec("libfaketime"):
        missing("libfaketime, of which x86-64 has a wheel")
    return attack


@pytest.mark.full("it attacks")
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("may_block")
@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_finds_nothing(name: str) -> None:
    attack = attack_called(name)
    done = []
    found = await attacks.bounded(
        attack, ROOT, attack.small, SEED, lambda: done.append(1)
    )
    assert not found.faults
    assert len(done) == attack.small


@pytest.mark.full("it attacks")
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("may_block")
@pytest.mark.parametrize("name", MISTAKES)
async def test_an_attack_finds_a_mistake(name: str, tmp_path: Path) -> None:
    attack = attack_called(name)
    mistake = MISTAKES[name]
    copy = tmp_path / "copy"
    ignore = shutil.ignore_patterns(".*", "docs", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignore)
    path = copy / mistake.file
    text = path.read_text()
    assert text.count(mistake.right) == 1
    path.write_text(text.replace(mistake.right, mistake.wrong))
    found = await attacks.bounded(
        attack, copy, attack.small, SEED, lambda: None
    )
    assert found.faults


@pytest.fixture
def draws_of_others() -> Iterator[None]:
    """Draw from the random numbers of this process all the time."""
    is_over = threading.Event()

    def draw() -> None:
        while not is_over.wait(1e-5):
            random.random()

    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(draw)
        yield
        is_over.set()
        drawing.result()


@pytest.mark.full("it imports schemathesis")
@pytest.mark.usefixtures("draws_of_others")
def test_draws_of_others_break_no_attack_of_schemathesis() -> None:
    openapi = import_module("benchmarks.attacks.openapi")
    endpoint = {"methods": "GET", "path": "/notes/{id}"}
    recipe = {"endpoints": [endpoint], "production": None, "dialogue": []}
    asked = list[int]()
    openapi.ask_all(
        openapi.document([recipe]),
        openapi.Asking({}),
        50,
        SEED,
        lambda: asked.append(1),
    )
    assert len(asked) == 50


@pytest.mark.full("it draws requests")
@pytest.mark.usefixtures("draws_of_others")
def test_requests_are_drawn_again_by_their_seed() -> None:
    bad_http = import_module("benchmarks.attacks.bad_http")
    first = bad_http.draw_round([b"/"], SEED)
    assert first == bad_http.draw_round([b"/"], SEED)
    assert len({*first}) > bad_http.ROUND * 0.9
    assert first != bad_http.draw_round([b"/"], SEED + 1)


@pytest.mark.full("it imports an attack")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells this")
def test_the_kernel_tells_what_a_server_has_not_read() -> None:
    find_unread = import_module("benchmarks.attacks.sigterm").find_unread
    with socket.create_server(("127.0.0.1", 0)) as server:
        address, port = server.getsockname()
        with socket.create_connection((address, port)) as client:
            _, own_port = client.getsockname()
            assert find_unread(port) == set()
            client.sendall(b"ab")
            assert find_unread(port) == {own_port}
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                assert find_unread(port) == {own_port}
                connection.recv(1)
                assert find_unread(port) == set()


def test_a_ledger_finds_what_differs_from_what_is_stored() -> None:
    ledger = Ledger({"lost": 1, "half": 2, "there": 2}, {"refused"}, {"cut": 2})
    ledger.unexpected[500] += 3
    stored = ["half:0", "there:0", "there:1", "refused:0", "cut:1", "other:0"]
    assert ledger.faults(stored) == [
        "acknowledged, and 0 of 1 notes are stored",
        "acknowledged, and 1 of 2 notes are stored",
        "refused, and 1 notes are stored",
        "not answered, and 1 of 2 notes are stored",
        "stored, and never sent: other",
        "3 answers of status 500",
    ]


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[int]]:
    """An attack that does nothing, alone; returns the calls of it."""
    calls = list[list[int]]()

    async def run(root: Path, size: int, seed: int, advance: Advance) -> Found:
        calls.append([size, seed])
        return Found({"tries": size}, ["broken"] if seed == 13 else [])

    module = ModuleType("trial", "A trial.\n\nMore of it.")
    module.__file__ = __file__
    module.__dict__["ATTACK"] = Attack(
        run, ("X1",), ("app.py", "recipes"), "tries", 100, 2, 1.0
    )
    monkeypatch.setattr(attacks, "find_attacks", lambda: [("trial", module)])
    monkeypatch.setattr(attacks, "RESULTS", tmp_path / "attacks.json")
    return calls


def test_what_is_recorded_is_not_done_again(trial: list[list[int]]) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(attacks.main, arguments)
        assert result.exit_code == 0
        return result.output

    assert "trial: 100 tries, seed 1, no faults" in run()
    assert "trial: 100 tries, seed 1, no faults" in run("trial")
    assert trial == [[100, 1]]
    run("--again")
    run("--seed", "2")
    run("--size", "7", "--seed", "2")
    assert trial == [[100, 1], [100, 1], [100, 2], [7, 2]]
    run("--small")
    recorded = json.loads(attacks.RESULTS.read_text())["trial"]
    assert (recorded["size"], recorded["seed"]) == (7, 2)
    assert (recorded["title"], recorded["unit"]) == ("A trial.", "tries")
    assert recorded["found"] == {"tries": 7}


def test_what_is_found_is_said_and_fails(trial: list[list[int]]) -> None:
    result = CliRunner().invoke(attacks.main, ["--seed", "13"])
    assert result.exit_code == 1
    assert "trial: 100 tries, seed 13, 1 faults" in result.output
    assert "FAULT broken" in result.output


def test_an_attack_that_is_unknown_is_a_line(trial: list[list[int]]) -> None:
    result = CliRunner().invoke(attacks.main, ["trail"])
    assert result.exit_code == 2
    assert "no attack is called trail; there are trial" in result.output


def test_what_linux_alone_can_do_is_left_out_elsewhere(
    trial: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    [(_, module)] = attacks.find_attacks()
    module.__dict__["ATTACK"] = module.ATTACK._replace(linux=True)
    monkeypatch.setattr(sys, "platform", "darwin")
    result = CliRunner().invoke(attacks.main)
    assert result.exit_code == 0
    assert result.output == "trial: left out, as only Linux can do this\n"
    assert not trial


async def test_an_attack_that_hangs_is_a_fault() -> None:
    async def hang(root: Path, size: int, seed: int, advance: Advance) -> Found:
        await asyncio.Event().wait()
        raise AssertionError

    attack = Attack(hang, (), (), "tries", 2, 1, 0.01)
    found = await attacks.bounded(
        attack, ROOT, 2, SEED, lambda: None, start=0.0
    )
    assert found.faults == ["it did not end within 0 s"]


async def test_a_wait_of_an_attack_that_ends_too_early_is_no_finding() -> None:
    async def fail(root: Path, size: int, seed: int, advance: Advance) -> Found:
        raise TimeoutError

    attack = Attack(fail, (), (), "tries", 2, 1, 1.0)
    with pytest.raises(TimeoutError):
        await attacks.bounded(attack, ROOT, 2, SEED, lambda: None)
