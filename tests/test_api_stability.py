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
from packaging.version import Version

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
        ("4.0.0a1", ["4.0.0", "4.1.0", "5.0.0"]),
        ("3.14.6rc1", ["3.14.6", "3.15.0", "4.0.0"]),
        ("3.15.0.dev0", ["3.15.0", "3.16.0", "4.0.0"]),
        ("3.7.4.post1.dev0", ["3.7.5", "3.8.0", "4.0.0"]),
        ("3.14.5.1rc1", ["3.14.6", "3.15.0", "4.0.0"]),
        ("3.14.5+local", ["3.14.6", "3.15.0", "4.0.0"]),
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
    assert all(Version(release) > Version(version) for release in releases)
    assert all(policy[kind]["may"] for kind in kinds)


INVALID = ["x", "3..0", "3.0.6\n.", "3,4", " ", "-1", "٣.0", "\0", "1e3"]


@pytest.mark.parametrize("version", INVALID)
async def test_what_is_no_version_is_refused(
    client: ClientSession, version: str
) -> None:
    async with client.get(f"policy/{version.replace(' ', '%20')}") as response:
        assert response.status == 400
        answer = await response.json()
    assert answer == {"error": "this is not a version by PEP 440"}


async def test_a_version_with_an_epoch_is_refused(
    client: ClientSession,
) -> None:
    async with client.get("policy/1!3.0.6") as response:
        assert response.status == 400
        assert "epochs" in (await response.json())["error"]


@pytest.mark.parametrize("digits", [101, 4300, 5000])
async def test_a_version_is_bounded(client: ClientSession, digits: int) -> None:
    async with client.get(f"policy/{'9' * digits}") as response:
        assert response.status == 400
        answer = await response.json()
    assert answer == {"error": "a version has up to 100 characters"}


async def test_the_longest_version_still_has_a_policy(
    client: ClientSession,
) -> None:
    async with client.get(f"policy/{'9' * 100}") as response:
        policy = await response.json()
    assert policy["major"]["version"] == f"1{'0' * 100}.0.0"


async def test_a_deprecated_call_warns_and_can_be_made_an_error(
    client: ClientSession,
) -> None:
    # The filter of these tests would make it an error by itself.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with client.get("demonstration") as response:
            answer = await response.json()
    assert answer["warning"] == "DeprecationWarning"
    assert "loop argument" in answer["message"]
    assert answer["as_error"].startswith("DeprecationWarning(")
    with pytest.warns(DeprecationWarning, match=re.escape(answer["message"])):
        web.Application(loop=asyncio.get_running_loop())


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
    deprecated = web.Application.__init__.__code__

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
