"""Waiting: one function with a deadline, a clock and a sleep that tests replace."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import TypeVar

Answer = TypeVar("Answer")


def wait_for(
    ready: Callable[[], Answer | None],
    time_limit: float,
    *,
    pauses: Iterable[float] = repeat(0.1),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer | None:
    """Ask `ready` until its answer is not None, and give that answer; None when time is up.

    `time_limit` and `pauses` are in seconds. `ready` is asked at least once, and once more when the
    time is up; when `pauses` ends there is no further try. An exception of `ready` goes through.
    """
    deadline = clock() + time_limit
    pause = iter(pauses)
    while True:
        answer = ready()
        left = deadline - clock()
        wanted = next(pause, None)
        if answer is not None or left <= 0 or wanted is None:
            return answer
        sleep(min(wanted, left))


def growing_pauses(
    tries: int,
    *,
    first: float = 0.1,
    longest: float = 2.0,
    chance: Callable[[], float] = random.random,
) -> Iterator[float]:
    """Seconds between `tries` tries: doubled each time, and spread so that threads do not march.

    Each pause lies between a half and the whole of its turn's length.
    """
    for turn in range(tries - 1):
        yield min(longest, first * 2**turn) * (0.5 + chance() / 2)


def lengthening(first_s: float = 0.1, longest_s: float = 1.0) -> Iterator[float]:
    """Between looks at what may happen soon or late: each twice as long as the one before."""
    pause = first_s
    while True:
        yield pause
        pause = min(2 * pause, longest_s)
