"""The cookbook is told to end by SIGTERM while 16 clients load it.

Some read slowly, some send a body in two parts, and some start work that goes
on after its answer. h11 reads what comes: a request in flight is answered, and
an answer that has begun is whole. The process ends by itself, with 0, in the
time that it promises; no follow-up is cut off, and no traceback is logged.

A request is in flight once the server has read it: at the signal, no byte of it
is left in a queue of the kernel. The connection of one that it has not read is
closed, as if nothing had come; such requests are counted.
"""

import asyncio
import random
import signal
import socket
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import h11

from benchmarks.attacks import Advance, Attack, Found
from cookbook.redis_server import redis_server
from tests.servers import Process, forked

CLIENTS = 16

LOAD = (0.3, 1.0)
"""Seconds of load before the signal: the shortest and the longest."""

SHUTDOWN = 5.0
END = 2 * SHUTDOWN + 2
"""Seconds in which the process has to end."""

HANGS = 30.0
"""Seconds after which it is killed."""

PIECE = 2**15
"""Bytes that are read at a time, and a client's buffer in the system."""

SLOW = 0.2
"""The share of clients that pause between two pieces."""

PAUSE = 0.01

WRONG = ("Traceback", "was cancelled", " ERROR ")
"""What the log must not say."""

PATHS = (
    "/global-gzip/text?size=1000000",
    "/global-gzip/json?size=100000",
    "/global-gzip/stream",
    "/route-table/get",
    "/database/answer",
    "/",
)
PING = "/after-response/ping?work=0.3"
POST = "/database/notes/batch"
NOTES = b'{"notes": [{"text": "tea"}, {"text": "milk"}]}'

BUSY = b"the database is busy"
"""What says that a batch has waited for a second for its turn."""

BODY_PAUSE = 0.6
"""Seconds between two halves of a body."""

CONNECTIONS = Path("/proc/net/tcp")
"""Where Linux lists them, with what each has in its two queues."""


class Connection(NamedTuple):
    """One end of a TCP connection."""

    local: int
    """The port of this end."""
    remote: int
    sent: int
    """Bytes that have not come to the other end."""
    received: int
    """Bytes that the program of this end has not read."""


