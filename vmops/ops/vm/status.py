"""Looking at VMs: the worker and all monitors of what runs there, in one exchange."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.facts import monitors as monitor_facts
from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory
from vmops.core.plan import status as statuses
from vmops.core.plan.checks import switch_fault
from vmops.core.plan.elsewhere import as_it_is_there, runs_among
from vmops.core.plan.moving import marks
from vmops.core.plan.placement.home import is_drained
from vmops.core.plan.status import VMStatus
from vmops.core.tools import qmp
from vmops.core.tools.monitor import Heard
from vmops.errors import NotRunning, PortConflict, VmopsError
from vmops.ops.act import observe
from vmops.ops.guest.monitors import failure, unreadable_answer
from vmops.ops.route import Route
from vmops.ops.vm.changes import look_everywhere
from vmops.ops.vm.seeds import told_if_readable
from vmops.ops.vm.tidy import tidy
from vmops.ops.watch import Gone

_ADOPTED = "{} was adopted: it has no monitor, so what its guest does is not known"

LOOKS = 2
"""A VM that ends while it is looked at is looked at again."""


class Survey(NamedTuple):
    """VMs at one moment. `notes` say what was done on the way, `errors` why one is unknown;
    `unasked` has those of workers that could not be asked, by name."""

    vms: tuple[VMStatus, ...]
    notes: tuple[str, ...] = ()
    errors: tuple[VmopsError, ...] = ()
    unasked: Mapping[str, VmopsError] = MappingProxyType({})


def survey(
    route: Route,
    vms: Sequence[VM],
    *,
    unmanaged: bool = False,
    monitors: bool = True,
    copies: Sequence[VM] = (),
) -> Survey:
    """These VMs in order, and those of the `copies` that run there; with `unmanaged` what else has
    a run directory on the worker.

    A worker that cannot be asked gives `unknown`, never `stopped`; so does one that a VM has left,
    which says nothing of it but where it went. Without `monitors` only the
    worker is asked. Ports of a VM that has powered itself off are removed, before the look that is
    told. Never raises.
    """
    worker = route.worker
    questions = (*facts.for_status(), *((monitor_facts.LOOKS,) if monitors else ()))
    notes: dict[str, str] = {}
    asked = {vm.name for vm in vms}
    others = [vm for vm in copies if vm.name not in asked]
    vms, unread = told_if_readable(vms)
    try:
        for _ in range(LOOKS):
            seen = observe(route, questions, vms=vms, suppose=supposed.running)
            removed = tidy(route, vms, seen)
            if removed:
                notes |= removed
                seen = observe(route, questions, vms=vms, suppose=supposed.running)
            ran = [vm for vm in others if _is_copy(vm, seen)]
            found = [_managed(route, vm, seen, questions) for vm in (*vms, *ran)]
            found = [_unless_gone(item, seen) for item in found]
            if unmanaged:
                strangers = sorted(set(seen.vms) - {item.vm for item in found})
                found += [statuses.of_unmanaged(worker, name, seen) for name in strangers]
            if monitors:
                found = [_with_monitor(route, item, seen) for item in found]
            if not any(isinstance(item.error, NotRunning) for item in found):
                break
        if monitors:
            found = _with_addresses(route, found)
    except VmopsError as error:
        unknown = VMStatus("", worker.name, worker.address, "unknown", error=error)
        unknowns = tuple(unknown._replace(vm=vm.name) for vm in vms)
        return Survey(unknowns, errors=(error,), unasked={worker.name: error})
    errors = tuple(item.error for item in found if item.error is not None)
    notes |= {f"seed {n}": f"what is wanted is not all known: {e}" for n, e in enumerate(unread)}
    if monitors and route.transcript is None:
        notes |= {i.vm: _ADOPTED.format(i.vm) for i in found if seen.vm(i.vm).adopted}
    # One that is on its way here is hosts.toml's at another worker, which has no mark of it yet.
    gone = {item.vm for item in found if isinstance(item.error, Gone)}
    looked_at = (vm.name for vm in vms if vm.name not in gone)
    for name in dict.fromkeys([*looked_at, *marks.coming(seen)]):
        away = bool(marks.is_away(name, seen))
        notes |= {note: note for note in marks.notes(name, worker.name, seen, away=away)}
    if is_drained(seen):
        notes["drained"] = (
            f"{worker.name} is drained, and gets no VM: fab undrain --worker {worker.name}"
        )
    if seen.switch.fault:
        errors = (switch_fault(worker, seen), *errors)
    return Survey(tuple(found), tuple(notes.values()), errors)


def _managed(route: Route, vm: VM, seen: Observed, questions: Sequence[facts.Asked]) -> VMStatus:
    """A VM of the inventory. What looks like somebody else's is looked at again while nobody
    changes the VM."""
    vm = as_it_is_there(route.worker, vm, seen)
    found = statuses.of(route.worker, vm, seen)
    if not isinstance(found.error, PortConflict):
        return found
    lock = RunDirectory(vm.name).lock
    again = observe(route, questions, vms=[vm], suppose=supposed.running, lock=lock)
    return statuses.of(route.worker, vm, again)


def _is_copy(vm: VM, seen: Observed) -> bool:
    """True for one that runs there, and does not only wait for what comes from another worker."""
    return runs_among(seen.vms, vm) and not marks.is_still_there(vm.name, seen)


def _unless_gone(item: VMStatus, seen: Observed) -> VMStatus:
    """A VM that the worker has left may run where it went: it is not known here to be stopped."""
    mark = seen.moves.get(item.vm)
    if mark is None or not marks.is_gone(mark) or item.state != "stopped":
        return item
    away = bool(marks.is_away(item.vm, seen))
    return item._replace(state="unknown", error=Gone(item.worker, item.vm, mark, away=away))


def status(route: Route, vms: Sequence[VM], *, monitors: bool = True) -> list[VMStatus]:
    """The VMs of a `survey`."""
    return list(survey(route, vms, monitors=monitors).vms)


def merged(surveys: Iterable[Survey], *, named: bool = True) -> Survey:
    """Several workers' surveys as one. A VM that may be anywhere is said wherever it may run.

    That it is stopped on a worker is left out, except on the first where it is so on all; so is a
    QEMU that only waits for it, where the worker from which it comes tells of it. One that has left
    a worker is said as it is where it went; where that worker was not asked it is left out, with a
    note, unless it was `named`.
    """
    all_ = list(surveys)
    unasked = {name: error for one in all_ for name, error in one.unasked.items()}
    # Where a VM was followed to, it may have been seen as one that runs there already.
    rows = {(item.vm, item.worker): item for one in all_ for item in one.vms}
    found: dict[tuple[str, str], list[VMStatus]] = {}
    for item in rows.values():
        found.setdefault((item.vm, "" if item.managed else item.worker), []).append(item)
    kept: list[VMStatus] = []
    notes = [note for one in all_ for note in one.notes]
    for same in found.values():
        told = _told(same, unasked)
        running = [item for item in told if item.pid is not None and not item.beside]
        if len(running) > 1 and told[0].managed:
            notes.append(_runs_twice(running))
        if not named and isinstance(told[0].error, Gone):
            notes += [
                f"{item.vm}: {item.error.what}; {item.error.cure}" for item in told if item.error
            ]
        else:
            kept += told
    shown = {id(item.error) for item in kept}
    errors = [error for one in all_ for error in one.errors]
    errors = [error for error in errors if not isinstance(error, Gone) or id(error) in shown]
    return Survey(tuple(kept), tuple(notes), tuple(errors), unasked)


def _runs_twice(running: list[VMStatus]) -> str:
    """That a VM does, where it came last, and how to end it there, or where it is not at home."""
    from vmops.core.plan.placement.finding import end_one

    last = min(running, key=lambda item: item.uptime_s or 0)
    ages = {item.uptime_s for item in running}
    known = len(ages) > 1 and None not in ages
    away = [item for item in running if item.home]
    to_end = away[-1] if 0 < len(away) < len(running) else last if known else running[-1]
    later = f", and started later on {last.worker}" if known else ""
    where = " and on ".join(item.worker for item in running)
    return f"{last.vm} runs on {where}{later}; {end_one(last.vm, to_end.worker)}"


def _told(same: Sequence[VMStatus], unasked: Mapping[str, VmopsError]) -> list[VMStatus]:
    """What is told of one VM, from what each worker says of it."""
    gone = {item.error.mark.peer: item for item in same if isinstance(item.error, Gone)}
    here = [item for item in same if not isinstance(item.error, Gone)]
    workers = {item.worker for item in here if not item.beside}
    here = [item for item in here if item.beside not in workers]
    known = [item for item in here if item.state != "stopped"]
    if known or not gone:
        return known or here[:1]
    if ended := [item for item in here if item.worker in gone]:
        return ended[:1]
    for peer, item in gone.items():
        if peer in unasked:
            there = VMStatus(item.vm, peer, "", "unknown", home=item.worker, error=unasked[peer])
            return [there]
    return [*gone.values()][:1]


def with_fault(seen: Survey) -> Survey:
    """What could not be read of the worker itself is the error of each VM that has no other."""
    own = {id(vm.error) for vm in seen.vms}
    faults = [error for error in seen.errors if id(error) not in own]
    if not faults:
        return seen
    vms = tuple(vm if vm.error else vm._replace(error=faults[0]) for vm in seen.vms)
    return seen._replace(vms=vms)


def with_homes(seen: Survey, homes: Mapping[str, str]) -> Survey:
    """The same with the worker where hosts.toml has a VM that is seen on another one."""

    def at_home(item: VMStatus) -> VMStatus:
        home = homes.get(item.vm, item.worker)
        if home == item.worker:
            return item
        return item._replace(managed=True, home=home)

    return seen._replace(vms=tuple(map(at_home, seen.vms)))


def moved(seen: Survey, vms: Sequence[VM], routes: Sequence[Route]) -> Survey:
    """The same with the VMs that are stopped at home as they run on another worker, if they do.

    Nobody is asked where none is stopped. A worker that cannot be asked is among the errors.
    """
    stopped = {item.vm: item for item in seen.vms if item.state == "stopped"}
    wanted = [vm for vm in vms if vm.name in stopped]
    others = [route for route in routes if {i.worker for i in stopped.values()} - {_name(route)}]
    if not wanted or not others:
        return seen
    elsewhere = look_everywhere(others)
    found: dict[str, VMStatus] = {}
    notes = list(seen.notes)
    for route in others:
        there = [vm for vm in wanted if elsewhere.runs(vm, _name(route), stopped[vm.name].worker)]
        for item in survey(route, there).vms if there else ():
            home = stopped[item.vm].worker
            found[item.vm] = item._replace(home=home)
            notes.append(f"{item.vm} runs on {item.worker}, and hosts.toml has it on {home}")
    errors = tuple(elsewhere.unasked.values())
    kept = tuple(found.get(item.vm, item) for item in seen.vms)
    return Survey(kept, tuple(notes), (*seen.errors, *errors), seen.unasked)


def _name(route: Route) -> str:
    return route.worker.name


def _with_monitor(route: Route, item: VMStatus, seen: Observed) -> VMStatus:
    if item.pid is None or route.transcript is not None or seen.vm(item.vm).adopted:
        return item
    return statuses.with_look(item, _look(route, item.vm, seen))


def _with_addresses(route: Route, found: list[VMStatus]) -> list[VMStatus]:
    """The same with what the guest agents say, which are asked where one listens."""
    listening = [item.vm for item in found if item.agent and item.state == "running"]
    if not listening or route.transcript is not None:
        return found
    from vmops.ops.guest.agent import addresses

    said = addresses(route, listening)
    return [item._replace(addresses=said.get(item.vm, ())) for item in found]


def _look(route: Route, vm: str, seen: Observed) -> qmp.Look | VmopsError:
    heard = seen.monitors.get(vm, Heard(vm, ended="no socket"))
    limit_s = monitor_facts.LOOK_LIMIT_S
    error = failure(route, seen.vm(vm), heard, monitor_facts.LOOK, limit_s=limit_s)
    if error is not None:
        return error
    try:
        return monitor_facts.look_of(heard)
    except ValueError as unreadable:
        return unreadable_answer(route, vm, unreadable)
