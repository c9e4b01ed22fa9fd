"""A worker for gunicorn that leaves, at a reload, once others have its place.

At SIGHUP, gunicorn starts new workers and ends the old ones at once. A new one
needs seconds before it listens, and until then nobody would answer: here, the
old ones go on. deploy/gunicorn.conf.py takes both names.
"""

from multiprocessing import RawValue
from types import FrameType
from typing import Any

from aiohttp.worker import GunicornUVLoopWebWorker

# gunicorn counts its workers: a younger one has a greater age. All processes
# share these numbers, since the first has made them.
_old = RawValue("L", 0)
"""The age of the youngest that was there at the last reload."""
_new = RawValue("L", 0)
"""The age of the youngest that was started for it."""
_listening = RawValue("L", 0)
"""The age of the youngest that has listened."""


def on_reload(arbiter: Any) -> None:
    """Expect new workers. gunicorn calls this before it starts them."""
    _old.value = arbiter.worker_age
    _new.value = arbiter.worker_age + arbiter.cfg.workers


class Worker(GunicornUVLoopWebWorker):
    """Goes on, at the SIGTERM of a reload, until the youngest worker listens.

    A second SIGTERM ends it in any case. gunicorn sends it where it ends
    itself, or after `graceful_timeout`.
    """

    is_leaving = False

    def notify(self) -> None:
        """Show that it lives: once a second, from when it listens."""
        super().notify()
        _listening.value = max(_listening.value, self.age)
        if self.is_leaving and not self.is_needed:
            self.alive = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End at SIGTERM, or wait for the others."""
        if self.is_leaving or not self.is_needed:
            super().handle_exit(sig, frame)
        self.is_leaving = True

    @property
    def is_needed(self) -> bool:
        """Whether those that are to take its place do not listen yet."""
        is_old: bool = self.age <= _old.value
        return is_old and _listening.value < _new.value