class Answer(NamedTuple):
    """An answer; it has no body until that is whole."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes | None


class Client:
    """Sends requests on one connection, and notes what breaks a promise."""

    def __init__(
        self, port: int, chooser: random.Random, tally: Counter[str]
    ) -> None:
        self._port = port
        self._chooser = chooser
        self._tally = tally
        self._pause = PAUSE if chooser.random() < SLOW else 0.0
        self._own_port = 0
        self._is_waiting = False  # for the first byte of an answer
        self._is_ending = False
        self.is_owed = True
        """Whether the request that it has sent, or sends next, is answered."""
        self.faults: list[str] = []

    def note_signal(self, unread: set[int]) -> None:
        """Note what the server has read, by the ports of which it has not."""
        self._is_ending = True
        self.is_owed = self._is_waiting and self._own_port not in unread

    async def run(self) -> None:
        """Go on until the server hangs up, or is no longer there."""
        with closing(socket.socket()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_connect(connection, ("127.0.0.1", self._port))
            except ConnectionError:
                return
            _, self._own_port = connection.getsockname()
            protocol = h11.Connection(h11.CLIENT)
            while await self._ask(connection, protocol):
                if protocol.our_state is not h11.DONE:
                    return
                protocol.start_next_cycle()

    async def _ask(
        self, connection: socket.socket, protocol: h11.Connection
    ) -> bool:
        """Send a request and read its answer; return whether it has come."""
        path, body = self._choose()
        request = h11.Request(
            method="POST" if path in (PING, POST) else "GET",
            target=path,
            headers=[
                ("Host", "localhost"),
                ("Accept-Encoding", self._chooser.choice(["gzip", "identity"])),
                ("Content-Length", str(len(body))),
            ],
        )
        head = protocol.send(request) or b""
        came = 0
        try:
            await self._send(connection, head, body)
            protocol.send(h11.Data(data=body))
            protocol.send(h11.EndOfMessage())
            async for event in self._read(connection, protocol):
                came += 1
                self._is_waiting = False
                self.is_owed = not self._is_ending
                self._judge(path, event)
        except (ConnectionError, h11.RemoteProtocolError) as error:
            if came:
                self.faults.append(f"the answer of {path} is cut: {error!r}")
            elif self.is_owed:
                self.faults.append(f"{path} was read, and is not answered")
            else:
                self._tally["requests lost unread"] += 1
            return False
        self._tally["answers"] += 1
        self._tally["follow-ups"] += path == PING
        return True

    def _choose(self) -> tuple[str, bytes]:
        kind = self._chooser.random()
        if kind < 0.3:
            return PING, b""
        if kind < 0.5:
            return POST, NOTES
        return self._chooser.choice(PATHS), b""

    async def _send(
        self, connection: socket.socket, head: bytes, body: bytes
    ) -> None:
        """Send a body in two parts, with a pause between."""
        loop = asyncio.get_running_loop()
        half = len(body) // 2
        await loop.sock_sendall(connection, head + body[:half])
        self._is_waiting = True
        if body:
            await asyncio.sleep(BODY_PAUSE)
            await loop.sock_sendall(connection, body[half:])

    async def _read(
        self, connection: socket.socket, protocol: h11.Connection
    ) -> AsyncIterator[Answer]:
        """Yield the head of the answer, and then all of it."""
        loop = asyncio.get_running_loop()
        answer = Answer(0, {}, None)
        body = b""
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                await asyncio.sleep(self._pause)
                data = await loop.sock_recv(connection, PIECE)
                protocol.receive_data(data)
            elif isinstance(event, h11.Response):
                answer = Answer(event.status_code, dict(event.headers), None)
                yield answer
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                yield answer._replace(body=body)
                return

    def _judge(self, path: str, answer: Answer) -> None:
        if path == POST and answer.status == 503:
            self._judge_refusal(answer)
        elif answer.status != (201 if path == POST else 200):
            self.faults.append(f"{path} is {answer.status}")
        if answer.body is None:
            return
        body = answer.body
        if answer.headers.get(b"content-encoding") == b"gzip":
            unpacked = zlib.decompressobj(wbits=31)
            body = unpacked.decompress(body)
            if not unpacked.eof:
                self.faults.append(f"{path} is not whole when unpacked")
        _, _, size = path.partition("size=")
        if len(body) < int(size or 1):
            self.faults.append(f"{path} is too short: {len(body)} bytes")

    def _judge_refusal(self, answer: Answer) -> None:
        """Count the refusals of a writer for which others wait too long."""
        if answer.body is None:
            return
        if BUSY not in answer.body:
            self.faults.append(f"{POST} is 503: {answer.body!r}")
        self._tally["answers of a busy database"] += 1


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    chooser = random.Random(seed)  # noqa: S311
    tally = Counter[str]()
    faults = list[str]()
    longest = 0.0
    with redis_server() as redis_url:
        for _ in range(size):
            with TemporaryDirectory() as folder:
                async with forked(
                    root / "app.py",
                    *("--port", "0", "--redis-url", redis_url),
                    cwd=Path(folder),
                ) as server:
                    with drained(server):
                        seconds = await live(server, chooser, tally, faults)
                log = server.log.read_text()
                faults += [
                    line
                    for line in log.splitlines()
                    if any(word in line for word in WRONG)
                ]
            longest = max(longest, seconds)
            advance()
    counts = {
        "signals": size,
        **dict(sorted(tally.items())),
        "longest end, seconds": round(longest, 2),
    }
    return Found(counts, faults)


@contextmanager
def drained(server: Process) -> Iterator[None]:
    """Read what a server prints, so that it need not wait."""
    assert server.process.stdout is not None
    reading = asyncio.create_task(server.process.stdout.read())
    try:
        yield
    finally:
        reading.cancel()


async def live(
    server: Process,
    chooser: random.Random,
    tally: Counter[str],
    faults: list[str],
) -> float:
    """Load the server, end it; return the seconds that its end took."""
    clients = list[Client]()
    is_over = asyncio.Event()

    async def load() -> None:
        while not is_over.is_set():
            client = Client(server.port, chooser, tally)
            clients.append(client)
            await client.run()

    async with asyncio.TaskGroup() as loads:
        for _ in range(CLIENTS):
            loads.create_task(load())
        await asyncio.sleep(chooser.uniform(*LOAD))
        is_over.set()
        unread = find_unread(server.port)
        for client in clients:
            client.note_signal(unread)
            tally["requests in flight"] += client.is_owed
        began = time.monotonic()
        try:
            code = await server.end(signal.SIGTERM, HANGS)
        except TimeoutError:
            server.process.kill()
            code = await server.process.wait()
        seconds = time.monotonic() - began
    for client in clients:
        faults += client.faults
    if code != 0:
        faults.append(f"exit code {code}")
    if seconds > END:
        faults.append(f"the end took {seconds:.1f} s")
    return seconds


def find_unread(port: int) -> set[int]:
    """Return the ports of clients of which a server has not read all bytes.

    What has left a client's queue by the first look is in the server's at the
    second one, or read.
    """
    on_the_way = {
        each.local
        for each in connections()
        if each.remote == port and each.sent
    }
    unread = {
        each.remote
        for each in connections()
        if each.local == port and each.received
    }
    return on_the_way | unread


def connections() -> list[Connection]:
    """Return what the kernel tells of all connections by IPv4."""
    _, *lines = CONNECTIONS.read_text().splitlines()
    found = []
    for line in lines:
        _, local, remote, _, queues, *_ = line.split()
        pairs = [pair.split(":") for pair in (local, remote, queues)]
        [[_, local_port], [_, remote_port], [sent, received]] = pairs
        numbers = (local_port, remote_port, sent, received)
        found.append(Connection(*(int(number, 16) for number in numbers)))
    # What listens has no other end.
    return [each for each in found if each.remote]


ATTACK = Attack(
    attack,
    promises=("X16", "X17", "X22", "R13-3"),
    files=("app.py", "cookbook", "recipes"),
    unit="signals",
    full=500,
    small=2,
    longest=HANGS,
    linux=True,
)
