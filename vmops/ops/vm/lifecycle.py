"""A VM's life on one worker: plug, boot, launch, stop, unplug. One result for each VM, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan import group as together
from vmops.core.plan import steps
from vmops.core.plan import vm as plans
from vmops.core.plan.group import Terms
from vmops.core.plan.steps import Skip
from vmops.core.plan.vm import Plan
from vmops.core.script.command import BlockResult, StepResult
from vmops.errors import ConnectionLost, LaunchFailed, StopTimeout, VmopsError, WorkFailed
from vmops.ops.act import Done, carry_out, carry_out_all, one_by_one
from vmops.ops.route import Route
from vmops.ops.vm.shutdown import Asked, shut_down

USUAL_TERMS = Terms()


class Outcome(NamedTuple):
    """What came of one VM. With an `error` the VM is as it was, unless the error says otherwise.

    `action` is what was done: start, replug, stop, or nothing where all was as asked. `how` names
    what ended a VM: guest, quit, SIGTERM or SIGKILL; `asked` is how often its guest was asked to
    power off. `pid` is 0 where none is known.
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

    @property
    def changed(self) -> bool:
        """True when something was done."""
        return self.action != "nothing"


def launch(
    route: Route,
    vms: Sequence[VM],
    *,
    terms: Terms = USUAL_TERMS,
    decide: Callable[..., Plan] = plans.launch,
) -> list[Outcome]:
    """Plug and boot each VM; one that runs as asked is left alone.

    None of them starts where there is no room for all. An interface that fails is skipped and
    reported, or with `terms.strict` the launch is refused and undone. A VM that runs, but not as
    asked, is replugged where that is enough; otherwise it fails, or with `terms.restart` nothing is
    done to it and its action is restart. `decide` stands in for `plan.launch`.
    """
    return _start(route, vms, terms, decide)


def plug(route: Route, vms: Sequence[VM], *, strict: bool = False) -> list[Outcome]:
    """Make each VM's TAPs and ports as asked; what is plugged already is left alone.

    An interface that fails is skipped and reported; where all do, that is the VM's error.
    """
    worker = route.worker
    done = carry_out(route, vms, lambda vm, seen: plans.plug(worker, vm, seen, strict=strict))
    return [_plugged(item) for item in done]


def boot(route: Route, vms: Sequence[VM], *, terms: Terms = USUAL_TERMS) -> list[Outcome]:
    """QEMU only, with the interfaces that are plugged; otherwise as `launch`."""
    return _start(route, vms, terms, plans.boot)


def _start(
    route: Route, vms: Sequence[VM], terms: Terms, kind: Callable[..., Plan]
) -> list[Outcome]:
    seen: dict[str, Observed] = {}

    def decide(waiting: Sequence[VM], observed: Observed) -> list[Plan | WorkFailed]:
        seen.update((vm.name, observed) for vm in waiting)
        decided = together.plans(route.worker, waiting, observed, terms=terms, kind=kind)
        return decided if terms.restart else [_refuse_restart(route, plan) for plan in decided]

    return [_started(done, seen) for done in carry_out_all(route, vms, decide)]


def stop(
    route: Route, vms: Sequence[VM], *, force: bool = False, timeout_s: int = 30
) -> list[Outcome]:
    """End each VM and remove its ports and TAPs; a VM that is not there is no error.

    Its guest is asked to power off, for up to `timeout_s` seconds, then QEMU is ended harder and
    harder. `force` kills at once.
    """
    asked: dict[str, Asked] = {}

    def decide(waiting: Sequence[VM], seen: Observed) -> Sequence[Plan | WorkFailed]:
        answers = {} if force else shut_down(route, waiting, seen, timeout_s=timeout_s)
        asked.update((name, a) for name, a in answers.items() if isinstance(a, Asked))
        stop_one = one_by_one(lambda vm, seen: _stop_after(vm, seen, answers.get(vm.name)))
        return stop_one(waiting, seen)

    done = {item.vm.name: item for item in carry_out_all(route, vms, decide, ending=True)}
    return [_stopped(done[vm.name], asked.get(vm.name)) for vm in vms]


