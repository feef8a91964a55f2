"""Waiting until VMs run, are stopped, or have been powered off by their guests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vmops.core.facts.observed import RunningVM, ask_running, read_running
from vmops.core.inventory.model import VM
from vmops.core.tools import qmp
from vmops.errors import UnexpectedOutput, VmopsError, WorkFailed
from vmops.ops.act import OBSERVE_LIMIT_S, observe, perform
from vmops.ops.guest.monitors import frozen, not_running, statuses
from vmops.ops.route import Route
from vmops.ops.vm.lifecycle import Outcome
from vmops.ops.vm.tidy import tidy
from vmops.wait import wait_for

RUNNING, STOPPED, GUEST_OFF = "running", "stopped", "guest-off"
STATES = (RUNNING, STOPPED, GUEST_OFF)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0
_MONITOR_LIMIT_S = 2.0


class Sight(NamedTuple):
    """A VM at one look: what is to be said of it, which of `STATES` that is, and the cure where
    that is not what is wanted.

    `final` is why its guest will never power off.
    """

    words: str
    meets: tuple[str, ...] = ()
    cure: str = ""
    final: VmopsError | None = None


def wait(
    route: Route,
    vms: Sequence[VM],
    state: str,
    *,
    time_limit_s: float,
    patience: Callable[..., bool | None] = wait_for,
) -> list[Outcome]:
    """Wait until each VM is in the state, one of `STATES`; an error for each that is not in time.

    `running` is that its guest runs, `stopped` that no QEMU of it does, `guest-off` that its guest
    has powered off, which that of a VM that crashed never will. The ports and TAPs of a VM that
    has powered itself off are removed. `patience` is `wait_for`, perhaps with another clock.
    """
    seen: dict[str, Sight] = {}

    def all_there() -> bool | None:
        seen.update(_look(route, vms, state))
        return all(_is_over(sight, state) for sight in seen.values()) or None

    try:
        patience(all_there, time_limit_s, pauses=_pauses())
        notes = tidy(route, vms, observe(route, vms)) if state != RUNNING else {}
    except VmopsError as error:
        return [Outcome(vm.name, route.worker.name, "nothing", error=error) for vm in vms]
    outcomes = []
    for vm in vms:
        sight = seen[vm.name]
        late = f"{vm.name} is not {state} after {time_limit_s:g} s: {sight.words}"
        missed: VmopsError = WorkFailed(late, worker=route.worker.name, cure=sight.cure)
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


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _look(route: Route, vms: Sequence[VM], state: str) -> Mapping[str, Sight]:
    """Every VM as it is now; the monitors are asked only where they matter."""
    (result,) = perform(route, [ask_running()], time_limit_s=OBSERVE_LIMIT_S)
    try:
        found = read_running(result)
    except ValueError as unreadable:
        raise UnexpectedOutput(str(unreadable), worker=route.worker.name) from unreadable
    running = {vm.name: found.get(vm.name, RunningVM(vm.name)) for vm in vms}
    alive = [name for name, vm in running.items() if vm.process is not None]
    stuck: dict[str, str | VmopsError] = {
        name: frozen(name, vm, route.worker.name)
        for name, vm in running.items()
        if vm.process is not None and vm.process.stopped
    }
    asked = [] if state == STOPPED else [name for name in alive if name not in stuck]
    words = stuck | statuses(route, asked, time_limit_s=_MONITOR_LIMIT_S)
    return {
        name: _alive(name, words.get(name, qmp.RUNNING))
        if name in alive
        else _dead(route, name, vm.state)
        for name, vm in running.items()
    }


def _dead(route: Route, name: str, state: str) -> Sight:
    error = not_running(name, state, route.worker.name)
    if state == "crashed":
        return Sight("it has crashed", (STOPPED,), error.cure, error)
    return Sight("it is stopped", (STOPPED, GUEST_OFF), error.cure)


def _alive(name: str, status: str | VmopsError) -> Sight:
    if isinstance(status, VmopsError):
        return Sight(status.what.removeprefix(f"{name}: "), cure=status.cure)
    meets = {qmp.RUNNING: (RUNNING,), qmp.GUEST_OFF: (GUEST_OFF,)}
    return Sight(f"it is {status}", meets.get(status, ()))
