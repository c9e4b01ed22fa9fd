"""A session that is made when the loop runs, once or each time."""

from benchmarks.compare import Requests, peer, recipe
from benchmarks.wrk import Request

COMPARISONS = {
    "fetch": Requests(
        "A text that is fetched from an upstream of the same process",
        [
            recipe("the answer", "event_loop"),
            peer("a session for each request", "event_loop.per_request"),
        ],
        Request("/fetch"),
        clients=16,
    )
}
