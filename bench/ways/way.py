"""What a way is, so that all of them can be measured alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.processes import Processes, Work


def nothing() -> None:
    """For a way that has nothing to open or to close."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to start all VMs of a job, and to stop them.

    `missing` says why it cannot be tried here. `opened` and `closed` are outside the measured time:
    for a way that keeps a connection. `patient` ways are so slow that two rounds are enough.
    """

    key: str
    title: str
    start: Work
    stop: Work
    missing: str = ""
    patient: bool = False
    opened: Callable[[], None] = nothing
    closed: Callable[[], None] = nothing


def unavailable(key: str, title: str, why: str) -> Way:
    """A way that is shown in the table, with the reason why it was left out."""
    return Way(key, title, Processes(()), Processes(()), missing=why)
