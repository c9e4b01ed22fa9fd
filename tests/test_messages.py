"""Proofs for recipes/messages.toml: what people paste finds its recipe.

Each message is printed by its program, and not by the program with its cure.
"""

import inspect
import json
import platform
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib import import_module, metadata
from pathlib import Path

import aiohttp
import pytest
from aiohttp import ClientSession, client_exceptions, web, web_exceptions
from packaging.requirements import Requirement

import app
from cookbook.messages import CURE, KINDS, Message, cured, read_messages
from tests.conftest import at_length
from tests.programs import Programs
from tests.servers import ROOT, Server
from tests.test_pages import get, hits_of, links_of
from verdicts.messages import measured as measured_messages
from verdicts.messages import printed_by

MESSAGES = read_messages(ROOT / "recipes" / "messages.toml")
PROGRAMS = ROOT / "recipes" / "messages"
ON_RELEASES = measured_messages()


def version_of(package: str) -> str:
    if package == "python":
        return platform.python_version()
    return metadata.version(package)


def is_printed_here(message: Message) -> bool:
    """Tell whether the installed releases print a message."""
    return all(
        version_of(release.name) in release.specifier
        for release in map(Requirement, message.releases)
    )


every_program = pytest.mark.parametrize(
    ("message", "program"),
    [
        pytest.param(
            message,
            message.program,
            id=message.name,
            marks=()
            if message.recipe
            else pytest.mark.full("no recipe is about it"),
        )
        for message in MESSAGES
        if message.program and is_printed_here(message)
    ],
)
CURED = [
    (message, program)
    for message in MESSAGES
    if message.program
    and is_printed_here(message)
    and (program := cured(message.program))
]
ONE_OF_EACH_KIND = {message.kind: message.name for message, _ in CURED}.values()

every_cure = pytest.mark.parametrize(
    ("message", "program"),
    [
        pytest.param(
            message,
            program,
            id=message.name,
            marks=()
            if message.name in ONE_OF_EACH_KIND
            else pytest.mark.full("the program without its cure has run"),
        )
        for message, program in CURED
    ],
)


@pytest.fixture
async def client(cookbook_server: Server) -> AsyncIterator[ClientSession]:
    async with ClientSession(cookbook_server.url) as session:
        yield session


def resolve(dotted_name: str) -> type[BaseException]:
    """Return the exception of a dotted name; one without dots is built in."""
    module, _, name = dotted_name.rpartition(".")
    found: type[BaseException] = getattr(
        import_module(module or "builtins"), name
    )
    return found


def exceptions_of(*modules: object) -> set[type[BaseException]]:
    return {
        value
        for module in modules
        for name in module.__all__  # type: ignore[attr-defined]
        if inspect.isclass(value := getattr(module, name))
        and issubclass(value, BaseException)
    }


def test_the_cookbook_explains_at_least_120_messages() -> None:
    printed = [each for each in MESSAGES if each.kind != "symptom"]
    assert len(printed) >= 120


def test_every_recipe_explains_messages() -> None:
    names = {recipe.name for recipe in app.COOKBOOK}
    assert {message.recipe for message in MESSAGES} - {None} == names


def test_a_message_leads_to_one_place() -> None:
    texts = [
        text.lower()
        for message in MESSAGES
        for text in (message.text, *message.also)
    ]
    assert len(texts) == len(set(texts))


def test_messages_of_a_kind_stand_together_in_the_order_of_a_page() -> None:
    kinds = list(KINDS)
    order = [kinds.index(message.kind) for message in MESSAGES]
    assert order == sorted(order)
    assert set(order) == set(range(len(kinds)))


def test_a_message_has_a_program_or_says_why_not() -> None:
    for message in MESSAGES:
        ways = [message.program, message.without]
        expected = 0 if message.kind == "symptom" else 1
        assert len([way for way in ways if way]) == expected, message.name


def test_every_program_belongs_to_a_message() -> None:
    names = {path.stem for path in PROGRAMS.iterdir()}
    assert names == {each.name for each in MESSAGES if each.program}


