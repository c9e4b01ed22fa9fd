"""What clients were told of what they wrote, against what is stored.

A client writes batches of notes. Each note's text has the name of its batch in
front, so that whoever reads the database sees whose it is.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import ClientConnectionError, ClientSession

from tests.servers import forked

WORKERS = 2
"""Processes of the production file, which share a PostgreSQL."""

WRITERS = 16
"""Clients that go on writing while something fails."""

LARGEST_BATCH = 5
PAUSE = 0.02
"""Seconds after a refusal: an outage is not answered by a flood."""

LONGEST_PATIENCE = 0.02
"""Seconds after which a client has left that does not wait."""

UNKNOWN = 504
"""What says that nobody knows."""


@dataclass
class Ledger:
    """The names of the batches, by what their clients were told."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    """With the number of their notes."""
    refused: set[str] = field(default_factory=set)
    unknown: dict[str, int] = field(default_factory=dict)
    """Without an answer: stored or not, but not in part."""
    failed: int = 0
    """How many of the refused were so by a fault of ours."""
    unexpected: Counter[int] = field(default_factory=Counter)
    """Statuses that no client should see."""

    def faults(self, texts: Iterable[str]) -> list[str]:
        """Compare with the texts that are stored."""
        stored = Counter(text.partition(":")[0] for text in texts)
        found = [
            f"acknowledged, and {stored[name]} of {notes} notes are stored"
            for name, notes in self.acknowledged.items()
            if stored[name] != notes
        ]
        found += [
            f"refused, and {stored[name]} notes are stored"
            for name in self.refused
            if stored[name]
        ]
        found += [
            f"not answered, and {stored[name]} of {notes} notes are stored"
            for name, notes in self.unknown.items()
            if stored[name] not in (0, notes)
        ]
        sent = {*self.acknowledged, *self.refused, *self.unknown}
        found += [
            f"stored, and never sent: {name}" for name in stored.keys() - sent
        ]
        found += [
            f"{times} answers of status {status}"
            for status, times in self.unexpected.items()
        ]
        return found

    def counts(self) -> dict[str, int | float]:
        return {
            "batches acknowledged": len(self.acknowledged),
            "batches refused": len(self.refused),
            "of them by a fault": self.failed,
            "batches without an answer": len(self.unknown),
        }


@dataclass
class Writer:
    """A client that writes batch after batch, and enters what it is told."""

    client: ClientSession
    ledger: Ledger
    name: str
    """Its batches have it in front; no other writer has it."""
    chooser: random.Random
    refused: float = 0.3
    """The share of its batches that break a rule: nothing is stored."""
    leaving: float = 0.0
    """The share of its batches on whose answer it does not wait."""
    late: bool = False
    """Whether a batch is refused after a note of it is in the transaction.

    Where the interface has an `Idempotency-Key`: that of another batch.
    """
    failing: tuple[int, ...] = (503,)
    """Statuses that name a fault which is ours: nothing is stored."""

    async def write(self, number: int) -> None:
        """Write a batch. Raises ClientConnectionError without an answer."""
        batch = f"{self.name}.{number}"
        texts = [
            f"{batch}:{each}"
            for each in range(self.chooser.randint(1, LARGEST_BATCH))
        ]
        key, notes, refusal = batch, texts, 0
        if self.chooser.random() < self.refused:
            key, notes, refusal = self._spoil(batch, texts)
        leaves = self.chooser.random() < self.leaving
        patience = self.chooser.uniform(0, LONGEST_PATIENCE) if leaves else None
        # As long as nothing is answered, nobody knows.
        self.ledger.unknown[batch] = len(texts)
        try:
            async with asyncio.timeout(patience):
                status = await self._send(key, notes)
        except TimeoutError:
            return
        if status == UNKNOWN:
            return
        del self.ledger.unknown[batch]
        if status == 201:
            self.ledger.acknowledged[batch] = len(texts)
            return
        self.ledger.refused.add(batch)
        if status in self.failing:
            self.ledger.failed += 1
            # An outage is not to be answered by a flood.
            await asyncio.sleep(PAUSE)
        elif status != refusal:
            self.ledger.unexpected[status] += 1

    def _spoil(
        self, batch: str, texts: list[str]
    ) -> tuple[str, list[str], int]:
        """Return a key and notes that are refused, and how."""
        if self.late and self.ledger.acknowledged:
            other = next(reversed(self.ledger.acknowledged))
            notes = range(self.ledger.acknowledged[other])
            return other, [f"{other}:{each}" for each in notes] + texts, 422
        return batch, [*texts, ""], 400

    async def _send(self, key: str, texts: list[str]) -> int:
        body = {"notes": [{"text": text} for text in texts]}
        async with self.client.post(
            "notes/batch", json=body, headers={"Idempotency-Key": key}
        ) as response:
            await response.read()
            return response.status


async def write_until_it_is_gone(writer: Writer) -> None:
    """Write for as long as there is a server."""
    with suppress(ClientConnectionError):
        for number in count():
            await writer.write(number)


async def start_workers(
    root: Path, postgres_url: str, stack: AsyncExitStack
) -> list[ClientSession]:
    """Start the production file in processes; return a client of each."""
    script = root / "recipes" / "production" / "database.py"
    clients = []
    for _ in range(WORKERS):
        folder = Path(stack.enter_context(TemporaryDirectory()))
        server = await stack.enter_async_context(
            forked(script, cwd=folder, POSTGRES_URL=postgres_url)
        )
        client = ClientSession(f"http://127.0.0.1:{server.port}/")
        clients.append(await stack.enter_async_context(client))
    return clients


@asynccontextmanager
async def writing(
    clients: list[ClientSession], ledger: Ledger, chooser: random.Random
) -> AsyncIterator[None]:
    """Let all writers write, until the block ends."""
    is_over = asyncio.Event()

    async def keep_writing(writer: Writer) -> None:
        for number in count():
            if is_over.is_set():
                return
            await writer.write(number)

    async with asyncio.TaskGroup() as writers:
        for number in range(WRITERS):
            client = clients[number % len(clients)]
            writer = Writer(client, ledger, f"{number}", chooser, late=True)
            writers.create_task(keep_writing(writer))
        yield
        is_over.set()


async def recover(ledger: Ledger, within: float) -> float:
    """Return the seconds until a batch is acknowledged.

    Raises TimeoutError where none is after `within` seconds.
    """
    began = time.monotonic()
    before = len(ledger.acknowledged)
    async with asyncio.timeout(within):
        while len(ledger.acknowledged) == before:
            await asyncio.sleep(0.01)
    return time.monotonic() - began
