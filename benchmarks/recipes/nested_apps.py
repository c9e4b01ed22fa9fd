"""Applications in applications, and how many there may be."""

from benchmarks.compare import Curve, Requests, Subject, peer
from benchmarks.wrk import Request

FLAT = peer("flat, without a middleware", "nested_apps.flat")


def subjects(mounts: int) -> list[Subject]:
    """Return applications with so many mounts."""
    return [
        peer("the answer", "nested_apps.mounts", str(mounts)),
        peer("Starlette", "nested_apps.starlette_app", str(mounts)),
    ]


COMPARISONS = {
    "one": Requests(
        "A post of a nested application, through its two middlewares",
        [*subjects(1), FLAT],
        Request("/section-1/posts/1"),
    )
}

CURVES = {
    "mounts": Curve(
        "Applications side by side",
        "mounts",
        {
            mounts: [
                Requests(
                    "A post of the last one",
                    subjects(mounts),
                    Request(f"/section-{mounts}/posts/1"),
                    rounds=3,
                )
            ]
            for mounts in (1, 10, 100, 1000)
        },
    )
}
