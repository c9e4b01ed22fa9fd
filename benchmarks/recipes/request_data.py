"""An id for each request, in the answer and in its header."""

from benchmarks.compare import Requests, peer, recipe
from benchmarks.wrk import Request

KEY = f"{'A' * 43}="

COMPARISONS = {
    "id": Requests(
        "The id of the request, in the answer and in its header",
        [
            recipe("the answer", "request_data", f"key={KEY}"),
            recipe(
                "the production file",
                "production.request_data",
                "redis_url={redis}",
            ),
            peer("without a middleware", "request_data.in_handler"),
            peer("Starlette", "request_data.starlette_app"),
        ],
        Request("/"),
    )
}
