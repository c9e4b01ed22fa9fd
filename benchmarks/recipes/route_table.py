"""A route by a decorator, among those of the answer."""

from benchmarks.compare import Requests, peer, recipe
from benchmarks.wrk import Request

COMPARISONS = {
    "item": Requests(
        "A route with a variable",
        [
            recipe("the answer", "route_table"),
            peer("one route, by add_get()", "route_table.add_get"),
            peer("Starlette", "route_table.starlette_app"),
        ],
        Request("/items/tea"),
    )
}
