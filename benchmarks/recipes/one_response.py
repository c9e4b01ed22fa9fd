"""An answer that is sent again from its bytes, through three middlewares."""

from benchmarks.compare import Requests, peer, recipe
from benchmarks.wrk import Request

COMPARISONS = {
    "greeting": Requests(
        "A greeting that was made before",
        [
            recipe("the answer", "one_response"),
            recipe(
                "the production file",
                "production.one_response",
                "redis_url={redis}",
            ),
            peer("without a middleware", "one_response.plain"),
            peer("Starlette", "one_response.starlette_app"),
        ],
        Request("/greeting?name=ann"),
    )
}
