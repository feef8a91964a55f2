"""What came of a VM: read from what its plan's steps did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from vmops.core.devices import power
from vmops.core.devices.live import balloon, disks
from vmops.core.devices.live import nics as live
from vmops.core.devices.nic import PLUG_ALL, Skip
from vmops.core.devices.power import Asked
from vmops.core.plan import life
from vmops.core.script.command import BlockResult, StepResult
from vmops.core.tools import monitor
from vmops.core.tools.monitor import Heard
from vmops.errors import ConnectionLost, Evidence, LaunchFailed, StopTimeout, VmopsError, WorkFailed
from vmops.ops.act import Done

_TIMED_OUT = (124, 125)
"""How `timeout` ends what took too long, GNU's and that of rust-coreutils."""

_TAIL_CHARACTERS = 2000


class Outcome(NamedTuple):
    """What came of one VM. With an `error` the VM is as it was, unless the error says otherwise.

    `action` is what was done: start, replug, change, grow, stop, restart, or nothing where all was
    as asked. `how` names what ended a VM: guest, quit, SIGTERM or SIGKILL; `asked` is how often its
    guest was asked to power off. `pid` is 0 where none is known. `standing` is the state of one
    that was running already, and whose guest stands still.
    """

    vm: str
    worker: str
    action: str
    pid: int = 0
    skipped: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = ()
    how: str = ""
    asked: int = 0
    error: VmopsError | None = None
    standing: str = ""

    @property
    def changed(self) -> bool:
        """True when something was done."""
        return self.action != "nothing"


def started(done: Done) -> Outcome:
    """What came of a plan to launch, plug or boot."""
    outcome = begun(done)
    if done.error or done.plan is None:
        return outcome
    process = done.seen.vm(done.vm.name).process if done.seen else None
    outcome = outcome._replace(pid=process.pid if process else 0)
    if done.result is None:
        return outcome
    if process is not None:
        return outcome._replace(error=_replug_failed(done, done.result))
    return _with_start(done, outcome, done.result)


def _replug_failed(done: Done, result: BlockResult) -> WorkFailed | None:
    """The error where an interface of a running VM could not be plugged as asked; else None."""
    failed = _failed_nics(result)
    if result.failure is not None:
        return _launch_failed(done, result.failure, result)
    if not failed:
        return None
    what = "; ".join(f"{skip.interface} could not be {_word(result, skip)}" for skip in failed)
    asked = [entry for entry in _failed(result) if entry.step.label.startswith(tuple(_WHY))]
    if len(asked) == len(failed):
        cure = f"to ask again: fab launch --vm {done.vm.name}; or fab restart --vm {done.vm.name}"
        name, worker = done.vm.name, done.worker.name
        return WorkFailed(f"{name} runs, but {what}", worker=worker, vm=name, cure=cure)
    otherwise = "it is as it was; look at the switch: fab doctor"
    return WorkFailed(
        f"{done.vm.name} runs, but {what}",
        worker=done.worker.name,
        vm=done.vm.name,
        cure=undone(result, otherwise),
    )


def _with_start(done: Done, outcome: Outcome, result: BlockResult) -> Outcome:
    skipped = (*outcome.skipped, *_failed_nics(result))
    outcome = outcome._replace(skipped=skipped)
    if result.failure is not None:
        return outcome._replace(error=_launch_failed(done, result.failure, result))
    pid = result.find(life.PID)
    return outcome._replace(pid=int(pid.stdout.split()[0])) if pid else outcome


def plugged(done: Done) -> Outcome:
    """The same for a plug: it failed where no interface is plugged."""
    outcome = started(done)
    if outcome.error or not outcome.skipped or len(outcome.skipped) < len(done.vm.connected):
        return outcome
    error = WorkFailed(
        "no interface is plugged",
        worker=done.worker.name,
        vm=done.vm.name,
        cure=f"mend that, then: fab plug --vm {done.vm.name}",
    )
    return outcome._replace(error=error)


