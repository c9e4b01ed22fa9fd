"""A call of an upstream, which is in the same process."""

from benchmarks.compare import Requests, peer, recipe
from benchmarks.wrk import Request

COMPARISONS = {
    "fetch": Requests(
        "An answer that is fetched from an upstream of the same process",
        [
            recipe("the answer", "client_session"),
            recipe("the production file", "production.client_session"),
            peer("a session for each request", "client_session.per_request"),
        ],
        Request("/fetch"),
        clients=16,
    )
}
