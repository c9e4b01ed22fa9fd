"""A logout that closes the sockets of its user."""

from benchmarks.compare import peer, recipe
from benchmarks.fan_out import Logout

COMPARISONS = {
    "1,000": Logout(
        "A user with 1,000 sockets logs out; ten of the peers are silent",
        [
            recipe("the answer", "websocket_logout"),
            recipe(
                "the production file",
                "production.websocket_logout",
                "redis_url={redis}",
            ),
            peer("the FAQ's shape", "websocket_logout.faq"),
        ],
        sockets=1000,
    )
}
