"""Requests that are wrong in some way are sent to every recipe and page.

Hypothesis draws their parts, each for some of them, and h11 reads what is
answered. Each goes to two servers: one parses in C, the other in Python.
"""

import asyncio
import gzip
import json
import random
import re
from collections import Counter
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import h11
import psutil
from aiohttp import ClientSession
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from benchmarks.attacks import Advance, Attack, Found
from tests.servers import Process, running

AT_ONCE = 40
"""Requests that wait for an answer, each on a connection of its own."""

ROUND = 1000
"""Requests that are made together, while those before them are sent."""

DRAWN = 200
"""Parts that are drawn for a round: each is used in five requests or so."""

WITH_BODY = 0.5
BROKEN = 0.1
"""The shares of requests with a body, and with a byte exchanged."""

PATIENCE = 40.0
"""Seconds until an answer is complete: a body that never comes has ten."""

WARM_UP = 1000
"""Requests before the memory is looked at for the first time."""

MAX_GROWTH = 20
"""MiB of memory that a server may have more at the end."""

GOOD = (
    b"GET /prefix-sink HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
)
"""What follows a broken request, so that no server waits for its rest."""

WORKS_OR_NOT = {502, 503, 504}
"""Statuses that tell of a service that is away: there is no PostgreSQL."""

ON_PURPOSE = b"/request-data/error"
"""This one shows what becomes of a mistake, and is 500."""

LEFT_OUT = re.compile(r"x-ray|/traps/|/ws$|/echo$|/upstream$")
"""What has no end, starts programs, or is asked by a recipe itself."""

ACCESS = re.compile(r'^[\d:, -]+ INFO \S+ "[ -~]*" [1-5]\d\d \d+ [\d.]+s')
LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")

USUAL = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"]
ODD = [b"TRACE", b"get", b"G\x00T", b"", b"PRI", b"A" * 300]
METHODS = [*8 * USUAL, *ODD]
HOSTS = [b"localhost"] * 20 + [b"evil", b"", b"[::1", b"\xff"]
SUFFIXES = st.one_of(
    st.just(b""),
    st.sampled_from(
        [b"/", b"//", b"/..", b"/%2e%2e/x", b"%00", b"%ff", b"%0d%0aX", b"?"]
    ),
    st.sampled_from(
        [b"?a=%ff", b"?work=1e9", b"?size=-1", b"?n=" + b"9" * 500]
    ),
    st.binary(max_size=12).map(lambda tail: b"/" + tail),
    st.text(max_size=8).map(
        lambda tail: b"?q=" + tail.encode("utf-8", "replace")
    ),
)
VERSIONS = [
    *[b"HTTP/1.1"] * 12,
    *(b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.x", b"http/1.1", b""),
]
VALUES = st.one_of(
    st.sampled_from([b"", b"*", b"\xff", b"\xc3\xa9", b"a\tb", b"0", b"-1"]),
    st.sampled_from(
        [b'W/"x"', b"bytes=0-", b"bytes=9-1", b"gzip;q=x", b"Basic x"]
    ),
    st.sampled_from(
        [b"session=" + b"x" * 3000, b"a=b; c", b"text/markdown;q=2"]
    ),
    st.binary(max_size=20).filter(lambda value: not {10, 13} & {*value}),
)
NAMES = st.sampled_from(
    [
        *(b"Accept", b"Accept-Encoding", b"Authorization", b"Cookie", b"Date"),
        *(b"Expect", b"If-Match", b"If-None-Match", b"If-Modified-Since"),
        *(
            b"If-Range",
            b"Range",
            b"Idempotency-Key",
            b"X-Request-ID",
            b"Upgrade",
        ),
        *(b"Origin", b"Referer", b"Sec-Fetch-Site", b"X-Forwarded-For", b"TE"),
        *(
            b"Connection",
            b"Content-Encoding",
            b"Bad Name",
            b"",
            b"Host",
            b"\xff",
        ),
    ]
)
NUMBERS = st.one_of(st.integers(), st.floats(), st.just(10**400))
JSON_TEXTS = st.one_of(
    st.recursive(
        st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=9)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["notes", "text", "user", "channel", "x"]),
                inner,
                max_size=3,
            ),
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [
            b"[" * 100_000,
            b'{"text": "\\ud800"}',
            b'{"notes": [{"text": "\\u0000"}]}',
            b"9" * 5000,
            b"NaN",
            b'{"text": "\xff"}',
            b"\xef\xbb\xbf{}",
            "{}".encode("utf-16"),
            b'{"a": 1, "a": 2}',
        ]
    ),
)
MULTIPARTS = st.sampled_from(
    [
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--',
        b"--x\r\n\r\n\r\n--x",
        b"--x\r\nContent-Length: 9999\r\n\r\n1\r\n--x--",
        b"--x\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--x--\r\n",
        b"--y--",
    ]
)
BODIES = st.one_of(
    st.tuples(st.just(b"application/json"), JSON_TEXTS),
    st.tuples(st.just(b"application/json; charset=idna"), JSON_TEXTS),
    st.tuples(st.just(b"application/json; charset=\xff"), JSON_TEXTS),
    st.tuples(st.just(b"multipart/form-data; boundary=x"), MULTIPARTS),
    st.tuples(st.just(b"multipart/form-data"), MULTIPARTS),
    st.tuples(
        st.just(b"application/x-www-form-urlencoded"),
        st.sampled_from(
            [b"a=%ff&user=ann", b"&=&" * 2000, b"user=%00", b"user"]
        ),
    ),
    st.tuples(st.just(b"text/plain"), st.binary(max_size=50)),
)
FRAMINGS = [
    *[b"length"] * 6,
    *(b"chunked", b"bad size", b"bad end", b"both", b"two lengths", b"none"),
]
ENCODINGS = [*[b""] * 8, b"gzip", b"broken", b"deflate", b"br"]