def test_a_message_says_why_and_what_helps_in_sentences() -> None:
    for message in MESSAGES:
        assert message.causes, message.name
        for cause in message.causes:
            for text in (cause.why, cause.cure, message.without or "."):
                assert text.endswith((".", ".)")), text


def test_the_trap_of_a_message_exists() -> None:
    for message in MESSAGES:
        if message.trap:
            folder = ROOT / "recipes" / "traps" / str(message.recipe)
            assert (folder / f"{message.trap}.py").exists(), message.name


def test_a_message_names_issues_as_project_and_number() -> None:
    for message in MESSAGES:
        for issue in message.see:
            project, _, number = issue.partition("#")
            assert project, message.name
            assert number.isdecimal(), message.name


def test_a_message_names_releases_as_requirements() -> None:
    for message in MESSAGES:
        for release in map(Requirement, message.releases):
            assert release.specifier, message.name
            assert release.name in ("aiohttp", "python"), message.name


def test_nearly_all_programs_are_for_the_releases_here() -> None:
    others = [
        message.name
        for message in MESSAGES
        if message.program and not is_printed_here(message)
    ]
    assert len(others) <= 1


def test_a_message_names_exceptions_that_exist() -> None:
    for message in MESSAGES:
        for name in message.exceptions:
            assert issubclass(resolve(name), BaseException)


def test_every_exception_of_aiohttp_has_a_message() -> None:
    explained = {
        resolve(name)
        for message in MESSAGES
        for name in message.exceptions
        if name.startswith("aiohttp.")
    }
    public = exceptions_of(client_exceptions, aiohttp, web_exceptions, web)
    assert public - explained == set()


@pytest.mark.unmeasured("the program has a process of its own")
@pytest.mark.slow("each runs a program")
@every_program
def test_the_program_of_a_message_prints_it(
    message: Message, program: str, programs: Programs, tmp_path: Path
) -> None:
    outcome = programs.run(program, tmp_path)
    assert message.is_in(outcome.printed), outcome.printed
    assert outcome.code in (0, 1)
    # A body that the client prints has no exception.
    if message.exceptions and "Traceback" in outcome.printed:
        name = message.exceptions[0]
        # A warning is printed without its module.
        if issubclass(resolve(name), Warning):
            name = name.rpartition(".")[2]
        assert name in outcome.printed


@pytest.mark.slow("each runs a program")
@every_cure
def test_a_program_with_its_cure_runs_clean(
    message: Message, program: str, programs: Programs, tmp_path: Path
) -> None:
    outcome = programs.run(program, tmp_path)
    assert outcome.code == 0, outcome.printed
    assert not message.is_in(outcome.printed), outcome.printed
    for word in ("Traceback", "Warning", "Unclosed", "never"):
        assert word not in outcome.printed


NEEDS_LATER = {"missing_string_key": "aiohttp>=3.9"}
"""What the program of a message needs, where older releases print it too."""


def test_the_releases_that_a_message_names_print_it_and_no_others() -> None:
    measured = json.loads((ROOT / "verdicts" / "messages.json").read_text())
    assert set(measured["messages"]) == {each.name for each in ON_RELEASES}
    for message in ON_RELEASES:
        named = [*message.releases, NEEDS_LATER.get(message.name, "aiohttp")]
        specifiers = [
            release.specifier
            for release in map(Requirement, named)
            if release.name == "aiohttp"
        ]
        assert measured["messages"][message.name] == [
            release
            for release, version in measured["versions"].items()
            if all(version in specifier for specifier in specifiers)
        ], message.name


def test_a_message_is_measured_by_what_its_program_prints() -> None:
    names = ("body_and_text", "session_is_closed")
    messages = [each for each in MESSAGES if each.name in names]
    silent = replace(messages[0], program="print('nothing')")
    found = printed_by(Path(sys.executable), [silent, *messages[1:]])
    assert found == {messages[1].name}


def test_a_program_is_short_and_has_at_most_one_cure() -> None:
    for message in MESSAGES:
        if message.program:
            assert message.program.count(CURE) <= 1, message.name
            assert len(message.program.splitlines()) <= 60, message.name


def test_a_cure_replaces_the_line_above_it() -> None:
    program = "def work():\n    wrong()\n    # cure: right()\n"
    assert cured(program) == "def work():\n    right()\n"


