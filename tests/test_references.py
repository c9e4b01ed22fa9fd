"""Proofs for cookbook/pages/references.py: prose links what it names."""

import re
import tomllib
import zlib
from importlib import import_module
from pathlib import Path

import pytest

from cookbook.pages.markup import block, inline, links_in, unlinked
from cookbook.pages.references import NAMES, read_names, split_text
from tests.names import (
    ADDRESSES,
    Table,
    find_names,
    format_table,
    names_of_prose,
    prose,
    read_inventory,
)

AIOHTTP = "https://docs.aiohttp.org/en/v3.14.5/"


def links_of(text: str) -> list[str]:
    return [address for _, address in split_text(text) if address]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("aiohttp#4799", "github.com/aio-libs/aiohttp/issues/4799"),
        ("(aiohttp #4799)", "github.com/aio-libs/aiohttp/issues/4799"),
        ("redis-py#1", "github.com/redis/redis-py/issues/1"),
        ("hopeit.engine#2.", "github.com/hopeit-git/hopeit.engine/issues/2"),
        ("nobody/knows.it#12", "github.com/nobody/knows.it/issues/12"),
        ("RFC 9110", "www.rfc-editor.org/rfc/rfc9110"),
        (
            "RFC 6455, 5.5.1 says",
            "www.rfc-editor.org/rfc/rfc6455#section-5.5.1",
        ),
        ("RFC 9110, 12 of them", "www.rfc-editor.org/rfc/rfc9110"),
        (
            "RFC 9110, section 8.8",
            "www.rfc-editor.org/rfc/rfc9110#section-8.8",
        ),
        (
            "(RFC 9110,\nsection 14)",
            "www.rfc-editor.org/rfc/rfc9110#section-14",
        ),
        ("(RFC 9110, 14)", "www.rfc-editor.org/rfc/rfc9110#section-14"),
        ("RFC 6455, 5.5.1.", "www.rfc-editor.org/rfc/rfc6455#section-5.5.1"),
        ("PEP 723", "peps.python.org/pep-0723/"),
    ],
)
def test_an_issue_or_a_section_of_an_rfc_has_an_address(
    text: str, address: str
) -> None:
    assert links_of(text) == [f"https://{address}"]
    assert "".join(part for part, _ in split_text(text)) == text


@pytest.mark.parametrize(
    "text",
    ["unknown#1", "#1", "aiohttp#x", "aiohttp#1x", "x.com/aiohttp/a#1", "RFC"],
)
def test_what_is_no_reference_is_text(text: str) -> None:
    assert list(split_text(text)) == [(text, None)]


@pytest.mark.unmeasured("it renders all of the prose")
def test_every_issue_in_the_prose_is_a_link() -> None:
    text = "\n".join(prose())
    written = set(re.findall(r"[\w./-]+#\d+", re.sub("`[^`]*`", "", text)))
    assert len(written) > 10
    assert written <= set(links_in(text))


@pytest.mark.parametrize(
    ("code", "page"),
    [
        ("web.AppKey", "web_reference.html#aiohttp.web.AppKey"),
        (
            'KEY = web.AppKey("KEY", int)',
            "web_reference.html#aiohttp.web.AppKey",
        ),
        ("ClientSession()", "client_reference.html#aiohttp.ClientSession"),
        (
            "await response.json()",
            "client_reference.html#aiohttp.ClientResponse.json",
        ),
        (
            "async with ClientSession() as session:",
            "client_reference.html#aiohttp.ClientSession",
        ),
        (
            "request.config_dict[DATABASE]",
            "web_reference.html#aiohttp.web.Request.config_dict",
        ),
    ],
)
def test_a_name_of_the_api_leads_to_its_documentation(
    code: str, page: str
) -> None:
    shown = inline(f"`{code}`")
    assert shown.startswith(f'<a href="{AIOHTTP}{page}"><code>')
    assert shown.striptags() == code.replace('"', '"')


@pytest.mark.parametrize(
    "code",
    [
        "create_app()",
        "fetch(url)",
        'session.get("items")',
        "my.web.AppKey",
        "web.AppKeys",
        "Server-Timing",
        "send(request.config_dict)",
        "RuntimeError: Timeout context manager",
    ],
)
def test_a_name_that_only_looks_like_the_api_is_no_link(code: str) -> None:
    assert "<a" not in inline(f"`{code}`")


