"""Plays each dialogue once, and records what was answered.

A recipe runs alone, in a process of its own, as a reader runs it. A trap and
its pair are played the same lines.
"""

import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from cookbook.docs import Step
from cookbook.recipe import Recipe
from cookbook.sandbox import sandboxed
from cookbook.transcripts import Transcript, Transcripts, name_of

LONG_PATH = re.compile(r'(?<=File ")[^"\n]*(?=/site-packages/)')
"""Where packages are installed on the machine that records."""

PACKAGES = ("aiohttp", "aiohttp-session", "aiojobs", "aiosqlite", "redis")


def count(recipes: Sequence[Recipe]) -> int:
    """Return how many dialogues some recipes have."""
    return len(recipes) + 2 * sum(len(each.traps) for each in recipes)


async def record(
    recipes: Sequence[Recipe], advance: Callable[[], None]
) -> Transcripts:
    """Play all dialogues, one after the other; call `advance` after each."""
    answers, wrong, right = {}, {}, {}
    for recipe in recipes:
        answers[recipe.name] = await play(recipe.file, recipe.docs.dialogue)
        advance()
        for trap in recipe.traps:
            name, steps = name_of(trap), trap.docs.dialogue
            wrong[name] = await play(trap.file, steps)
            advance()
            right[name] = await play(trap.pair, steps)
            advance()
    return Transcripts(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        machine=f"{platform.system()}, {os.cpu_count()} cores",
        versions={
            "Python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        answers=answers,
        wrong=wrong,
        right=right,
    )


async def play(program: Path, steps: list[Step]) -> Transcript:
    """Play a dialogue on a program of its own."""
    async with sandboxed(program) as runner:
        printed = [await runner.run(step) for step in steps]
    return Transcript.of_steps(
        steps, [LONG_PATH.sub("...", text) for text in printed]
    )
