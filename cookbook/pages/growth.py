"""What many sockets take: formulas on the figures of `benchmarks/growth.py`."""

import json
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

SOCKETS = (10_000, 1_000_000, 100_000_000)
"""How many the page reckons with."""

EVENTS = 0.1
"""Events that a socket gets in a second."""

CHANNEL = 1000
"""Sockets on a channel: so many get an event that is published once."""

BUSY = 0.6
"""Share of its core that a worker, or a store, may use."""

STORE_BYTES = 8 * 2**30
"""Memory of a store that its data may take."""

MAX_SHARDS = 10_000
"""More are not tried."""

PACKET_BYTES = 66
"""Headers of a small packet: Ethernet 14, IPv4 20, TCP with timestamps 32."""

PING_BYTES = 2
"""A ping without a payload (RFC 6455, 5.5.2)."""


class Figures(NamedTuple):
    """What was measured, in bytes and in seconds of CPU.

    A name that begins with `store` is about the store, all others about a
    worker. `idle`, `heartbeat` and `check` are for each second, the latter two
    for each socket. `event` is an event that is published, and read by one
    worker.
    """

    idle_cpu: float
    read_cpu: float
    delivery_cpu: float
    heartbeat_cpu: float
    check_cpu: float
    worker_bytes: float
    socket_bytes: float
    store_idle_cpu: float
    store_event_cpu: float
    store_publish_cpu: float
    store_check_cpu: float
    session_bytes: float
    place_bytes: float


class Check(NamedTuple):
    """A load that was foretold from the figures, and measured as well."""

    what: str
    unit: str
    foretold: float
    measured: float

    @property
    def error(self) -> str:
        """By how much the measured value differs from the foretold one."""
        return f"{self.measured / self.foretold - 1:+.0%}"


class Measured(NamedTuple):
    """A key of the file of results."""

    commit: str
    date: str
    machine: dict[str, Any]
    load: float
    store: str
    sockets: int
    worker_sockets: int
    heartbeat: float
    check_interval: float
    event_bytes: int
    frame_bytes: int
    figures: Figures
    checks: list[Check]

    @property
    def worst(self) -> str:
        """By how much a measured value differs from a foretold one, at most."""
        errors = (
            abs(each.measured / each.foretold - 1) for each in self.checks
        )
        return f"{max(errors):.0%}"


@dataclass(frozen=True)
class Need:
    """What a number of sockets takes. Each shard has its own workers."""

    sockets: int
    shards: int
    workers: int
    limit: str
    worker_memory: float
    store_memory: float
    bits: float


def read_growth(results: Path) -> Measured | None:
    """Read what was measured; where the file is not installed, nothing."""
    if not results.exists():
        return None
    return measured_from(json.loads(results.read_text("utf-8"))["growth"])


def measured_from(values: dict[str, Any]) -> Measured:
    """Read what `benchmarks/growth.py` has written under its key."""
    return Measured(
        commit=values["commit"],
        date=values["date"],
        machine=values["machine"],
        load=values["load at the start"],
        store=values["store"],
        sockets=values["sockets"],
        worker_sockets=values["worker_sockets"],
        heartbeat=values["heartbeat"],
        check_interval=values["check_interval"],
        event_bytes=values["event_bytes"],
        frame_bytes=values["frame_bytes"],
        figures=Figures(**values["figures"]),
        checks=[Check(**check) for check in values["checks"]],
    )


def need(measured: Measured, sockets: int) -> Need:
    """Return the fewest shards that are enough, and their workers.

    Raises ValueError where a worker has no room for a socket.
    """
    figures = measured.figures
    for shards in range(1, MAX_SHARDS + 1):
        of_shard = sockets / shards
        events = of_shard * EVENTS / CHANNEL
        room, limit = room_of_worker(measured, events)
        if room < 1:
            continue
        workers = ceil(of_shard / room)
        store_bytes = of_shard * (figures.session_bytes + figures.place_bytes)
        is_quick = store_cpu(figures, of_shard, events, workers) <= BUSY
        if is_quick and store_bytes <= STORE_BYTES:
            return Need(
                sockets,
                shards,
                shards * workers,
                limit,
                worker_memory=shards * workers * figures.worker_bytes
                + sockets * figures.socket_bytes,
                store_memory=shards * store_bytes,
                bits=8 * sockets * bytes_of_socket(measured),
            )
    raise ValueError(f"no {MAX_SHARDS} shards are enough for {sockets} sockets")


def socket_cpu(figures: Figures) -> float:
    """Return the share of a worker's core that a socket takes."""
    deliveries = EVENTS * figures.delivery_cpu
    return figures.heartbeat_cpu + figures.check_cpu + deliveries


def room_of_worker(measured: Measured, events: float) -> tuple[int, str]:
    """Return how many sockets a worker has, and what the limit is.

    It reads all `events` of its shard's store, in a second, whoever they are
    for.
    """
    figures = measured.figures
    free = BUSY - figures.idle_cpu - events * figures.read_cpu
    room = int(free / socket_cpu(figures))
    if room < measured.worker_sockets:
        return room, "its core"
    return measured.worker_sockets, "MAX_SOCKETS"


def store_cpu(
    figures: Figures, sockets: float, events: float, workers: int
) -> float:
    """Return the share of a store's core that a shard takes."""
    read = figures.store_event_cpu - figures.store_publish_cpu
    return (
        workers * figures.store_idle_cpu
        + events * (figures.store_publish_cpu + workers * read)
        + sockets * figures.store_check_cpu
    )


