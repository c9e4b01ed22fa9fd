"""State machines of Hypothesis that use a program as its clients do.

A machine is a model of the program: it chooses a step, takes it on both, and
compares what they say. Hypothesis runs it in a thread, and all that it awaits
runs in the loop of the attack.
"""

import asyncio
import sys
from collections.abc import Coroutine
from socket import SHUT_RDWR
from typing import Any, NamedTuple, TypeVar

from aiohttp import ClientSession, ClientWebSocketResponse
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from benchmarks.attacks import Advance

STEPS = 40
"""Steps of a run."""

PATIENCE = 20.0
"""Seconds after which a step hangs."""

CHANCES = st.integers(0, 9)
"""What is drawn for a step that takes long: it is taken at 0."""

T = TypeVar("T")


class Answer(NamedTuple):
    """What is compared with the model."""

    status: int
    body: Any
    """What its JSON means; otherwise its text."""
    cookies: list[str]
    """The cookies that were set, as a client sends them."""


async def ask(
    client: ClientSession,
    method: str,
    path: str,
    cookie: str = "",
    *,
    json: object = None,
    data: bytes | None = None,
) -> Answer:
    headers = {"Cookie": cookie} if cookie else {}
    async with client.request(
        method, path, headers=headers, json=json, data=data
    ) as response:
        body: object = await response.text()
        if response.content_type == "application/json":
            body = await response.json()
        cookies = [
            f"{name}={morsel.value}"
            for name, morsel in response.cookies.items()
        ]
        return Answer(response.status, body, cookies)


async def close(ws: ClientWebSocketResponse, in_order: bool) -> None:
    """Leave a WebSocket, in order or as one whose network is gone."""
    if not in_order:
        ws.get_extra_info("socket").shutdown(SHUT_RDWR)
    await ws.close()


class Machine(RuleBasedStateMachine):
    """A model that begins anew in each run."""

    loop: asyncio.AbstractEventLoop
    errors: list[Exception]
    """What has ended a run, the first one first."""
    world: Any
    """What all runs share: clients, engines, and what was counted."""

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it in the loop of the attack. Raises TimeoutError if it hangs."""
        running = asyncio.wait_for(work, PATIENCE)
        try:
            return asyncio.run_coroutine_threadsafe(running, self.loop).result()
        except TimeoutError:
            name = getattr(work, "__qualname__", "a step")
            raise TimeoutError(f"{name} does not end") from None

    def teardown(self) -> None:
        # What goes wrong in a later run may come from what this one has left.
        if isinstance(error := sys.exception(), Exception):
            self.errors.append(error)
        self.wait(self.end())

    async def end(self) -> None:
        """End what this run has left in the program."""


async def drive(
    machine: type[Machine],
    world: object,
    size: int,
    seed: int,
    advance: Advance,
) -> list[str]:
    """Run a machine so many times, and return what it has found.

    Nothing is made shorter: the steps up to a fault are all told.
    """
    loop = asyncio.get_running_loop()
    begun = 0

    def begin(self: Machine) -> None:
        nonlocal begun
        begun += 1
        machine.__init__(self)
        # Hypothesis may begin a run, and give it up for want of choices.
        if begun <= size:
            loop.call_soon_threadsafe(advance)

    errors = list[Exception]()
    members = {
        "__init__": begin,
        "loop": loop,
        "errors": errors,
        "world": world,
    }
    run = seeded(seed)(type(machine.__name__, (machine,), members))
    steps = settings(
        max_examples=size,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        await asyncio.to_thread(run_state_machine_as_test, run, settings=steps)
    except Exception as error:  # whatever it is, the steps led to it
        return [describe([*errors, error][0], error)]
    return []


def describe(error: Exception, last: Exception) -> str:
    """Return what is wrong, and the steps that led to it, in a line."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    notes: list[str] = getattr(last, "__notes__", [])
    steps = "\n".join(notes).splitlines()
    return "; ".join([f"{type(error).__name__}: {error}", *steps])
