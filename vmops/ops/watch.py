"""Whether VMs that are asked about were moved: told by the marks in a worker's first answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from vmops.core.devices.storage import shared
from vmops.core.devices.storage.moving import Mark
from vmops.core.facts.images import MOVES
from vmops.core.facts.observed import Observed
from vmops.core.facts.question import Answers, Question, Unanswered
from vmops.core.plan.moving import marks
from vmops.errors import VmopsError, WorkFailed


class GoneError(Exception):
    """VMs that were asked about are elsewhere, by these marks. Nothing was done for any VM."""

    def __init__(self, found: Mapping[str, Mark]) -> None:
        super().__init__(", ".join(found))
        self.marks = found


class Gone(WorkFailed):
    """The error of a VM that is elsewhere, by this mark, where others were worked on at once."""

    def __init__(self, worker: str, vm: str, mark: Mark, *, away: bool | None = None) -> None:
        what, cure = marks.said(vm, worker, mark, away=away)
        super().__init__(what, worker=worker, vm=vm, cure=cure)
        self.mark = mark


class Watch:
    """Looks for marks of these VMs in the first answer of a worker, and in no later one."""

    def __init__(self, worker: str, vms: Iterable[str]) -> None:
        self._worker = worker
        self._vms = frozenset(vms)

    def beside(self, questions: Sequence[Question[Any]]) -> tuple[Question[Any], ...]:
        """These questions, and before the first answer the one for marks."""
        is_asked = not self._vms or MOVES in questions
        return (*questions,) if is_asked else (*questions, MOVES)

    def take(self, answers: Answers) -> dict[str, Mark]:
        """The marks by which VMs are elsewhere. None where they cannot be read: what must not be
        done without them asks for them itself, and is refused."""
        found: Mapping[str, Mark] = {}
        with suppress(Unanswered):
            found = shared.as_seen(self._worker, answers[MOVES]) if self._vms else {}
        return self._taken(found)

    def _taken(self, found: Mapping[str, Mark]) -> dict[str, Mark]:
        vms, self._vms = self._vms, frozenset()
        return {vm: one for vm, one in found.items() if vm in vms and marks.leads_on(one)}

    def errors(self, answers: Answers) -> dict[str, VmopsError]:
        """The same as the errors of these VMs."""
        return {vm: Gone(self._worker, vm, one) for vm, one in self.take(answers).items()}

    def check(self, answers: Answers) -> None:
        """Raise GoneError for VMs that are elsewhere."""
        _raise(self.take(answers))

    def check_seen(self, seen: Observed) -> None:
        """The same for what was observed already."""
        _raise(self._taken(seen.moves))


def _raise(gone: Mapping[str, Mark]) -> None:
    if gone:
        raise GoneError(gone)