def bytes_of_socket(measured: Measured) -> float:
    """Return the bytes that are sent to a socket in a second, with headers."""
    events = EVENTS * (measured.frame_bytes + PACKET_BYTES)
    return events + (PING_BYTES + PACKET_BYTES) / measured.heartbeat


def figure_rows(measured: Measured) -> list[tuple[str, str]]:
    """Return what each figure is, and its value."""
    figures = measured.figures
    read = figures.store_event_cpu - figures.store_publish_cpu
    return [
        ("memory of a worker without sockets", _mib(figures.worker_bytes)),
        ("memory of a socket, in the worker", _kib(figures.socket_bytes)),
        ("CPU of a worker that has nothing to do", _share(figures.idle_cpu)),
        ("CPU to send an event to a socket", _micros(figures.delivery_cpu)),
        (
            "CPU of a worker to read an event, whoever it is for",
            _micros(figures.read_cpu),
        ),
        (
            "CPU of a socket that is silent: its heartbeat, for a second",
            _micros(figures.heartbeat_cpu),
        ),
        (
            "CPU to ask whether its session is over, for a second",
            _micros(figures.check_cpu),
        ),
        ("a session, in the store", f"{figures.session_bytes:.0f} bytes"),
        (
            "the place of a socket, in the store",
            f"{figures.place_bytes:.0f} bytes",
        ),
        (
            "CPU of the store for a worker that has nothing to do",
            _share(figures.store_idle_cpu),
        ),
        (
            "CPU of the store to take an event",
            _micros(figures.store_publish_cpu),
        ),
        ("CPU of the store to give it to one worker", _micros(read)),
        (
            "CPU of the store to say whether a session is over, for a second "
            "of a socket",
            _micros(figures.store_check_cpu),
        ),
    ]


def assumption_rows(measured: Measured) -> list[tuple[str, str, str]]:
    """Return what is assumed, its value, and where that comes from."""
    return [
        (
            "events that a socket gets",
            f"{EVENTS} a second",
            "chosen: put in your own",
        ),
        ("sockets on a channel", f"{CHANNEL:,}", "chosen"),
        ("text of an event", f"{measured.event_bytes} bytes", "as measured"),
        (
            "its frame, with the JSON around it",
            f"{measured.frame_bytes} bytes",
            "counted: RFC 6455, section 5.2",
        ),
        (
            "headers of a packet",
            f"{PACKET_BYTES} bytes",
            "Ethernet 14, IPv4 20, TCP with timestamps 32 (RFC 9293, RFC 7323)",
        ),
        (
            "sockets of a worker, at most",
            f"{measured.worker_sockets:,}",
            "`MAX_SOCKETS` of production/parallel_events.py",
        ),
        (
            "a ping",
            f"every {measured.heartbeat:.0f} s",
            "`HEARTBEAT` of the same file",
        ),
        (
            "the question whether a session is over",
            f"every {measured.check_interval:.0f} s",
            "`CHECK_INTERVAL` of production/websocket_logout.py",
        ),
        ("sessions", "one for a socket", "chosen: fewer take less"),
        (
            "core that a worker or a store may use",
            f"{BUSY:.0%}",
            "chosen: the rest is for bursts, and for the sockets of a worker "
            "that has died",
        ),
        (
            "memory of a store for its data",
            f"{STORE_BYTES / 2**30:.0f} GiB",
            "chosen: a store that saves itself may need as much again",
        ),
        (
            "a channel is on one shard, with its sockets",
            "yes",
            "whoever routes clients has to see to it: these files have one "
            "store",
        ),
        (
            "cost of a socket among many",
            "as among few",
            f"extrapolated: measured up to {measured.sockets:,} on one worker",
        ),
    ]


FORMULAS = [
    "events of a shard = sockets * events of a socket / sockets of a channel",
    "CPU of a socket = heartbeat + session check + events of a socket * send",
    "sockets of a worker = min(MAX_SOCKETS, (0.6 - idle - events of its shard "
    "* read) / CPU of a socket)",
    "CPU of a store = workers * idle + events of its shard * (take + workers * "
    "give) + sockets * session check",
    "memory of a store = sockets * (session + place)",
    "memory of the workers = workers * memory of a worker + sockets * memory "
    "of a socket",
    "shards = the fewest with which no store is above 0.6 of its core, nor "
    "above its memory",
    "bandwidth = sockets * (events of a socket * (frame + headers) + (ping + "
    "headers) / heartbeat)",
]
"""How one comes to the other. `workers` of a store are those of its shard."""


def need_rows(measured: Measured) -> list[list[str]]:
    """Return a row for each of `SOCKETS`: what they take, as text."""
    return [
        [
            f"{each.sockets:,}",
            f"{each.workers:,}",
            each.limit,
            _gib(each.worker_memory),
            f"{each.shards:,}",
            _gib(each.store_memory),
            _mbit(each.bits),
        ]
        for each in (need(measured, sockets) for sockets in SOCKETS)
    ]


NEEDS = [
    "Sockets",
    "Workers",
    "A worker is limited by",
    "Memory of the workers",
    "Shards of the store",
    "Memory of the stores",
    "Sent",
]


def _micros(seconds: float) -> str:
    return f"{_digits(seconds * 1e6)} µs"


def _share(share: float) -> str:
    return f"{share:.1%} of a core"


def _kib(size: float) -> str:
    return f"{size / 2**10:.1f} KiB"


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"


def _gib(size: float) -> str:
    return f"{_digits(size / 2**30)} GiB"


def _mbit(rate: float) -> str:
    return f"{_digits(rate / 1e6)} Mbit/s"


def _digits(number: float) -> str:
    """Return a number with three digits, or all that it has before the dot."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