def stopped(done: Done) -> Outcome:
    """What came of a plan to stop, unplug or tidy."""
    outcome = begun(done)
    if isinstance(done.error, ConnectionLost) and done.plan and done.plan.asking:
        return outcome._replace(error=_left_alone(done, done.error))
    if done.error or done.plan is None or not done.results:
        return outcome
    return _with_stop(done, outcome, done.results[0])


def restarted(done: Done, *, runs: bool = False) -> Outcome:
    """What came of a plan to restart: of its stop, then of its start.

    Where something was changed before the start, which then is not made, the action is stop; an
    error, unless the VM `runs` by now, by somebody else's launch.
    """
    if done.plan is None or done.plan.action != "restart" or not done.results:
        return started(done)
    outcome = _with_stop(done, begun(done), done.results[0])
    if outcome.error or len(done.results) < 2:
        return outcome
    if done.results[1].outcome == "changed":
        return outcome._replace(action="stop", error=None if runs else _changed_between(done))
    outcome = _with_start(done, outcome, done.results[1])
    return outcome._replace(error=_with_way_back(done, outcome.error))


def _changed_between(done: Done) -> WorkFailed:
    name = done.vm.name
    return WorkFailed(
        f"{name} was stopped, and changed by somebody else before it was to start again",
        worker=done.worker.name,
        vm=name,
        cure=f"fab status --vm {name}; then fab launch --vm {name}",
    )


def begun(done: Done) -> Outcome:
    """What a plan was to do, before its results are read."""
    plan = done.plan
    return Outcome(
        vm=done.vm.name,
        worker=done.worker.name,
        action=plan.action if plan else "nothing",
        skipped=plan.skips if plan else (),
        notes=plan.notes if plan else (),
        error=done.error,
        standing=next((d.running for d in plan.drift if d.is_state), "") if plan else "",
    )


def _failed_nics(result: BlockResult) -> list[Skip]:
    return [Skip(name, reason_of(entry)) for entry in _failed(result) for name in entry.step.about]


def _failed(result: BlockResult) -> list[StepResult]:
    return [
        entry
        for entry in result.steps
        if not entry.ok and entry.step.may_fail and entry.step.label != PLUG_ALL
    ]


def _word(result: BlockResult, skip: Skip) -> str:
    labels = (e.step.label for e in _failed(result) if skip.interface in e.step.about)
    label = next(labels, "")
    word = next((word for begin, word in _WORDS.items() if label.startswith(begin)), "plugged")
    return f"{word}: {skip.reason}"


_WORDS = {
    f"{live.REMOVE} ": "removed",
    f"{live.ADD} disk ": "added",
    disks.CHANGE_CD: "changed",
    balloon.CHANGE: "changed",
}
"""What could not be done, by how the label of the step begins."""

_WHY: Mapping[str, Callable[[Heard], str]] = {
    f"{live.REMOVE} ": live.why_kept,
    disks.CHANGE_CD: disks.why_unchanged,
    balloon.CHANGE: balloon.why_unchanged,
}
"""What a talk says of it, where that is more than its monitor does."""


def reason_of(entry: StepResult, *, usual: Callable[[Heard], str] = monitor.why) -> str:
    """The last words of the failing command; a monitor's as `usual` reads them, where it was a
    talk."""
    try:
        (heard,) = monitor.read_talk(entry.stdout).values()
    except ValueError:
        return entry.reason()
    label = entry.step.label
    why = next((read for begin, read in _WHY.items() if label.startswith(begin)), usual)
    return why(heard) or entry.reason()


