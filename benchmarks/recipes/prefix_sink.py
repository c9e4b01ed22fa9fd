"""A route that takes all below a prefix."""

from benchmarks.compare import Requests, peer, recipe
from benchmarks.wrk import Request

COMPARISONS = {
    "tail": Requests(
        "A path below the prefix",
        [
            recipe("the answer", "prefix_sink"),
            peer("the FAQ's route", "prefix_sink.faq"),
            peer("Starlette", "prefix_sink.starlette_app"),
        ],
        Request("/path/to/a/page?page=2"),
    )
}
