"""Visits that are counted two applications deep, in SQLite."""

from benchmarks.compare import Requests, peer, recipe
from benchmarks.wrk import Request

COMPARISONS = {
    "visit": Requests(
        "A visit that is counted two applications deep",
        [
            recipe(
                "the answer", "subapp_database", "database={folder}/visits.db"
            ),
            peer(
                "flat, without sub-applications",
                "subapp_database.flat",
                "{folder}/visits.db",
            ),
            peer(
                "a connection for each request",
                "subapp_database.per_request",
                "{folder}/visits.db",
            ),
        ],
        Request("/sub/deeper/"),
        clients=16,
    )
}