def test_a_program_without_a_cure_has_none() -> None:
    assert cured("wrong()\n# This is why.\n") is None


def test_dots_in_a_message_stand_for_what_changes() -> None:
    message = Message("name", "one ... two", "client", [])
    assert message.pattern.search("one\nhundred two")
    assert not message.pattern.search("two one")


def test_a_message_is_no_regular_expression() -> None:
    message = Message("name", "close() hangs?", "client", [])
    assert message.pattern.search("close() hangs?")
    assert not message.pattern.search("close hang")


WITH_RECIPE = [message for message in MESSAGES if message.recipe]
ONE_OF_EACH_RECIPE = list({each.recipe: each for each in WITH_RECIPE}.values())


# The search, without a page, is asked for all in test_search.py.
@pytest.mark.unmeasured("it searches for all of them")
@pytest.mark.parametrize(
    "messages",
    [ONE_OF_EACH_RECIPE, at_length(WITH_RECIPE)],
    ids=["one-of-each-recipe", "all"],
)
async def test_every_message_finds_its_recipe_first(
    client: ClientSession, messages: list[Message]
) -> None:
    for message in messages:
        async with client.get("/", params={"q": message.text}) as response:
            page = await response.text()
        assert hits_of(page)[0] == message.name
        there = f"/recipes/{message.recipe}#message-{message.name}"
        assert f'href="{there}"' in page


@pytest.mark.unmeasured("it searches for all of them")
@pytest.mark.parametrize(
    ("pasted", "module"),
    [
        ("RuntimeError: no running event loop", "event_loop"),
        (
            "Unclosed client session\nclient_session: "
            "<aiohttp.client.ClientSession object at 0x7f3a54b1c2d0>",
            "client_session",
        ),
        (
            "RuntimeError: Concurrent call to receive() is not allowed",
            "parallel_events",
        ),
        ("sqlite3.OperationalError: database is locked", "database"),
        (
            "aiohttp.client_exceptions.ClientConnectionResetError: "
            "Cannot write to closing transport",
            "after_response",
        ),
        (
            "/app/main.py:9: RuntimeWarning: coroutine "
            "'WebSocketResponse.send_str' was never awaited\n  ws.send_str(x)",
            "websocket_logout",
        ),
        (
            "OSError: [Errno 99] error while attempting to bind on address "
            "('192.0.2.1', 0): cannot assign requested address",
            "source_address",
        ),
        (
            "redis.exceptions.MaxConnectionsError: Too many connections",
            "parallel_events",
        ),
        ("TypeError: 'Response' object is not callable", "one_response"),
        (
            "ValueError: no active connection\n"
            '  File "aiosqlite/core.py", line 141, in _execute',
            "subapp_database",
        ),
        (
            "RuntimeError: Task <Task pending name='Task-5' coro=<main()>> got "
            "Future <Future pending> attached to a different loop",
            "event_loop",
        ),
        (
            "RuntimeError: Cannot register a resource into frozen router.",
            "route_table",
        ),
        (
            "TypeError: Handlers.get() missing 1 required positional "
            "argument: 'request'",
            "route_table",
        ),
        ("AppKey", "database"),
        ("RequestKey", "request_data"),
        ("write_eof", "after_response"),
        ("add_subapp", "nested_apps"),
        ("local_addr", "source_address"),
        ("blueprint", "nested_apps"),
        ("connector_owner", "client_session"),
        ("Content-Encoding", "global_gzip"),
    ],
)
async def test_what_people_paste_finds_the_recipe_first(
    client: ClientSession, pasted: str, module: str
) -> None:
    async with client.get("/", params={"q": pasted}) as response:
        page = await response.text()
    # What is printed leads to a message, and words lead to a page.
    found = re.findall('href="/recipes/(\\w+)(?:#message-\\w+)?"', page)
    assert found[0] == module


async def test_hangs_finds_what_hangs(client: ClientSession) -> None:
    found = links_of(await get(client, "/?q=hangs"))
    hanging = {"one_response", "websocket_logout", "event_loop"}
    assert {f"/recipes/{each}" for each in hanging} <= set(found)
