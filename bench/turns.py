"""Measuring: every way once in each round, in turns, so that all of them see the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.place import Place, Traffic
from bench.processes import Work
from bench.ways.way import Way
from vmops.remote.counters import counted

PATIENT_ROUNDS = 2
"""How many rounds a way takes part in that is known to be slow."""


@dataclass(frozen=True, slots=True)
class Run:
    """One start and stop: seconds, and what went between operator and workers.

    `exchanges` are those of this very process, so 0 for every way that is not the library.
    """

    start_s: float
    stop_s: float
    traffic: Traffic
    exchanges: int

    @property
    def seconds(self) -> float:
        """Start and stop together."""
        return self.start_s + self.stop_s


@dataclass(slots=True)
class Measured:
    """The runs of one way by round, and the peak memory of its largest process, 0 if unknown."""

    way: Way
    peak_kib: int = 0
    runs: dict[int, Run] = field(default_factory=dict)

    def seconds(self) -> dict[int, float]:
        """Start and stop together, by round."""
        return {number: run.seconds for number, run in self.runs.items()}


@dataclass(frozen=True, slots=True)
class Checks:
    """What is looked at outside the measured time, in the warm-up: is the work really done?"""

    up: Callable[[], None]
    down: Callable[[], None]


def warm_up(way: Way, checks: Checks) -> int:
    """Start and stop once, and look at what is there after each. Raises BenchFailed.

    No time is taken; what is given is the peak memory of the largest process, in KiB.
    """
    way.opened()
    try:
        start_kib = way.start.weigh()
        checks.up()
        stop_kib = way.stop.weigh()
        checks.down()
        return max(start_kib, stop_kib)
    finally:
        way.closed()


def measure(
    place: Place, measured: Sequence[Measured], rounds: int, *, say: Callable[[str], None]
) -> None:
    """Run the ways in turns, and add to what was measured. A way that is missing gets no runs."""
    for number in range(rounds):
        for each in measured:
            if each.way.missing or (each.way.patient and number >= PATIENT_ROUNDS):
                continue
            say(f"round {number + 1} of {rounds}: {each.way.title}")
            each.runs[number] = run(place, each.way)


def run(place: Place, way: Way) -> Run:
    """Start and stop once. What is open outside the measured time is not counted either."""
    way.opened()
    try:
        traffic, counters = place.traffic(), counted()
        start_s, stop_s = _timed(way.start), _timed(way.stop)
        exchanges = (counted() - counters).exchanges
        return Run(start_s, stop_s, place.traffic() - traffic, exchanges)
    finally:
        way.closed()


def _timed(work: Work) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun
