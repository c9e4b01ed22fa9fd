"""WebSockets are sent frames that break the protocol, after some good ones.

wsproto names the code that the server has to close with (RFC 6455, 7.4).
aiohttp takes, as no fault of ours, what a server should refuse: a frame without
a mask, a length in more bytes than it needs, and the codes 1006 and 5000 and
above. So these are not sent. Nor is 1014: IANA has registered it, and wsproto
does not know it.
"""

import asyncio
import random
import struct
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from benchmarks.attacks import Advance, Attack, Found
from tests.servers import Process, running

AT_ONCE = 32
"""WebSockets that are open at a time."""

MOST_BEFORE = 6
"""Good frames before a bad one."""

PATIENCE = 15.0
"""Seconds until the server has closed."""

NOT_SENT = {struct.pack("!H", code) for code in (1006, 1014)}

HANDSHAKE = (
    b"GET /parallel-events/ws?channel=%s HTTP/1.1\r\nHost: localhost\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Frames:
    """Makes frames, good and bad, by the choices of a seed."""

    def __init__(self, seed: int) -> None:
        self._choose = random.Random(seed)  # noqa: S311

    def conversation(self) -> list[bytes]:
        """Return some good frames, and a bad one or a close at last."""
        number = self._choose.randrange(MOST_BEFORE)
        return [*(self._good() for _ in range(number)), self._bad()]

    def channel(self) -> bytes:
        return b"c%d" % self._choose.randrange(20)

    def _good(self) -> bytes:
        text = self._choose.choice(["hi", "", "\u20ac", "x" * 200])
        data = text.encode()
        match self._choose.randrange(4):
            case 0:
                return frame(9, data[:100])
            case 1:
                return frame(10, data[:100])
            case 2:
                return frame(1, data[:1], final=False) + frame(0, data[1:])
        return frame(1, data)

    def _bad(self) -> bytes:
        data = self._choose.randbytes(self._choose.randrange(1, 100))
        code = struct.pack("!H", self._choose.randrange(5000))
        return self._choose.choice(
            [
                frame(self._choose.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15])),
                frame(1, b"x", reserved=self._choose.randrange(1, 8)),
                frame(self._choose.choice([8, 9, 10]), data[:9], final=False),
                frame(self._choose.choice([9, 10]), b"a" * 126),
                frame(0, data),
                frame(1, b"a", final=False) + frame(1, b"b"),
                frame(1, data + b"\xff"),
                frame(1, b"\xed\xa0\x80"),
                frame(1, b"\xe2\x82", final=False) + frame(0, b"\x28"),
                frame(8, data[:1]),
                frame(8),
                frame(8, b"" if code in NOT_SENT else code),
                frame(8, struct.pack("!H", 1000) + data[:50]),
                frame(8, struct.pack("!H", 1000) + b"\xff"),
            ]
        )


def frame(
    opcode: int, data: bytes = b"", *, final: bool = True, reserved: int = 0
) -> bytes:
    """Return a frame as a client sends it (RFC 6455, 5.2)."""
    size = struct.pack("!BH", 254, len(data))
    if len(data) < 126:
        size = bytes([128 | len(data)])
    mask = b"\x12\x34\x56\x78"
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return bytes([final << 7 | reserved << 4 | opcode]) + size + mask + masked


def expected_code(frames: list[bytes]) -> int:
    """Return the code that a server closes with."""
    server = FrameProtocol(client=False, extensions=[])
    server.receive_bytes(b"".join(frames))
    try:
        for received in server.received_frames():
            if received.opcode is Opcode.CLOSE:
                # What a client gives as its reason, aiohttp takes for an end.
                return 1000
    except ParseFailed as error:
        return int(error.code)
    raise AssertionError(f"this breaks nothing: {frames!r}")


async def ask(process: Process, channel: bytes, frames: list[bytes]) -> int:
    """Send frames; return the code that the server closes with, 0 for none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    client = FrameProtocol(client=True, extensions=[])
    code = 0
    try:
        writer.write(HANDSHAKE % channel)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            return -int(head.split()[1])
        writer.write(b"".join(frames))
        while part := await reader.read(2**16):
            client.receive_bytes(part)
            for received in client.received_frames():
                if received.opcode is Opcode.CLOSE:
                    code = int(received.payload[0])
    except ConnectionError:
        pass  # What the server has not read any more resets the connection.
    finally:
        writer.close()
    return code


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    codes = Counter[int]()
    faults = list[str]()
    number = 0
    makers = iter(range(seed * 1000, seed * 1000 + AT_ONCE))

    async def talk(process: Process) -> None:
        nonlocal number
        frames = Frames(next(makers))
        while number < size:
            number += 1
            sent = frames.conversation()
            wanted = expected_code(sent)
            try:
                async with asyncio.timeout(PATIENCE):
                    code = await ask(process, frames.channel(), sent)
            except TimeoutError:
                code = -1
            codes[code] += 1
            if code != wanted:
                what = b"".join(sent)[-60:]
                faults.append(f"{code} and not {wanted} for ...{what!r}")
            advance()

    with TemporaryDirectory() as folder:
        async with running(root / "app.py", cwd=Path(folder)) as process:
            server = psutil.Process(process.process.pid)
            before = server.num_fds()
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(talk(process))
            left = server.num_fds() - before
            if left > AT_ONCE:
                faults.append(f"{left} descriptors stay open")
            if code := await process.end(within=15):
                faults.append(f"it ended with {code}")
            log = process.log.read_text("utf-8")
        if tracebacks := log.count("Traceback"):
            faults.append(f"{tracebacks} tracebacks in the log")
    counts: dict[str, int | float] = {"WebSockets": size}
    counts |= {f"closed with {code}": codes[code] for code in sorted(codes)}
    return Found(counts, faults)


ATTACK = Attack(
    attack,
    promises=("X2", "X9", "X13"),
    files=("app.py", "cookbook", "recipes/parallel_events.py"),
    unit="WebSockets",
    full=300_000,
    small=500,
    longest=0.05,
)
