"""Events that are numbered, and clients that count them.

The interface is that of production/parallel_events.py.
"""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, WSMsgType
from yarl import URL

CHANNEL = "numbers"

STAYS = (0.5, 5.0)
"""Seconds for which a client stays: the shortest and the longest."""

TIMEOUT = ClientTimeout(total=10)
PAUSE = 0.05
"""Seconds before something is tried again."""

ARRIVAL = 20.0
"""Seconds in which the last event has come to all."""


class Listener:
    """A client that comes and goes, and checks the numbers."""

    def __init__(
        self, urls: Sequence[URL], client: ClientSession, chooser: random.Random
    ) -> None:
        self._urls = urls
        self._client = client
        self._chooser = chooser
        self._is_told = False
        """Whether a gap was told since the last event."""
        self.last = ""
        """The id of the last message that has one."""
        self.seen = 0
        self.ready = asyncio.Event()
        self.faults = list[str]()
        self.tally = Counter[str]()

    async def run(self) -> None:
        while True:
            try:
                await self._listen()
            except (ClientError, TimeoutError):
                self.tally["handshakes refused or lost"] += 1
                await asyncio.sleep(PAUSE)

    async def _listen(self) -> None:
        query = {"channel": CHANNEL}
        if self.last:
            query["after"] = self.last
        url = self._chooser.choice(self._urls) / "ws"
        connecting = self._client.ws_connect(url, params=query)
        async with asyncio.timeout(10):
            ws = await connecting
        try:
            async with asyncio.timeout(self._chooser.uniform(*STAYS)):
                while True:
                    message = await ws.receive()
                    if message.type is not WSMsgType.TEXT:
                        self.tally["sockets lost"] += 1
                        return
                    self._take(message.json())
        except TimeoutError:
            self.tally["reconnects"] += 1
        finally:
            # Without a word, as one whose network is gone.
            if peer := ws.get_extra_info("socket"):
                with suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)
            await ws.close()

    def _take(self, message: dict[str, Any]) -> None:
        self.last = message.get("id", self.last)
        if message["type"] == "ready":
            self.ready.set()
        elif message["type"] == "gap":
            self._is_told = True
            self.tally["gaps told"] += 1
        else:
            self._count(int(message["data"]))

    def _count(self, number: int) -> None:
        if number == self.seen + 1:
            self.tally["events in order"] += 1
        elif not self._is_told:
            self.faults.append(f"{number} after {self.seen}, and no gap")
        elif number <= self.seen:
            self.tally["events again after a gap"] += 1
        else:
            self.tally["events lost in a gap"] += number - self.seen - 1
        self.seen = number
        self._is_told = False


async def publish(url: URL, client: ClientSession, number: int) -> bool:
    """Publish until that is answered; return whether it was refused first."""
    was_refused = False
    headers = {"Idempotency-Key": f"{number}"}
    while True:
        try:
            async with client.post(
                url / "channels" / CHANNEL,
                data=f"{number}",
                headers=headers,
                timeout=TIMEOUT,
            ) as response:
                await response.read()
                if response.status == 200:
                    return was_refused
        except (ClientError, TimeoutError):
            pass
        was_refused = True
        await asyncio.sleep(PAUSE)


class Publisher:
    """Publishes one number after the other, with so many seconds between."""

    def __init__(
        self, urls: Sequence[URL], client: ClientSession, pause: float = 0.0
    ) -> None:
        self._urls = urls
        self._client = client
        self.pause = pause
        self.last = 0
        self.is_over = False

    async def run(self) -> None:
        while not self.is_over:
            number = self.last + 1
            url = self._urls[number % len(self._urls)]
            await publish(url, self._client, number)
            self.last = number
            await asyncio.sleep(self.pause)


async def arrival(listeners: list[Listener], size: int) -> list[str]:
    """Wait until all have the last event; return a fault for each without."""
    try:
        async with asyncio.timeout(ARRIVAL):
            while any(each.seen < size for each in listeners):
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    return [
        f"{each.seen} was the last event of {size}"
        for each in listeners
        if each.seen < size
    ]
