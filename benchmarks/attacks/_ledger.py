"""What clients were told of what they wrote, against what is stored.

A client writes batches of notes. Each note's text has the name of its batch in
front, so that whoever reads the database sees whose it is.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from aiohttp import ClientConnectionError, ClientSession

LARGEST_BATCH = 5
BAD_SHARE = 0.3
"""Of the batches, those whose last note is refused: nothing is stored."""

PAUSE = 0.02
"""Seconds after a refusal: an outage is not answered by a flood."""

UNKNOWN = {504}
"""What says that nobody knows."""


@dataclass
class Ledger:
    """The names of the batches, by what their clients were told."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    """With the number of their notes."""
    refused: set[str] = field(default_factory=set)
    unknown: dict[str, int] = field(default_factory=dict)
    """Without an answer: stored or not, but not in part."""
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
            "batches without an answer": len(self.unknown),
        }


async def write(
    client: ClientSession, ledger: Ledger, name: str, chooser: random.Random
) -> None:
    """Write batches until the server is gone, and enter what it says."""
    for number in count():
        batch = f"{name}.{number}"
        notes: list[dict[str, object]] = [
            {"text": f"{batch}:{each}"}
            for each in range(chooser.randint(1, LARGEST_BATCH))
        ]
        is_bad = chooser.random() < BAD_SHARE
        body = {"notes": [*notes, {"text": ""}] if is_bad else notes}
        # As long as nothing is answered, nobody knows.
        ledger.unknown[batch] = len(notes)
        try:
            async with client.post("notes/batch", json=body) as response:
                await response.read()
        except ClientConnectionError:
            return
        if response.status in UNKNOWN:
            continue
        del ledger.unknown[batch]
        if response.status == 201:
            ledger.acknowledged[batch] = len(notes)
            continue
        ledger.refused.add(batch)
        if response.status not in ({400} if is_bad else {503}):
            ledger.unexpected[response.status] += 1
        if not is_bad:
            await asyncio.sleep(PAUSE)
