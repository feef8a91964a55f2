"""Waiting until VMs run, are stopped, or have been powered off by their guests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.monitors import STATUSES
from vmops.core.facts.question import Unanswered
from vmops.core.facts.vms import RUNNING as WHAT_RUNS
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import VM
from vmops.core.tools import qmp
from vmops.core.tools.monitor import Heard
from vmops.errors import InventoryError, VmopsError, WorkFailed
from vmops.ops.act import ask, observe, running_of, unreadable
from vmops.ops.guest.monitors import failure, frozen, not_running, unreadable_answer
from vmops.ops.route import Route
from vmops.ops.vm.outcome import Outcome
from vmops.ops.vm.readiness import READY, check_told, wait_ready
from vmops.ops.vm.tidy import tidy
from vmops.wait import lengthening, wait_for

RUNNING, STOPPED, GUEST_OFF = "running", "stopped", "guest-off"
STATES = (RUNNING, STOPPED, GUEST_OFF, READY)


class Sight(NamedTuple):
    """A VM at one look: what is to be said of it, which of `STATES` that is, and the cure where
    that is not what is wanted.

    `final` is why its guest will never power off.
    """

    words: str
    meets: tuple[str, ...] = ()
    cure: str = ""
    final: VmopsError | None = None


def check(state: str, vms: Sequence[VM]) -> None:
    """Raise InventoryError for a state that there is not, or that these VMs never tell."""
    if state not in STATES:
        raise InventoryError(f"state {state!r}: must be one of {', '.join(STATES)}")
    if state == READY:
        check_told(vms)


def wait(
    route: Route,
    vms: Sequence[VM],
    state: str,
    *,
    time_limit_s: float,
    patience: Callable[..., bool | None] = wait_for,
) -> list[Outcome]:
    """Wait until each VM is in the state, one of `STATES`; an error for each that is not in time.

    `ready` is that cloud-init has finished in its guest (`wait_ready`), `running` that its guest
    runs, `stopped` that no QEMU of it does, `guest-off` that its guest has powered off, which that
    of a VM that crashed never will. The ports and TAPs of a VM that has powered itself off are
    removed. `patience` is `wait_for`, perhaps with another clock.
    """
    check(state, vms)
    if state == READY:
        return wait_ready(route, vms, time_limit_s=time_limit_s, patience=patience)
    seen: dict[str, Sight] = {}

    def all_there() -> bool | None:
        seen.update(_look(route, vms, state))
        return all(_is_over(sight, state) for sight in seen.values()) or None

    try:
        patience(all_there, time_limit_s, pauses=lengthening())
        notes = {} if state == RUNNING else tidy(route, vms, _observe(route, vms))
    except VmopsError as error:
        return [Outcome(vm.name, route.worker.name, "nothing", error=error) for vm in vms]
    outcomes = []
    for vm in vms:
        sight = seen[vm.name]
        late = f"{vm.name} is not {state} after {time_limit_s:g} s: {sight.words}"
        missed: VmopsError = WorkFailed(late, worker=route.worker.name, vm=vm.name, cure=sight.cure)
        if state == GUEST_OFF and sight.final is not None:
            missed = sight.final
        outcomes.append(
            Outcome(
                vm.name,
                route.worker.name,
                "nothing",
                notes=(notes[vm.name],) if vm.name in notes else (),
                error=None if state in sight.meets else missed,
            )
        )
    return outcomes


def _is_over(sight: Sight, state: str) -> bool:
    return state in sight.meets or (state == GUEST_OFF and sight.final is not None)


def _observe(route: Route, vms: Sequence[VM]) -> facts.Observed:
    return observe(route, facts.for_ending(), vms=vms, suppose=supposed.plugged)


def _look(route: Route, vms: Sequence[VM], state: str) -> Mapping[str, Sight]:
    """Every VM as it is now; the monitors are asked only where they matter."""
    names = [vm.name for vm in vms]
    answers = ask(route, WHAT_RUNS, *(() if state == STOPPED else (STATUSES,)))
    if route.transcript is not None:
        return {name: Sight("it is as it is wanted", (state,)) for name in names}
    running = running_of(route, answers, names)
    try:
        heard = {} if state == STOPPED else answers[STATUSES]
    except Unanswered as error:
        raise unreadable(route, error) from error
    return {name: _sight(route, vm, state, heard.get(name)) for name, vm in running.items()}


def _sight(route: Route, vm: RunningVM, state: str, heard: Heard | None) -> Sight:
    if vm.odd:
        return _silent(vm.doubt(route.worker.name))
    if vm.process is None:
        return _dead(route, vm)
    if vm.process.stopped:
        return _silent(frozen(vm.name, vm, route.worker.name))
    if state == STOPPED:
        return Sight(f"it is {qmp.RUNNING}", (RUNNING,))
    said = heard or Heard(vm.name, ended="no socket")
    error = failure(route, vm, said, (qmp.STATUS,))
    if error is not None:
        return _silent(error)
    try:
        status = qmp.read_status(said.answers[0])
    except ValueError as strange:
        return _silent(unreadable_answer(route, vm.name, strange))
    meets = {qmp.RUNNING: (RUNNING,), qmp.GUEST_OFF: (GUEST_OFF,)}
    return Sight(f"it is {status}", meets.get(status, ()))


def _dead(route: Route, vm: RunningVM) -> Sight:
    error = not_running(vm.name, vm.state, route.worker.name)
    if vm.state == "crashed":
        return Sight("it has crashed", (STOPPED,), error.cure, error)
    return Sight("it is stopped", (STOPPED, GUEST_OFF), error.cure)


def _silent(error: VmopsError) -> Sight:
    return Sight(error.what, cure=error.cure)
