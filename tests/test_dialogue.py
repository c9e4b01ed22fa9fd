"""Proofs for cookbook/docs.py and runner.py: a wrong docstring is red."""

from pathlib import Path
from textwrap import indent

import pytest
from aiohttp import web

from cookbook.docs import Docs, Step
from cookbook.runner import dialogue_runner
from cookbook.source import (
    Header,
    read_answer,
    read_header,
    split_docstring,
)
from tests.conftest import Serve

DOCSTRING = """What is it?

It is *this*,
and that.

Try it::

    $ curl localhost:8080/one
    1
    $ curl \\
        localhost:8080/two

    $ python -m websockets ws://localhost:8080/ws
    > hi
    < hi
    $ echo bye
    bye
    Connection closed: 4001 (private use) bye.

Good to know:

- Not a step.
"""


def test_a_docstring_is_title_text_dialogue_and_details() -> None:
    docs = Docs.parse(DOCSTRING)
    assert docs.title == "What is it?"
    assert docs.text == "It is *this*,\nand that."
    assert docs.details == "Good to know:\n\n- Not a step."
    assert docs.dialogue == [
        Step("run", "curl localhost:8080/one", "1\n"),
        Step("run", "curl \\\n    localhost:8080/two"),
        Step("open", "ws://localhost:8080/ws"),
        Step("send", "hi"),
        Step("receive", "hi"),
        Step("run", "echo bye", "bye\n"),
        Step("closed", "4001 (private use) bye."),
    ]


def test_a_docstring_may_lack_a_dialogue() -> None:
    assert Docs.parse("What is it?") == Docs("What is it?", "", [], "")
    assert Docs.parse("") == Docs("", "", [], "")


def test_the_docstring_of_a_source_is_read_and_the_source_is_not_run() -> None:
    docs = Docs.of_source(f'# One.\n\nr"""{DOCSTRING}"""\nraise SystemExit\n')
    assert docs == Docs.parse(DOCSTRING)


@pytest.mark.parametrize(
    ("source", "docstring", "code"),
    [
        (
            '# /// script\n\n"""Two\nlines."""\n\nx = 1\n',
            "Two\nlines.",
            ["", "x = 1"],
        ),
        ("x = 'no docstring'\n", "", ["x = 'no docstring'"]),
        ("# only a comment\n", "", ["# only a comment"]),
        ("", "", []),
    ],
)
def test_a_docstring_is_split_from_the_code_below_it(
    source: str, docstring: str, code: list[str]
) -> None:
    assert split_docstring(source) == (docstring, code)


SOURCE = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4", "redis>=5"]
# ///
\"\"\"A docstring.\"\"\"


# answer
one = 1
# end of answer

two = 2


# answer
three = 3

four = 4
# end of answer
"""


def test_a_header_names_what_a_recipe_needs() -> None:
    header = read_header(SOURCE)
    assert header == Header(">=3.11", ["aiohttp>=3.9,<4", "redis>=5"])


def test_a_recipe_without_a_header_is_refused() -> None:
    with pytest.raises(ValueError, match="script metadata"):
        read_header('"""A docstring."""')


def test_the_marked_lines_are_the_answer() -> None:
    assert read_answer(SOURCE) == ["one = 1", "three = 3\n\nfour = 4"]


@pytest.fixture
async def port(serve: Serve) -> int:
    """An application that answers with its path, and echoes twice."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.path}\nend")

    async def echo(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        for _ in range(2):
            await websocket.send_str(await websocket.receive_str())
        await websocket.close(code=4001, message=b"bye")
        return websocket

    app = web.Application()
    app.router.add_get("/ws", echo)
    app.router.add_get("/{path:.*}", answer)
    return (await serve(app)).port


async def play(port: int, folder: Path, lines: str, prefix: str = "") -> str:
    docs = Docs.parse(f"What?\n\nTry it::\n\n{indent(lines, ' ' * 4)}")
    async with dialogue_runner(port, prefix, folder) as shell:
        return await shell.play(docs.dialogue)


@pytest.mark.parametrize(
    "lines",
    [
        "$ curl localhost:8080/a\n/a\nend",
        "$ curl localhost:8080/a\n/...nd",
        "$ name=b\n$ curl localhost:8080/$name\n/b\nend",
        "$ python -m websockets ws://localhost:8080/ws\n> a\n< a\n> b\n< b\n"
        "Connection closed: 4001 (private use) bye.",
    ],
)
async def test_what_is_true_passes(
    port: int, tmp_path: Path, lines: str
) -> None:
    assert not await play(port, tmp_path, lines)


@pytest.mark.parametrize(
    "lines",
    [
        "$ curl localhost:8080/a\n/b\nend",
        "$ curl localhost:8080/a\n/a",
        "$ curl localhost:8080/a",
        "$ curl localhost:8080/a\n/a\nend\nend",
        "$ curl localhost:8080/a\n/a...b",
        "$ python -m websockets ws://localhost:8080/ws\n> a\n< b",
        "$ python -m websockets ws://localhost:8080/ws\n> a\n"
        "Connection closed: 4001 (private use) bye.",
        "$ python -m websockets ws://localhost:8080/ws\n> a\n< a\n> b\n< b\n"
        "Connection closed: 1000 (OK).",
    ],
)
async def test_what_is_not_true_fails(
    port: int, tmp_path: Path, lines: str
) -> None:
    assert await play(port, tmp_path, lines)


async def test_a_mount_prefix_is_put_in_and_taken_out(
    port: int, tmp_path: Path
) -> None:
    lines = "$ curl localhost:8080/a\n/a\nend"
    assert not await play(port, tmp_path, lines, prefix="/prefix")
