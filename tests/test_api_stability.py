"""Proofs for recipes/api_stability.py."""

import asyncio
import platform
import re
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession, web

from recipes import api_stability
from tests.servers import TIMEOUT


@pytest.fixture
def application() -> web.Application:
    return api_stability.create_app()


async def test_the_imported_versions_are_told(client: ClientSession) -> None:
    async with client.get("versions") as response:
        versions = await response.json()
    assert versions["aiohttp"] == aiohttp.__version__
    assert versions["python"] == platform.python_version()


@pytest.mark.parametrize(
    ("version", "releases"),
    [
        ("3.0.6", ["3.0.7", "3.1.0", "4.0.0"]),
        ("3.14.5", ["3.14.6", "3.15.0", "4.0.0"]),
        ("3.9", ["3.9.1", "3.10.0", "4.0.0"]),
        ("3.7.4.post0", ["3.7.5", "3.8.0", "4.0.0"]),
        ("4.0.0a1", ["4.0.1", "4.1.0", "5.0.0"]),
        ("1!3.0.6", ["1!3.0.7", "1!3.1.0", "1!4.0.0"]),
    ],
)
async def test_the_policy_names_the_next_releases(
    client: ClientSession, version: str, releases: list[str]
) -> None:
    async with client.get(f"policy/{version}") as response:
        policy = await response.json()
    assert policy["version"] == version
    kinds = ["bugfix", "feature", "major"]
    assert [policy[kind]["version"] for kind in kinds] == releases
    assert all(policy[kind]["may"] for kind in kinds)


@pytest.mark.parametrize(
    ("old", "new", "order", "kind"),
    [
        ("3.9.5", "3.10.0", "newer", "feature"),
        ("3.10.0", "3.9.5", "older", "feature"),
        ("3.14.4", "3.14.5", "newer", "bugfix"),
        ("3.14.5", "4.0.0", "newer", "major"),
        ("3.14.5", "3.14.5", "same", None),
        ("3.0", "3.0.0", "same", None),
        ("3.7.4", "3.7.4.post0", "newer", None),
        ("4.0.0", "4.0.0a1", "older", None),
        ("3.14.5", "4.0.0a1", "newer", "major"),
        ("3.14.5.0", "3.14.5.1", "newer", "bugfix"),
        ("3.14.5", "1!3.14.5", "newer", "major"),
    ],
)
async def test_versions_are_compared_by_pep_440(
    client: ClientSession, old: str, new: str, order: str, kind: str | None
) -> None:
    query = {"from": old, "to": new}
    async with client.get("compare", params=query) as response:
        answer = await response.json()
    assert answer == {"from": old, "to": new, "order": order, "kind": kind}


@pytest.mark.parametrize(
    ("deprecated", "last", "release"),
    [
        ("3.5", "3.14", "4.0.0"),
        ("3.14", "3.14", "5.0.0"),
        ("4", "4.0", "6.0.0"),
    ],
)
async def test_what_the_last_minor_release_deprecates_lives_longer(
    client: ClientSession, deprecated: str, last: str, release: str
) -> None:
    query = {"deprecated": deprecated, "last": last}
    async with client.get("removal", params=query) as response:
        assert await response.json() == {"removed_in": release}


@pytest.mark.parametrize(
    ("deprecated", "last"), [("2.3", "3.14"), ("4.0", "3.14"), ("3.15", "3.14")]
)
async def test_the_last_minor_release_is_of_the_same_line(
    client: ClientSession, deprecated: str, last: str
) -> None:
    query = {"deprecated": deprecated, "last": last}
    async with client.get("removal", params=query) as response:
        assert response.status == 400
        assert "same major version" in (await response.json())["error"]


INVALID = ["x", "3..0", "3.0.6\n.", "3,4", " ", "-1", "٣.0", "\0", "1e3"]


@pytest.mark.parametrize("version", INVALID)
async def test_what_is_no_version_is_refused(
    client: ClientSession, version: str
) -> None:
    async with client.get(f"policy/{version.replace(' ', '%20')}") as policy:
        assert policy.status == 400
    query = {"from": "3.0", "to": version}
    async with client.get("compare", params=query) as response:
        assert response.status == 400
        answer = await response.json()
    assert answer == {"error": "this is not a version by PEP 440"}


@pytest.mark.parametrize("digits", [101, 4300, 5000])
async def test_a_version_is_bounded(client: ClientSession, digits: int) -> None:
    async with client.get(f"policy/{'9' * digits}") as response:
        assert response.status == 400
        answer = await response.json()
    assert answer == {"error": "a version has up to 100 characters"}


@pytest.mark.parametrize(
    "query", ["", "from=3.0", "to=3.0", "from=3&from=3&to=3"]
)
async def test_both_versions_are_needed_once(
    client: ClientSession, query: str
) -> None:
    async with client.get(f"compare?{query}") as response:
        assert response.status == 400
        assert "is needed once" in (await response.json())["error"]


async def test_the_longest_version_still_has_a_policy(
    client: ClientSession,
) -> None:
    async with client.get(f"policy/{'9' * 100}") as response:
        policy = await response.json()
    assert policy["major"]["version"] == f"1{'0' * 100}.0.0"


async def test_a_deprecated_call_warns_and_can_be_made_an_error(
    client: ClientSession,
) -> None:
    async with client.get("demonstration") as response:
        answer = await response.json()
    assert answer["warning"] == "DeprecationWarning"
    assert "encode_basic_auth" in answer["message"]
    assert answer["as_error"].startswith("DeprecationWarning(")
    with pytest.warns(DeprecationWarning, match=re.escape(answer["message"])):
        eval(answer["call"], {"aiohttp": aiohttp})


async def test_demonstrations_leave_the_filters_as_they_were(
    client: ClientSession,
) -> None:
    async def demonstrate() -> object:
        async with client.get("demonstration") as response:
            return await response.json()

    before = list(warnings.filters)
    answers = await asyncio.gather(*(demonstrate() for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert list(warnings.filters) == before


async def test_a_demonstration_makes_no_error_in_another_thread(
    client: ClientSession,
) -> None:
    errors: list[BaseException | None] = []
    deprecated = aiohttp.BasicAuth.__new__.__code__

    def warn() -> None:
        warnings.warn("of another thread", DeprecationWarning, stacklevel=1)

    def let_another_thread_warn(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is deprecated:
            errors.append(threads.submit(warn).exception(TIMEOUT))

    with ThreadPoolExecutor() as threads, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.setprofile(let_another_thread_warn)
        try:
            async with client.get("demonstration") as response:
                assert response.status == 200
        finally:
            sys.setprofile(None)
    assert errors == [None]