class Parts(NamedTuple):
    """What Hypothesis draws for a request, each part for any of them."""

    suffix: bytes
    """Of the path."""
    headers: list[tuple[bytes, bytes]]
    content: tuple[bytes, bytes]
    """Its type, and the body."""
    junk: bytes
    """What takes the place of a byte."""


HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=3)
JUNK = st.binary(max_size=2)


# Not st.builds(): its name has all bodies in it.
@st.composite
def draw_parts(draw: st.DrawFn) -> Parts:
    return Parts(draw(SUFFIXES), draw(HEADERS), draw(BODIES), draw(JUNK))


def compose(
    chooser: random.Random, paths: list[bytes], drawn: list[Parts]
) -> bytes:
    """Return the bytes of a request, whole or broken, and a good one behind."""
    target = chooser.choice(paths) + chooser.choice(drawn).suffix
    method = chooser.choice(METHODS)
    lines = [
        b" ".join([method, target, chooser.choice(VERSIONS)]),
        b"Host: " + chooser.choice(HOSTS),
    ]
    lines += [
        name + b": " + value for name, value in chooser.choice(drawn).headers
    ]
    body = b""
    if chooser.random() < WITH_BODY:
        kind, body = chooser.choice(drawn).content
        lines.append(b"Content-Type: " + kind)
        body = encode(chooser.choice(ENCODINGS), body, lines)
        body = frame(chooser.choice(FRAMINGS), body, lines)
    request = b"\r\n".join([*lines, b"", body])
    if chooser.random() < BROKEN:
        at = chooser.randrange(len(request))
        junk = chooser.choice(drawn).junk
        request = request[:at] + junk + request[at + 1 :]
    return request + b"\r\n\r\n" + GOOD


