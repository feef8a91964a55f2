"""Until when a worker may begin with what is sent to it now, by its own uptime."""

from __future__ import annotations

import time

HELD_UP_S = 10
"""How long after it was sent the worker begins with a script: a connection that hangs is given up
after a little more, and what it held must not be done when somebody has done something else."""


class WorkerClock:
    """The worker's uptime, as far as it was heard.

    That it runs slow here while this machine sleeps does no harm: a script that the worker refuses
    brings its uptime along.
    """

    def __init__(self) -> None:
        self._ahead: float | None = None

    def heard(self, uptime: float) -> None:
        """It was `uptime` seconds there a moment ago."""
        self._ahead = uptime - time.monotonic()

    def latest(self) -> str:
        """The uptime, in whole seconds, after which what is sent now must not begin; empty where
        nothing was heard."""
        if self._ahead is None:
            return ""
        return str(int(self._ahead + time.monotonic() + HELD_UP_S))
