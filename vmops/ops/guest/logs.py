"""Reading and following what VMs printed: all VMs of a worker in one exchange.

Nothing runs on the worker between two readings, so nothing can be left behind there; and each
reading trims the logs, so that one who follows a talkative guest does not see it fall silent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import NamedTuple

from vmops.core.facts import logs
from vmops.core.facts.logs import Marks, Parts, Reader
from vmops.core.facts.vms import RUNNING, RunningVM
from vmops.errors import NotRunning, VmopsError
from vmops.ops.act import ask, running_of
from vmops.ops.route import Route
from vmops.ops.vm import endings
from vmops.wait import wait_for

_PAUSES = (0.1, 0.2)
_LONGEST_PAUSE_S = 0.4
"""Between two readings of logs that do not grow."""


class Reading(NamedTuple):
    """What was read of a VM's logs, or the `error` for which nothing could be.

    `ended` is empty while the VM runs, else says how it ended; the logs are complete then.
    """

    vm: str
    running: RunningVM
    parts: Parts = Parts()
    ended: str = ""
    error: VmopsError | None = None


def read(route: Route, vms: Sequence[str], *, lines: int) -> list[Reading]:
    """The last `lines` of each VM's logs, in order. Never raises a VmopsError."""
    try:
        return _read(route, dict.fromkeys(vms, Marks()), str(lines))
    except VmopsError as error:
        return [Reading(vm, RunningVM(vm), error=error) for vm in vms]


def follow(route: Route, vms: Sequence[str], *, lines: int) -> Iterator[list[Reading]]:
    """The last `lines`, then what is new, as it comes, until every VM has ended or failed.

    Never raises a VmopsError.
    """
    found = read(route, vms, lines=lines)
    yield found
    before = _going_on(found)
    while before:
        try:
            watch = _Watch(route, before)
            pauses = chain(_PAUSES, repeat(_LONGEST_PAUSE_S))
            news = wait_for(watch.news, math.inf, pauses=pauses) or []
        except VmopsError as error:
            yield [Reading(vm, RunningVM(vm), error=error) for vm in before]
            return
        yield news
        before = _going_on(watch.after)


def _going_on(readings: Sequence[Reading]) -> dict[str, Reading]:
    return {each.vm: each for each in readings if not (each.ended or each.error)}


class _Watch:
    """Looks for what is new since earlier readings, one of each VM."""

    def __init__(self, route: Route, before: Mapping[str, Reading]) -> None:
        self.after: list[Reading] = []
        self._route = route
        self._before = before
        self._has_rested = False

    def news(self) -> list[Reading] | None:
        """The readings with something new, or None. Asked first it looks at nothing: what is
        printed is gathered for a moment."""
        if not self._has_rested:
            self._has_rested = True
            return None
        marks = {vm: reading.parts.marks for vm, reading in self._before.items()}
        self.after = [self._own(each) for each in _read(self._route, marks, logs.ALL_LINES)]
        return [each for each in self.after if each.ended or not each.parts.are_empty] or None

    def _own(self, now: Reading) -> Reading:
        """A QEMU that was started since is not the one whose logs are followed. One that has
        ended may have been cleared away already, which is no error."""
        was = self._before[now.vm].running.process
        if was is None or not endings.has_ended(now.running, was):
            return now
        running = endings.settled(self._route, now.vm)
        parts = Parts() if now.running.process is not None else now.parts
        return now._replace(parts=parts, ended=endings.in_words(running), error=None)


def _read(route: Route, marks: Mapping[str, Marks], lines: str) -> list[Reading]:
    readers = [Reader(vm, mark, lines) for vm, mark in marks.items()]
    parts = [question for reader in readers for question in reader.questions]
    answers = ask(route, RUNNING, logs.SIZES, *parts)
    running = running_of(route, answers, list(marks))
    if route.transcript is not None:
        return [Reading(vm, running[vm], ended="is as it is") for vm in marks]
    return [_reading(route, running[reader.vm], reader.read(answers)) for reader in readers]


def _reading(route: Route, running: RunningVM, parts: Parts) -> Reading:
    ended = "" if running.process is not None else endings.in_words(running)
    if parts.are_there:
        return Reading(running.name, running, parts, ended)
    how = ended or "is running"
    if not running.directory:
        how = "is stopped, or was never launched"
    what = f"{running.name} {how}, and no log of it is there"
    cure = f"fab launch --vm {running.name}" if ended else ""
    missing = NotRunning(what, worker=route.worker.name, vm=running.name, cure=cure)
    return Reading(running.name, running, parts, ended, missing)
