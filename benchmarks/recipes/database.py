"""Rows that are written: SQLite by the answer, PostgreSQL in production."""

from benchmarks.compare import Curve, Requests, peer, recipe
from benchmarks.wrk import Request

JSON = (("Content-Type", "application/json"),)

ANSWER = recipe("the answer", "database", "database={folder}/notes.db")
PRODUCTION = recipe(
    "the production file", "production.database", "postgres_url={postgres}"
)
POOL = peer("a bare psycopg pool", "database.psycopg_app", "{postgres}")
ASYNCPG = peer("a bare asyncpg pool", "database.asyncpg_app", "{postgres}")

COMPARISONS = {
    "SQLite": Requests(
        "A note in SQLite, in a transaction, with synchronous=FULL",
        [
            ANSWER,
            peer(
                "a connection for each request",
                "database.per_request",
                "{folder}/notes.db",
            ),
        ],
        Request("/notes/batch", "POST", JSON, '{"notes": [{"text": "milk"}]}'),
        status=201,
        clients=16,
    ),
    "PostgreSQL": Requests(
        "A note in PostgreSQL, in a transaction",
        [PRODUCTION, POOL, ASYNCPG],
        Request("/notes", "POST", JSON, '{"text": "milk"}'),
        status=201,
        clients=16,
    ),
}

CURVES = {
    "notes": Curve(
        "The newest 20 of many notes",
        "notes",
        {
            notes: [
                Requests(
                    "The newest 20",
                    [
                        peer(
                            "the answer",
                            "database.filled",
                            "{folder}/notes.db",
                            str(notes),
                        )
                    ],
                    Request("/notes"),
                    clients=16,
                    rounds=3,
                )
            ]
            for notes in (100, 10_000, 1_000_000)
        },
    )
}
