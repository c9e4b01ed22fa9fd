"""An id for each request, in the answer and in its header."""

from benchmarks.compare import Curve, Requests, Subject, peer, recipe
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


def workers(number: int) -> Subject:
    """Return the production file with so many workers, all on one core."""
    options = {
        "workers": f"{number}",
        "worker-class": "aiohttp.GunicornUVLoopWebWorker",
        "bind": "127.0.0.1:0",
    }
    app = "recipes.production.request_data:create_app(redis_url='{redis}')"
    command = [f"--{name}={value}" for name, value in options.items()]
    return Subject("the production file", ("-m", "gunicorn", *command, app))


CURVES = {
    "workers": Curve(
        "Workers of gunicorn that share a core",
        "workers",
        {
            number: [
                Requests(
                    "The id of the request",
                    [workers(number)],
                    Request("/"),
                    rounds=3,
                )
            ]
            for number in (1, 2, 3, 4)
        },
    )
}