def unplug(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Remove each VM's ports and TAPs; refused for a VM that runs."""
    return [_stopped(item) for item in carry_out(route, vms, plans.unplug, ending=True)]


def _stop_after(vm: VM, seen: Observed, asked: Asked | ConnectionLost | None) -> Plan:
    if isinstance(asked, ConnectionLost):
        raise asked
    return plans.stop(vm, seen, by=asked.by if asked else (steps.KILL,))


def _refuse_restart(route: Route, plan: Plan | WorkFailed) -> Plan | WorkFailed:
    if isinstance(plan, WorkFailed) or plan.action != "restart":
        return plan
    name = plan.vm.name
    return LaunchFailed(
        f"{name} runs, but not as the inventory says: {'; '.join(map(str, plan.drift))}",
        worker=route.worker.name,
        cure=f"to restart it: fab restart --vm {name}",
    )


def _started(done: Done, seen: dict[str, Observed]) -> Outcome:
    outcome = _begun(done)
    if done.error or done.plan is None:
        return outcome
    process = seen[done.vm.name].vm(done.vm.name).process if done.vm.name in seen else None
    outcome = outcome._replace(pid=process.pid if process else 0)
    if done.result is None:
        return outcome
    skipped = (*done.plan.skips, *_failed_nics(done.result))
    outcome = outcome._replace(skipped=skipped)
    failure = done.result.failure
    if failure is not None:
        return outcome._replace(error=_launch_failed(done, failure, done.result))
    pid = done.result.find(steps.PID)
    return outcome._replace(pid=int(pid.stdout.split()[0])) if pid else outcome


def _plugged(done: Done) -> Outcome:
    outcome = _started(done, {})
    if outcome.error or not outcome.skipped or len(outcome.skipped) < len(done.vm.connected):
        return outcome
    name = done.vm.name
    what, cure = f"{name}: no interface is plugged", f"mend that, then: fab plug --vm {name}"
    return outcome._replace(error=WorkFailed(what, worker=done.worker.name, cure=cure))


def _begun(done: Done) -> Outcome:
    plan = done.plan
    return Outcome(
        vm=done.vm.name,
        worker=done.worker.name,
        action=plan.action if plan else "nothing",
        skipped=plan.skips if plan else (),
        notes=plan.notes if plan else (),
        error=done.error,
    )


def _failed_nics(result: BlockResult) -> list[Skip]:
    return [
        Skip(entry.step.label.removeprefix(f"{steps.PLUG} "), entry.reason())
        for entry in result.steps
        if not entry.ok and entry.step.may_fail and entry.step.label != steps.PLUG_ALL
    ]


def _launch_failed(done: Done, failure: StepResult, result: BlockResult) -> LaunchFailed:
    said = [undo for undo in result.undone if undo.step is failure.step and undo.stdout]
    reason = (said[0] if said else failure).reason()
    what = f"{done.vm.name}: {failure.step.label} failed: {reason}"
    if failure.step.label == steps.QEMU and failure.exit_code == 124:
        what = f"{done.vm.name}: QEMU did not start in time and was ended"
    left = "; ".join(f"{undo.step.label}: {undo.reason()}" for undo in result.not_undone)
    cure = f"could not be undone: {left}" if left else "what had been done was undone"
    return LaunchFailed(what, worker=done.worker.name, cure=cure)


def _stopped(done: Done, asked: Asked | None = None) -> Outcome:
    outcome = _begun(done)
    if asked is not None:
        notes = (*outcome.notes, asked.note) if asked.note else outcome.notes
        outcome = outcome._replace(how=asked.how, asked=asked.presses, notes=notes)
    if done.error or done.result is None:
        return outcome
    ways = (steps.EXIT, steps.TERM, steps.KILL)
    said = {entry.step.label: entry.stdout.decode().split() for entry in done.result.steps}
    sent = [way for way in ways if way in said.get(way, ())]
    outcome = outcome._replace(how=sent[-1] if sent else outcome.how)
    failed = [entry for entry in done.result.steps if not entry.ok]
    failed = [entry for entry in failed if not (entry.step.label in ways and entry.step.may_fail)]
    if not failed:
        return outcome
    first = failed[0]
    if first.step.label in ways:
        what = f"{done.vm.name} does not end: {first.reason()}"
        cure = f"look at it, then: fab stop --vm {done.vm.name} --force"
        return outcome._replace(error=StopTimeout(what, worker=done.worker.name, cure=cure))
    what = f"{done.vm.name}: {first.step.label} failed: {first.reason()}"
    error = WorkFailed(what, worker=done.worker.name, cure="fab doctor status")
    return outcome._replace(error=error)
