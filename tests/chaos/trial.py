"""One operation, cut once."""

from __future__ import annotations

import time

from .cuts import SIGNALS, Cut, Extent
from .ground import Command, Ground, Said
from .judge import Judge, Trial, Undisturbed
from .operations import Operation
from .targets import EVERY, TARGETS
from .waiting import Hung
from .wanted import not_as_wanted


def measure(ground: Ground, operation: Operation) -> Undisturbed:
    """Run an operation undisturbed. Raises RuntimeError when it does not do what the table says."""
    before = ground.prepare(operation)
    counted = ground.status(ground.cut_at(operation))
    said = ground.fab(*operation.words, file=operation.file)
    after, unrest = ground.settled()
    moved = ground.status(ground.cut_at(operation))
    wrong = not_as_wanted(after, operation) + unrest
    if said.code != 0 or wrong:
        raise RuntimeError(f"undisturbed, {operation.name} fails: {said}; {'; '.join(wrong)}")
    extent = Extent(
        operator=moved.bytes_to_operator - counted.bytes_to_operator,
        worker=moved.bytes_to_worker - counted.bytes_to_worker,
        time=said.seconds,
    )
    return Undisturbed(extent, before, after)


def run_trial(ground: Ground, operation: Operation, cut: Cut, whole: Undisturbed) -> Trial:
    """Cut an operation and judge what is left. A violation is told in the trial, never raised."""
    trial = Trial(operation.name, str(cut))
    began = time.monotonic()
    try:
        _run(ground, operation, cut, whole, trial)
    except (Hung, RuntimeError) as error:
        trial.violations.append(str(error))
    ground.heal()
    trial.seconds = round(time.monotonic() - began, 2)
    return trial


def _run(ground: Ground, operation: Operation, cut: Cut, whole: Undisturbed, trial: Trial) -> None:
    before = ground.prepare(operation)
    said, trial.reached = _cut(ground, operation, cut)
    trial.code = said.code
    trial.command_s = round(said.seconds, 2)
    trial.said.append(str(said))
    stranded = cut.lab_fault == "strand" and trial.reached
    if not stranded:
        ground.heal()
    seen, unrest = ground.settled(sessions=not stranded)
    judge = Judge(ground, operation, trial, sessions=not stranded)
    trial.violations += unrest
    judge.command(said, cut)
    judge.state(before, seen, whole)
    judge.complete(before, whole)
    if stranded:
        judge.late(cut)
    targets = [*EVERY, *(TARGETS[0].moved() for _ in range(operation.changed))]
    trial.violations += ground.tags.wrong(targets)


def _cut(ground: Ground, operation: Operation, cut: Cut) -> tuple[Said, bool]:
    """How the command ended, and whether the cut came before that."""
    fault, at_once = cut.lab_fault, cut.gauge != "time"
    worker = ground.cut_at(operation)
    if fault and at_once:
        ground.lab.fault(worker, fault, after_bytes=int(cut.at), toward=cut.gauge)
    command = Command(ground, operation.words, file=operation.file)
    reached = True
    if not at_once:
        reached = command.runs_at(cut.at)
        if reached and fault:
            ground.lab.fault(worker, fault)
        elif reached:
            command.process.send_signal(SIGNALS[cut.kind])
    said = command.end()
    return said, ground.status(worker).fault == fault if fault and at_once else reached
