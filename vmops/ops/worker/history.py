"""The history of a worker: who has changed what there."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from vmops.core.facts.history import HISTORY, Entry
from vmops.core.facts.question import Unanswered
from vmops.errors import VmopsError
from vmops.ops.act import ask, unreadable
from vmops.ops.route import Route


class Told(NamedTuple):
    """One change on a worker; without one, why its history could not be read."""

    worker: str
    entry: Entry | None = None
    error: VmopsError | None = None


def history(route: Route, *, vms: Sequence[str] = (), lines: int = 20) -> list[Told]:
    """The last changes there, the oldest of them first; with `vms` only of those, names or globs.

    Never raises a VmopsError.
    """
    worker = route.worker.name
    try:
        answers = ask(route, HISTORY)
        found = () if route.transcript is not None else answers[HISTORY]
    except Unanswered as error:
        return [Told(worker, error=unreadable(route, error))]
    except VmopsError as error:
        return [Told(worker, error=error)]
    wanted = [entry for entry in found if _is_meant(entry.vm, vms)]
    return [Told(worker, entry) for entry in wanted[len(wanted) - min(lines, len(wanted)) :]]


def _is_meant(vm: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(vm, pattern) for pattern in patterns)
