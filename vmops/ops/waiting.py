"""Waiting until VMs run, are stopped, or have been powered off by their guests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vmops.core import qmp
from vmops.core.model import VM
from vmops.core.observed import RunningVM, ask_running, read_running
from vmops.errors import UnexpectedOutput, VmopsError, WorkFailed
from vmops.ops.act import OBSERVE_LIMIT_S, observe, perform
from vmops.ops.lifecycle import Outcome
from vmops.ops.monitors import not_running, statuses
from vmops.ops.route import Route
from vmops.ops.tidy import tidy
from vmops.wait import wait_for

RUNNING, STOPPED, GUEST_OFF = "running", "stopped", "guest-off"
STATES = (RUNNING, STOPPED, GUEST_OFF)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0
_MONITOR_LIMIT_S = 2.0


class Sight(NamedTuple):
    """A VM at one look: the word for what it is, and which of `STATES` that is.

    `final` is why it will be in no other state by itself.
    """

    word: str
    meets: tuple[str, ...] = ()
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
        late = f"{vm.name} is not {state} after {time_limit_s:g} s: it is {sight.word}"
        missed = sight.final or WorkFailed(late, worker=route.worker.name)
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
    asked = [] if state == STOPPED else alive
    words = statuses(route, asked, time_limit_s=_MONITOR_LIMIT_S)
    return {
        name: _alive(words.get(name, qmp.RUNNING)) if name in alive else _dead(route, name, vm)
        for name, vm in running.items()
    }


def _dead(route: Route, name: str, running: RunningVM) -> Sight:
    if running.state == "crashed":
        return Sight("crashed", (STOPPED,), not_running(name, running, route.worker.name))
    return Sight("stopped", (STOPPED, GUEST_OFF))


def _alive(status: str | VmopsError) -> Sight:
    if isinstance(status, VmopsError):
        return Sight(f"not known: {status.what}")
    meets = {qmp.RUNNING: (RUNNING,), qmp.GUEST_OFF: (GUEST_OFF,)}
    return Sight(status, meets.get(status, ()))
