"""Waiting for a worker or a guest to come to something."""

from __future__ import annotations

import time
from collections.abc import Callable


class Hung(Exception):
    """Something did not come to its end in time."""


def await_it(
    condition: Callable[[], bool], what: str, *, seconds: float, every: float = 0.05
) -> None:
    """Return when the condition holds. Raises Hung."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Hung(f"{what}, still after {seconds:.0f} s")
        time.sleep(every)
