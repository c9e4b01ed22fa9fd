"""Batches of notes are written one by one and at once by a state machine.

Some break a rule, some meet a database that another process has locked. A model
of a list says which notes are stored, and in which order. Who reads meanwhile
sees whole batches only.
"""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from aiohttp import ClientSession
from hypothesis import strategies as st
from hypothesis.stateful import rule

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._machine import CHANCES, Answer, Machine, ask, drive
from tests.servers import forked

SHOWN = 20
"""Notes that a reader is shown, the newest first."""

BAD = {"empty": "", "long": "x" * 1001, "half a pair": "\ud800"}
"""Texts that are no notes."""

Note = tuple[int, str]
"""Its id and its text."""


class Batch(NamedTuple):
    """What a client chooses to send."""

    notes: int
    """How many good ones."""
    bad: str | None
    """Which bad one, if there is one."""
    place: int
    """How many good ones are before it, at most."""


BATCHES = st.builds(
    Batch,
    notes=st.integers(1, 5),
    bad=st.none() | st.sampled_from([*BAD]),
    place=st.integers(0, 5),
)


@dataclass
class World:
    client: ClientSession
    path: Path
    """The file of the database."""
    requests: int = 0
    refused: int = 0
    """Batches."""
    stored: int = 0
    """Notes."""


class Notes(Machine):
    """What is stored."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.stored = list[Note]()
        """The oldest first."""
        self.names = count()

    async def end(self) -> None:
        with closing(sqlite3.connect(self.world.path)) as database:
            database.execute("DELETE FROM notes")
            database.commit()

    def texts_of(self, batch: Batch) -> list[str]:
        """Return texts that no other note has, and the bad one."""
        texts = [f"{next(self.names)}" for _ in range(batch.notes)]
        if batch.bad is not None:
            texts.insert(batch.place, BAD[batch.bad])
        return texts

    async def send(self, texts: list[str]) -> Answer:
        self.world.requests += 1
        notes = [{"text": text} for text in texts]
        return await ask(
            self.world.client, "POST", "/notes/batch", json={"notes": notes}
        )

    async def read(self) -> list[Note]:
        """Return what a reader is shown, the oldest first."""
        self.world.requests += 1
        answer = await ask(self.world.client, "GET", "/notes")
        assert answer.status == 200, answer
        return [(each["id"], each["text"]) for each in answer.body["notes"]][
            ::-1
        ]

    def judge(
        self, batch: Batch, texts: list[str], answer: Answer
    ) -> list[Note]:
        """Return what the answer says to be stored."""
        if batch.bad is None:
            assert answer.status == 201, answer
            self.world.stored += len(texts)
            return list(zip(answer.body["ids"], texts, strict=True))
        assert answer.status == 400, answer
        place = texts.index(BAD[batch.bad])
        assert f"notes[{place}]" in answer.body["error"], answer
        self.world.refused += 1
        return []

    @rule(batch=BATCHES)
    def write(self, batch: Batch) -> None:
        texts = self.texts_of(batch)
        answer = self.wait(self.send(texts))
        self.stored += self.judge(batch, texts, answer)

    @rule(batches=st.lists(BATCHES, min_size=2, max_size=6))
    def write_at_once(self, batches: list[Batch]) -> None:
        """Each takes its turn, and readers see the turns only."""
        sent = [self.texts_of(batch) for batch in batches]

        async def send() -> tuple[list[Answer], list[list[Note]]]:
            async with asyncio.TaskGroup() as tasks:
                sending, reading = [], []
                for texts in sent:
                    sending.append(tasks.create_task(self.send(texts)))
                    reading.append(tasks.create_task(self.read()))
            return (
                [each.result() for each in sending],
                [each.result() for each in reading],
            )

        answers, seen = self.wait(send())
        turns = sorted(
            self.judge(batch, texts, answer)
            for batch, texts, answer in zip(batches, sent, answers, strict=True)
        )
        states = [self.stored[-SHOWN:]]
        for turn in turns:
            self.stored += turn
            states.append(self.stored[-SHOWN:])
        for notes in seen:
            assert notes in states, (notes, states)

    @rule()
    def look(self) -> None:
        notes = self.wait(self.read())
        assert notes == self.stored[-SHOWN:], (notes, self.stored)

    @rule()
    def look_into_the_file(self) -> None:
        query = "SELECT id, text FROM notes ORDER BY id"
        with closing(sqlite3.connect(self.world.path)) as database:
            notes = database.execute(query).fetchall()
        assert notes == self.stored, (notes, self.stored)

    @rule(batches=st.lists(BATCHES, min_size=1, max_size=3), rare=CHANCES)
    def write_while_it_is_locked(self, batches: list[Batch], rare: int) -> None:
        """Nothing is stored, and reads go on. It takes a second: rare."""
        if rare:
            return

        async def send() -> list[Answer]:
            async with asyncio.TaskGroup() as tasks:
                sending = [
                    tasks.create_task(self.send(self.texts_of(batch)))
                    for batch in batches
                ]
                notes = await self.read()
            assert notes == self.stored[-SHOWN:], (notes, self.stored)
            return [each.result() for each in sending]

        with closing(sqlite3.connect(self.world.path)) as database:
            database.execute("BEGIN IMMEDIATE")
            for answer in self.wait(send()):
                assert answer.status == 503, answer


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    script = root / "recipes" / "database.py"
    with TemporaryDirectory() as folder:
        home = Path(folder)
        async with (
            forked(script, cwd=home) as server,
            ClientSession(f"http://127.0.0.1:{server.port}") as client,
        ):
            world = World(client, home / "notes.db")
            faults = await drive(Notes, world, size, seed, advance)
    counts = {
        "runs": size,
        "requests": world.requests,
        "notes stored": world.stored,
        "batches refused": world.refused,
    }
    return Found(counts, faults)


ATTACK = Attack(
    attack,
    promises=("R4-2", "R4-3"),
    files=("recipes/database.py",),
    unit="runs",
    full=1000,
    small=20,
    longest=2.0,
)