def encode(encoding: bytes, body: bytes, lines: list[bytes]) -> bytes:
    if not encoding:
        return body
    lines.append(b"Content-Encoding: " + encoding.replace(b"broken", b"gzip"))
    whole = gzip.compress(body, mtime=0)
    return whole[: len(whole) // 2] if encoding == b"broken" else whole


def frame(framing: bytes, body: bytes, lines: list[bytes]) -> bytes:
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    length = b"Content-Length: %d" % len(body)
    match framing:
        case b"length":
            lines.append(length)
            return body
        case b"two lengths":
            lines += [length, length]
            return body
        case b"both":
            lines += [length, b"Transfer-Encoding: chunked"]
            return chunk
        case b"none":
            return b""
    lines.append(b"Transfer-Encoding: chunked")
    if framing == b"bad size":
        return b"xyz" + chunk
    return chunk[:-4] + b"zz" if framing == b"bad end" else chunk


@dataclass
class Target:
    """A server under attack, and what it has answered so far."""

    name: str
    process: Process
    answers: Counter[int] = field(default_factory=Counter)

    @property
    def memory(self) -> float:
        """MiB of the process."""
        rss: int = psutil.Process(self.process.process.pid).memory_info().rss
        return rss / 2**20

    async def ask(self, request: bytes) -> str:
        """Send a request; return what is wrong with the answer, or ""."""
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._exchange(request)
        except TimeoutError:
            return f"{self.name}: no end of an answer to {request[:300]!r}"
        statuses = read_answers(answer, request)
        if not statuses:
            what = f"{answer[:100]!r} to {request[:300]!r}"
            return f"{self.name}: no answer that h11 can read: {what}"
        self.answers.update(statuses)
        bad = [each for each in statuses if each >= 500]
        if set(bad) - WORKS_OR_NOT and ON_PURPOSE not in request:
            return f"{self.name}: {bad[0]} to {request[:300]!r}"
        return ""

    async def _exchange(self, request: bytes) -> bytes:
        port = self.process.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        try:
            writer.write(request)
            while part := await reader.read(2**16):
                answer += part
        except ConnectionError:
            pass  # It was sent more than it has read, after its answer.
        finally:
            writer.close()
        return answer

    def judge_log(self) -> list[str]:
        """Return what is wrong with the log of the server."""
        lines = self.process.log.read_text("utf-8").splitlines()
        split = [line for line in lines if not LINE.match(line)]
        accesses = sum(
            "/upstream" not in line and ACCESS.match(line) is not None
            for line in lines
        )
        asked = self.answers.total()
        faults = (
            [f"{self.name}: {len(split)} broken lines, {split[0]!r}"]
            if split
            else []
        )
        if accesses != asked:
            faults.append(f"{self.name}: {accesses} lines for {asked} answers")
        return faults


def read_answers(answer: bytes, request: bytes) -> list[int]:
    """Return the statuses of one or two whole answers; none if they are not."""
    # Who cannot read a request does not know that it was one for the head.
    starts = [b"HEAD", b"GET"] if request.startswith(b"HEAD ") else [b"GET"]
    for start in starts:
        try:
            return read_as(answer, [start, b"GET"])
        except h11.ProtocolError:
            continue
    return []


def read_as(answer: bytes, methods: list[bytes]) -> list[int]:
    """Read the answers to some requests; raises a ProtocolError."""
    statuses = []
    for method in methods:
        client = h11.Connection(h11.CLIENT)
        client.send(
            h11.Request(method=method, target="/", headers=[("Host", "x")])
        )
        client.send(h11.EndOfMessage())
        client.receive_data(answer)
        client.receive_data(b"")
        status = 0
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif not isinstance(event, h11.Data | h11.InformationalResponse):
                raise h11.RemoteProtocolError("the answer breaks off")
        statuses.append(status)
        answer, _ = client.trailing_data
        if not answer:
            return statuses
    raise h11.RemoteProtocolError("there is more behind the answers")


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    async with AsyncExitStack() as stack:
        # To draw takes as long as to ask, and would keep the answers waiting.
        pool = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        targets = []
        for name, value in {"C": "", "Python": "1"}.items():
            folder = Path(stack.enter_context(TemporaryDirectory()))
            script = root / "app.py"
            server = running(script, cwd=folder, AIOHTTP_NO_EXTENSIONS=value)
            targets.append(
                Target(name, await stack.enter_async_context(server))
            )
        paths = await find_paths(targets[0])
        faults = await attack_with(
            targets, paths, WARM_UP, seed + 1, pool, lambda: None
        )
        before = [target.memory for target in targets]
        faults += await attack_with(targets, paths, size, seed, pool, advance)
        grown = [t.memory - b for t, b in zip(targets, before, strict=True)]
        for target in targets:
            if code := await target.process.end(within=15):
                faults.append(f"{target.name}: it ended with {code}")
            faults += target.judge_log()
    if max(grown) > MAX_GROWTH:
        faults.append(f"{max(grown):.0f} MiB are not given back")
    total = targets[0].answers + targets[1].answers
    counts: dict[str, int | float] = {"requests, to each": size}
    for status in sorted(total):
        counts[f"answers of status {status}"] = total[status]
    counts["MiB more, at most"] = round(max(grown), 1)
    return Found(counts, faults)


async def find_paths(target: Target) -> list[bytes]:
    """Return what the server says that it has."""
    url = f"http://127.0.0.1:{target.process.port}"
    async with ClientSession(url) as client, client.get("/recipes.json") as got:
        recipes = await got.json()
    target.answers[200] += 1
    found = ["/", "/errors", "/verdicts", "/llms.txt", "/readyz", "/production"]
    for recipe in recipes:
        found += [recipe["address"], recipe["markdown"], recipe["prefix"]]
        for endpoint in recipe["endpoints"]:
            path = re.sub(r"\{[^}]*\}", "1", endpoint["path"])
            found += [path, f"/production{path}"]
    return [path.encode() for path in found if not LEFT_OUT.search(path)]


async def attack_with(
    targets: list[Target],
    paths: list[bytes],
    size: int,
    seed: int,
    pool: Executor,
    advance: Advance,
) -> list[str]:
    """Send so many requests to each, and return what was wrong."""
    loop = asyncio.get_running_loop()
    chooser = random.Random(seed)  # noqa: S311
    room = asyncio.Semaphore(AT_ONCE)
    faults: list[str] = []

    async def send(request: bytes) -> None:
        asking = [target.ask(request) for target in targets]
        faults.extend(fault for fault in await asyncio.gather(*asking) if fault)
        room.release()
        advance()

    def begin_to_draw() -> asyncio.Future[list[bytes]]:
        return loop.run_in_executor(
            pool, draw_round, paths, chooser.getrandbits(32)
        )

    next_round = begin_to_draw()
    async with asyncio.TaskGroup() as sending:
        while size:
            requests = (await next_round)[:size]
            size -= len(requests)
            if size:
                next_round = begin_to_draw()
            for request in requests:
                await room.acquire()
                sending.create_task(send(request))
    return faults


def draw_round(paths: list[bytes], seed: int) -> list[bytes]:
    """Return ROUND requests: the same ones for the same seed."""
    drawn: list[Parts] = []

    @seeded(seed)
    @settings(
        max_examples=DRAWN,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(draw_parts())
    def draw(parts: Parts) -> None:
        drawn.append(parts)

    draw()
    chooser = random.Random(seed)  # noqa: S311
    return [compose(chooser, paths, drawn) for _ in range(ROUND)]


ATTACK = Attack(
    attack,
    promises=("X1", "X2", "X3", "X4", "X6", "X8", "X11", "X22"),
    files=("app.py", "cookbook", "recipes"),
    unit="requests",
    full=250_000,
    small=600,
    longest=0.05,
)
