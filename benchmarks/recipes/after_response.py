"""Work of 50 ms after the answer, on 64 connections."""

from benchmarks.compare import Requests, peer, recipe
from benchmarks.wrk import Request

COMPARISONS = {
    "ping": Requests(
        "Work of 50 ms after each answer, on 64 connections",
        [
            recipe("the answer", "after_response"),
            recipe(
                "the production file",
                "production.after_response",
                "postgres_url={postgres}",
                "work_here=yes",
            ),
            peer("the FAQ's shape", "after_response.faq"),
            peer("Starlette", "after_response.starlette_app"),
        ],
        Request("/ping?work=0.05", method="POST"),
    )
}
