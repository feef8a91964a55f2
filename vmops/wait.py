"""Waiting: one function with a deadline, a clock and a sleep that tests replace.

And for a worker that is silent a command waits once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from itertools import repeat
from typing import TypeVar

from vmops.errors import VmopsError

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


_commands: list[dict[Hashable, VmopsError]] = []
"""What came of workers that did not answer, for each command under way: a task may call another."""


@contextmanager
def asking_once() -> Iterator[None]:
    """Inside, nobody waits twice for a worker that does not answer.

    A command looks at a worker several times: at its networks, at its VMs, then it acts. Who is
    silent costs its time limit at the first of these, and the others end at once for the same
    reason. Who uses vmops from Python is in no command, and asks anew each time.
    """
    _commands.append({})
    try:
        yield
    finally:
        _commands.pop()


def note_silence(who: Hashable, error: VmopsError) -> None:
    """That this one did not answer."""
    if _commands:
        _commands[-1].setdefault(who, error)


def check_answers(who: Hashable) -> None:
    """Raise again what came of it when it did not answer before, in the same command."""
    known = _commands[-1].get(who) if _commands else None
    if known is not None:
        raise copy(known) from known
