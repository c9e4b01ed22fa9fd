"""Compression: aiohttp by its libraries, Starlette, and nginx at level 1."""

from benchmarks.compare import Curve, Requests, Subject, peer
from benchmarks.wrk import Request

COUNTS = {10_000: 1000, 100_000: 300, 1_000_000: 40}
"""Bytes of a text, and how often it is asked for in a round.

In a second, wrk would cut off many answers of the longest.
"""

APP = "global_gzip.aiohttp_app"


def subjects(size: int) -> list[Subject]:
    """Return what sends a text of this size."""
    return [
        peer("the answer", APP, "answer", "zlib"),
        peer("the answer, isal", APP, "answer", "isal.isal_zlib"),
        peer("aiohttp's default", APP, "everything", "zlib"),
        peer("uncompressed", APP, "nothing", "zlib"),
        peer("Starlette", "global_gzip.starlette_app"),
        peer("nginx", "global_gzip.nginx", "{folder}", str(size)),
    ]


def requests(
    title: str, chosen: list[Subject], size: int, count: int, rounds: int
) -> Requests:
    """Return requests for a text of this size, by who takes gzip."""
    return Requests(
        title,
        chosen,
        Request(f"/text?size={size}", encoding="gzip"),
        size=size,
        clients=8,
        count=count,
        rounds=rounds,
    )


COMPARISONS = {
    f"{size // 1000} kB": requests(
        f"A text of {size // 1000:,} kB, sent to who takes gzip",
        subjects(size),
        size,
        count,
        rounds=5,
    )
    for size, count in COUNTS.items()
}

CURVES = {
    "bodies": Curve(
        "Bodies that are compressed",
        "bytes",
        {
            size: [
                requests(
                    "A text",
                    [subjects(size)[place] for place in (0, 1, 5)],
                    size,
                    count=max(8, min(500, 10_000_000 // size)),
                    rounds=3,
                )
            ]
            for size in (1000, 10_000, 100_000, 1_000_000, 10_000_000)
        },
    )
}
