"""Waiting for file descriptors: `poll`, as `select` knows none above 1023."""

from __future__ import annotations

import select
from collections.abc import Iterable
from typing import NamedTuple


class Ready(NamedTuple):
    """The descriptors that can be read, or have ended, and those that can be written to."""

    readable: frozenset[int]
    writable: frozenset[int]


def ready(
    readers: Iterable[int], writers: Iterable[int] = (), *, within_s: float | None = None
) -> Ready:
    """Wait until one of them is ready, at most so long; nothing is ready when the time is over."""
    to_read, to_write = frozenset(readers), frozenset(writers)
    watched = select.poll()
    for each in to_read | to_write:
        wanted = (select.POLLIN if each in to_read else 0) | (
            select.POLLOUT if each in to_write else 0
        )
        watched.register(each, wanted)
    found = watched.poll(None if within_s is None else max(0, within_s * 1000))
    over = select.POLLERR | select.POLLHUP | select.POLLNVAL
    return Ready(
        frozenset(fd for fd, event in found if fd in to_read and event & (select.POLLIN | over)),
        frozenset(fd for fd, event in found if fd in to_write and event & (select.POLLOUT | over)),
    )
