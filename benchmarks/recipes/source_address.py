"""A call of an upstream from an address that the caller chooses."""

from benchmarks.compare import Requests, peer, recipe
from benchmarks.wrk import Request

COMPARISONS = {
    "whoami": Requests(
        "The address that an upstream of the same process sees",
        [
            recipe("the answer", "source_address"),
            peer("a connector for each request", "source_address.per_request"),
        ],
        Request("/whoami?source=127.0.0.1"),
        clients=16,
    )
}