def test_a_link_holds_no_other_and_a_block_of_code_holds_none() -> None:
    text = "[`web.AppKey` of RFC 9110](/there)\n\n    aiohttp#1\n"
    assert links_in(text) == {"web.AppKey of RFC 9110": "/there"}
    assert block(text).count("<a ") == 1


def test_a_reference_over_two_lines_is_one_link() -> None:
    section = "https://www.rfc-editor.org/rfc/rfc9110#section-8.8"
    text = "See RFC 9110,\nsection 8.8, *and*\nso on."
    assert links_in(text) == {"RFC 9110, section 8.8": section}
    assert block(text).striptags() == "See RFC 9110, section 8.8, and so on."


def test_every_name_in_the_table_is_in_the_installed_package() -> None:
    names = read_names()
    assert len(names) > 100
    for address in names.values():
        whole = address.partition("#")[2]
        # The documentation calls the abstract class of all loops so.
        whole = whole.replace("asyncio.loop.", "asyncio.AbstractEventLoop.")
        assert is_there(whole), whole


def is_there(whole: str) -> bool:
    """Tell whether a dotted name names something that can be imported."""
    parts = whole.split(".")
    for at in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:at]))
        except ImportError:
            continue
        for number, part in enumerate(parts[at:], at + 1):
            if not hasattr(found, part):
                return number == len(parts) and has_field(found, part)
            found = getattr(found, part)
        return True
    return False


def has_field(owner: object, name: str) -> bool:
    """Tell whether the values of a class have what the class itself lacks."""
    makes = getattr(owner, "__init__", None)
    made = getattr(getattr(makes, "__code__", None), "co_names", ())
    return name in made or name in getattr(owner, "__annotations__", {})


def test_a_name_that_no_package_has_is_missed() -> None:
    assert is_there("aiohttp.ClientResponseError.history")
    for whole in (
        "aiohttp.web.Blueprint",
        "aiohttp.Blueprint.name",
        "aiohttp.ClientResponseError.blueprint",
        "no_such_package.Name",
    ):
        assert not is_there(whole)


@pytest.mark.parametrize("package", ADDRESSES)
def test_an_anchor_follows_the_scheme_of_the_documentation(
    package: str,
) -> None:
    modules = {"python": r"\w+", "aiohttp-session": "aiohttp_session"}
    anchor = rf"{modules.get(package, package)}(\.\w+)+"
    table = read_table().get(package, {})
    for page, names in table.items():
        assert re.fullmatch(r"(library/)?[a-z0-9_-]+\.html", page)
        for name, whole in names.items():
            assert re.fullmatch(anchor, whole), name
            # What the prose writes ends as the documented name does.
            last = name.removesuffix(".append").rpartition(".")[2]
            assert whole.rpartition(".")[2] == last


def read_table() -> Table:
    packages = tomllib.loads(NAMES.read_text(encoding="utf-8"))
    return {name: package["pages"] for name, package in packages.items()}


def test_the_table_is_written_as_the_program_writes_it() -> None:
    assert format_table(read_table()) == NAMES.read_text(encoding="utf-8")
    assert names_of_prose() & set(read_names())


def test_the_program_takes_documented_names_from_an_index(
    tmp_path: Path,
) -> None:
    entries = [
        "aiohttp py:module 0 structures.html#module-$ -",
        "aiohttp.web.AppKey py:class 1 web_reference.html#$ -",
        "aiohttp.web.Request.app py:attribute 1 web_reference.html#$ -",
        "aiohttp.web.Blueprint py:class 1 web_reference.html#$ -",
        "aiohttp.web.Other py:class 1 web_reference.html#elsewhere -",
        "aiohttp-web std:label -1 web.html#$ The server",
    ]
    head = "# Sphinx inventory version 2\n# Project: x\n# Version: \n# zlib\n"
    file = tmp_path / "aiohttp.inv"
    packed = zlib.compress("\n".join(entries).encode())
    file.write_bytes(head.encode() + packed)
    page = "web_reference.html"
    assert read_inventory(file) == {
        "aiohttp.web.AppKey": page,
        "aiohttp.web.Request.app": page,
        "aiohttp.web.Blueprint": page,
    }
    names = find_names({"aiohttp": read_inventory(file)})["aiohttp"][page]
    assert names == {
        "request.app": "aiohttp.web.Request.app",
        "web.AppKey": "aiohttp.web.AppKey",
    }


def test_a_title_has_no_links() -> None:
    assert unlinked("`web.AppKey` of aiohttp#1") == (
        "<code>web.AppKey</code> of aiohttp#1"
    )
