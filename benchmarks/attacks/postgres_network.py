"""The network before PostgreSQL fails in six ways while 16 clients write.

It is cut, reset, held up, slow, or passes a few bytes at a time, and a reset
comes in the middle of what is in flight. What was acknowledged has to be
stored, and what was refused must not be; a 503 is a refusal, and with a 504
nobody knows. Writes go on soon after the end of each fault.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._engines import killable_postgres, texts_in
from benchmarks.attacks._ledger import Ledger, recover, start_workers, writing
from tests.faults import Network, faulty_network

PEACE = (0.2, 1.0)
FAULT = (0.1, 3.0)
"""Seconds: the shortest and the longest."""

LATENCY = 0.05
SMALL_PIECE = 7
"""Seconds and bytes of a slow network."""

RECOVERY = 2.0
"""Seconds until a batch is acknowledged after a fault, on a quiet machine."""

TOO_LATE = 10.0
"""Seconds after which that is a fault on a busy one, too.

A statement may wait for its time limit before its connection is given up.
"""

GIVEN_UP = 30.0
"""Seconds after which it will not come."""


class Faults:
    """What becomes of the network. Each fault ends by itself."""

    def __init__(self, network: Network, chooser: random.Random) -> None:
        self._network = network
        self._chooser = chooser

    async def _wait(self) -> None:
        await asyncio.sleep(self._chooser.uniform(*FAULT))
        self._network.mend()

    async def cut(self) -> None:
        self._network.cut()
        await self._wait()

    async def reset(self) -> None:
        self._network.reset()

    async def held_up(self) -> None:
        self._network.freeze()
        await self._wait()

    async def held_up_and_reset(self) -> None:
        """What was sent, or answered, is lost on its way."""
        self._network.freeze()
        await asyncio.sleep(self._chooser.uniform(*PEACE))
        self._network.reset()
        self._network.mend()

    async def slow(self) -> None:
        self._network.slow(LATENCY)
        await self._wait()

    async def in_pieces(self) -> None:
        self._network.slow(0.0, SMALL_PIECE)
        await self._wait()

    def kinds(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            *(self.cut, self.reset, self.held_up, self.held_up_and_reset),
            *(self.slow, self.in_pieces),
        ]


@asynccontextmanager
async def postgres_behind_a_network() -> AsyncIterator[
    tuple[Network, str, str]
]:
    """Yield the network, the URL through it, and the one around it."""
    async with killable_postgres() as postgres:
        direct = urlsplit(postgres.url)
        socket = postgres.folder / ".s.PGSQL.5432"
        async with faulty_network(socket) as network:
            url = f"postgresql://{direct.username}@{network.address}"
            yield network, url + direct.path, postgres.url


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    ledger = Ledger()
    faults = list[str]()
    recoveries = list[float]()

    async with postgres_behind_a_network() as (network, url, direct):
        async with AsyncExitStack() as stack:
            clients = await start_workers(root, url, stack)
            failing = Faults(network, chooser)
            async with writing(clients, ledger, chooser):
                kinds = list[Callable[[], Awaitable[None]]]()
                for _ in range(size):
                    # Each kind, in an order of its own every time.
                    if not kinds:
                        kinds = failing.kinds()
                        chooser.shuffle(kinds)
                    kind = kinds.pop()
                    await asyncio.sleep(chooser.uniform(*PEACE))
                    await kind()
                    seconds = await recover(ledger, GIVEN_UP)
                    recoveries.append(seconds)
                    if seconds > TOO_LATE:
                        faults.append(f"{seconds:.1f} s after {kind.__name__}")
                    advance()
        faults += ledger.faults(await texts_in(direct))
    counts = {
        "faults of the network": size,
        **ledger.counts(),
        "recoveries of more than 2 s": sum(
            seconds > RECOVERY for seconds in recoveries
        ),
        "longest recovery, seconds": round(max(recoveries), 2),
    }
    return Found(counts, faults)


ATTACK = Attack(
    attack,
    promises=("R4-2", "X1"),
    files=("recipes/production/database.py",),
    unit="faults",
    full=200,
    small=6,
    longest=10.0,
)
