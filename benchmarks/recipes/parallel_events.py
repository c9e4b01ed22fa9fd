"""Fan-out: an event of Redis that goes to all sockets of a process."""

from benchmarks.compare import Curve, peer, recipe
from benchmarks.fan_out import FanOut

ANSWER = recipe("the answer", "parallel_events", "redis_url={redis}")
PRODUCTION = recipe(
    "the production file", "production.parallel_events", "redis_url={redis}"
)
FAQ = peer("the FAQ's shape", "parallel_events.faq", "{redis}")
BROADCAST = peer("websockets", "parallel_events.broadcast", "{redis}")
BARE = peer("a bare protocol", "parallel_events.bare", "{redis}")

MOST = 9_999
"""The production file takes one more: the client that checks ours."""

BY_HTTP = frozenset({PRODUCTION.name})
"""Its events are in a stream, and not where the others read."""

COMPARISONS = {
    "1,000": FanOut(
        "An event to 1,000 sockets",
        [ANSWER, PRODUCTION, FAQ, BROADCAST, BARE],
        sockets=1000,
        events=10,
        by_http=BY_HTTP,
    ),
    "5,000": FanOut(
        "An event to 5,000 sockets",
        [ANSWER, PRODUCTION, BARE],
        sockets=5000,
        events=4,
        by_http=BY_HTTP,
    ),
}

CURVES = {
    "sockets": Curve(
        "Sockets of a process",
        "sockets",
        {
            sockets: [
                FanOut(
                    "An event",
                    [subject],
                    sockets=sockets,
                    events=max(2, 4000 // sockets),
                    rounds=3,
                    by_http=BY_HTTP,
                )
                for subject in (ANSWER, PRODUCTION, BARE)
            ]
            for sockets in (100, 1000, MOST)
        },
    )
}