def _launch_failed(done: Done, failure: StepResult, result: BlockResult) -> LaunchFailed:
    said = [undo for undo in result.undone if undo.step is failure.step and undo.stdout]
    told = said[0] if said else failure
    what = f"{failure.step.label} failed: {reason_of(told)}"
    if failure.step.label == life.QEMU and failure.exit_code in _TIMED_OUT:
        what = "QEMU did not start in time and was ended"
    cure = undone(result, "what had been done was undone")
    tail = (told.stderr.strip() or told.stdout).decode(errors="replace")[-_TAIL_CHARACTERS:]
    words = failure.step.commands[0].words() if failure.step.commands else ()
    return LaunchFailed(
        what,
        worker=done.worker.name,
        vm=done.vm.name,
        cure=cure,
        evidence=Evidence(words, failure.exit_code, tail),
    )


def undone(result: BlockResult, otherwise: str) -> str:
    """What could not be undone; `otherwise` where all could."""
    left = "; ".join(f"{undo.step.label}: {undo.reason()}" for undo in result.not_undone)
    return f"could not be undone: {left}" if left else otherwise


def _with_way_back(done: Done, error: VmopsError | None) -> VmopsError | None:
    """The failure of a new start, with what became of the VM that had run."""
    if not isinstance(error, LaunchFailed):
        return error
    back = done.recovered
    if back is not None and back.outcome == "done":
        cure = f"{error.cure}; it was started again as it had run"
    else:
        cure = f"{error.cure}; it could not be started again as it had run, and is stopped"
    return LaunchFailed(
        error.what, worker=error.worker, vm=error.vm, cure=cure, evidence=error.evidence
    )


def _with_stop(done: Done, outcome: Outcome, result: BlockResult) -> Outcome:
    asked = _asked(done, result)
    if asked is not None:
        note = f"{done.vm.name}: {asked.note}"
        notes = (*outcome.notes, note) if asked.note else outcome.notes
        outcome = outcome._replace(how=asked.how, asked=asked.presses, notes=notes)
    ways = (life.EXIT, life.TERM, life.KILL)
    said = {entry.step.label: entry.stdout.decode().split() for entry in result.steps}
    sent = [way for way in ways if way in said.get(way, ())]
    outcome = outcome._replace(how=sent[-1] if sent else outcome.how)
    expected = (power.ASK, *ways)
    failed = [entry for entry in result.steps if not entry.ok]
    failed = [e for e in failed if not (e.step.label in expected and e.step.may_fail)]
    return outcome._replace(error=_stop_failed(done, failed[0])) if failed else outcome


def _left_alone(done: Done, error: ConnectionLost) -> ConnectionLost:
    """The worker's script needs nobody to read its answer."""
    return ConnectionLost(
        f"{error.what}; the worker goes on with the stop by itself",
        worker=done.worker.name,
        vm=done.vm.name,
        cure=f"fab status --vm {done.vm.name}",
    )


def _asked(done: Done, result: BlockResult) -> Asked | None:
    asking = done.plan.asking if done.plan else None
    found = result.find(power.ASK)
    if asking is None or found is None or not found.stdout:
        return None
    try:
        heard = monitor.read_talk(found.stdout)[done.vm.name]
    except (ValueError, KeyError):
        return Asked(note=f"how it was asked is not known: {found.reason()}")
    return asking.read(heard)


def _stop_failed(done: Done, first: StepResult) -> VmopsError:
    name, worker = done.vm.name, done.worker.name
    if first.step.label in (life.TERM, life.KILL, life.EXIT):
        return StopTimeout(
            f"{name} does not end: {first.reason()}",
            worker=worker,
            vm=name,
            cure=f"look at it, then: fab stop --vm {name} --force",
        )
    what = f"{first.step.label} failed: {first.reason()}"
    return WorkFailed(what, worker=worker, vm=name, cure="fab doctor status")


def without_absent(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """What came of each VM where one that is pinned to no worker was looked for on all.

    That nothing was there to be done is left out, except on the first worker where it is so on all.
    """
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.vm, []).append(outcome)
    kept = [[o for o in same if o.changed or o.error] or same[:1] for same in found.values()]
    return [outcome for same in kept for outcome in same]
