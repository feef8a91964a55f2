"""What went over the wire in this process, counted where it happens: for tests and the bench."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple


class Counters(NamedTuple):
    """Sums since the process began. Subtract two of them to see what lies between.

    `connections` are SSH logins, `channels` everything opened inside them, `exchanges` scripts run
    by a root shell, `round_trips` how often something was sent after something was received, and
    the bytes are those on the wire.
    """

    connections: int = 0
    channels: int = 0
    exchanges: int = 0
    round_trips: int = 0
    bytes_out: int = 0
    bytes_in: int = 0

    def __sub__(self, earlier: Counters) -> Counters:
        return Counters(*(now - before for now, before in zip(self, earlier, strict=True)))


_lock = threading.Lock()
_sums = Counters()._asdict()


def count(what: str, number: int = 1) -> None:
    """Add to one of the sums of `Counters`; safe from any thread."""
    with _lock:
        _sums[what] += number


def _unlock_in_child() -> None:
    """A thread that held the lock when the process forked does not exist in the child."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock_in_child)


def counted() -> Counters:
    """The sums so far."""
    with _lock:
        return Counters(**_sums)
