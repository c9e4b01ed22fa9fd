"""What a rule is, and what it finds."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cookbook.doctor.module import Module


@dataclass(frozen=True)
class Found:
    """A place that breaks a rule.

    `trap` shows it failing, and `fix` is one line.
    """

    node: ast.stmt | ast.expr | ast.keyword
    trap: str = ""
    fix: str = ""


Check = Callable[[Module], Iterator[Found]]


@dataclass(frozen=True)
class Rule:
    """A mistake that one function finds, and `recipe` answers.

    `message` is the docstring of the function. A rule of `tests` holds in the
    tests of a project too.
    """

    name: str
    message: str
    recipe: str
    tests: bool
    check: Check


RULES: list[Rule] = []


def rule(recipe: str, *, tests: bool = False) -> Callable[[Check], Check]:
    """Register a function as the rule of its name."""

    def register(check: Check) -> Check:
        name = check.__name__.replace("_", "-")
        message = " ".join((check.__doc__ or "").split())
        RULES.append(Rule(name, message, recipe, tests, check))
        return check

    return register
