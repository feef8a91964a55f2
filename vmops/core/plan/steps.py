"""What plugging, booting, ending and unplugging a VM consist of: steps, each with its undo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vmops.core.facts import logs
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Nic, Worker
from vmops.core.names import RunDirectory
from vmops.core.plan.drift import launch_values, port_drift
from vmops.core.script.command import Batch, Command, Step, command
from vmops.core.tools import ip, ovs, process, qemu
from vmops.core.tools.process import Process
from vmops.errors import PortConflict

LEFTOVERS, RUN_DIRECTORY, QEMU, PID = "leftovers", "run directory", "QEMU", "pid"
EXIT, TERM, KILL = "exit", "SIGTERM", "SIGKILL"
UNPLUG, TAPS_GONE = "remove ports", "remove TAPs"
PLUG, PLUG_ALL, PLUGGED = "plug", "plug all", "plugged"

EXIT_WAIT_S = 30
"""A QEMU that is ending writes what it still holds to its disks."""

TERM_WAIT_S = 5
KILL_WAIT_S = 10


class Skip(NamedTuple):
    """An interface that is left out, and why."""

    interface: str
    reason: str


def ending(found: Process, by: Sequence[str]) -> list[Step]:
    """The ways to end a process, of EXIT, TERM and KILL, each for what the one before has left.

    EXIT only waits, for a process that is ending by itself.
    """
    ways = {
        EXIT: process.await_end(found, wait_s=EXIT_WAIT_S),
        TERM: process.end(found, "TERM", wait_s=TERM_WAIT_S),
        KILL: process.end(found, "KILL", wait_s=KILL_WAIT_S),
    }
    return [Step(way, (ways[way],), may_fail=way != by[-1]) for way in by]


def clearing(vm: VM, observed: Observed) -> tuple[Step, ...]:
    """A VM that died left its run directory; its TAPs and ports are taken over by the plug."""
    if not observed.vm(vm.name).directory:
        return ()
    return (Step(LEFTOVERS, (command("remove_run_directory", vm.name),)),)


def plugging(
    worker: Worker, vm: VM, observed: Observed, *, strict: bool
) -> tuple[tuple[Step | Batch, ...], tuple[Skip, ...]]:
    """All interfaces in one `ip` batch and one OVS transaction, or one by one where that fails."""
    skips: list[Skip] = []
    ready: list[Nic] = []
    missing: list[Nic] = []
    for nic in vm.connected:
        foreign = conflict(vm, nic, observed)
        if foreign and strict:
            raise PortConflict(f"{vm.name}: {nic.name}: {foreign}", worker=worker.name)
        if foreign:
            skips.append(Skip(nic.name, foreign))
        else:
            (missing if port_drift(worker, vm, nic, observed) else ready).append(nic)
    steps: list[Step | Batch] = []
    if ready:
        steps.append(Step(PLUGGED, (), sets=tuple(qemu.flag(nic) for nic in ready)))
    if missing:
        apart = tuple(
            _plug_step(f"{PLUG} {nic.name}", worker, vm, [nic], observed, may_fail=not strict)
            for nic in missing
        )
        together = _plug_step(PLUG_ALL, worker, vm, missing, observed)._replace(joint=True)
        one = apart[0]._replace(joint=True)
        steps.append(Batch(together, apart) if len(missing) > 1 else one)
    return tuple(steps), tuple(skips)


def _plug_step(
    label: str,
    worker: Worker,
    vm: VM,
    nics: Sequence[Nic],
    observed: Observed,
    *,
    may_fail: bool = False,
) -> Step:
    fresh = [nic.tap for nic in nics if nic.tap not in observed.taps]
    there = [nic.tap for nic in nics if nic.tap in observed.taps]
    made: tuple[Command, ...] = ()
    if len(fresh) == 1:
        made = ip.create_tap(fresh[0], vm.name)
    elif fresh:
        made = (ip.create_taps(fresh, vm.name),)
    return Step(
        label,
        (
            *made,
            *(ip.adopt_tap(tap, vm.name) for tap in there),
            ovs.plug(worker.bridge, vm, nics),
            ovs.read_back(nics),
        ),
        undo=(
            ovs.unplug_own(vm, [nic.tap for nic in nics]),
            *(ip.undo_create(tap, vm.name) for tap in fresh),
        ),
        sets=tuple(qemu.flag(nic) for nic in nics),
        may_fail=may_fail,
    )


def conflict(vm: VM, nic: Nic, observed: Observed) -> str:
    """Why the interface's TAP or port is somebody else's, or empty. Unmarked ones are taken over:
    the documented system made them without a mark."""
    port = observed.switch.ports.get(nic.tap)
    owner = port.owner if port else ""
    if owner not in ("", vm.name):
        return f"port {nic.tap} belongs to {owner}"
    mark = observed.taps.get(nic.tap, ip.Tap()).alias
    if mark not in ("", ip.alias(vm.name)):
        return f"TAP {nic.tap} belongs to {mark.removeprefix('vmops:')}"
    return ""


def booting(worker: Worker, vm: VM, observed: Observed) -> tuple[Step, ...]:
    """The run directory, QEMU, and its PID. Undone, QEMU is ended and the directory removed.

    QEMU says why it cannot start in its log, which goes with the directory: the undo brings it.
    """
    values = launch_values(worker, vm, observed)
    run = RunDirectory(vm.name)
    sockets = [path.rpartition("/")[2] for path in run.sockets]
    return (
        Step(
            RUN_DIRECTORY,
            (command("make_run_directory", vm.name, str(values.uid), str(qemu.LOG_KIB)),),
            undo=(command("abandon", vm.name),),
        ),
        Step(
            QEMU,
            (
                qemu.build(vm, values),
                command("open_sockets", vm.name, *sockets),
                logs.reserve(vm.name),
            ),
            undo=(command("print_log", vm.name, logs.QEMU),),
        ),
        Step(PID, (command("report_process", vm.name),)),
    )


def unplugging(vm: VM, observed: Observed) -> list[Step]:
    """Ports by the computed names and by their mark; never one that is marked as another's.

    Where Open vSwitch did not answer, it is asked for the mark of each before it is removed.
    """
    names = {nic.tap for nic in vm.nics if not conflict(vm, nic, observed)}
    marked = {port.name for port in observed.switch.ports.values() if port.owner == vm.name}
    owned = {name for name, tap in observed.taps.items() if tap.alias == ip.alias(vm.name)}
    unknown = bool(observed.switch.fault)
    ports = sorted(marked | {name for name in names if unknown or name in observed.switch.ports})
    taps = sorted(owned | {name for name in names if name in observed.taps})
    steps = []
    if ports:
        removal = ovs.unplug_own(vm, ports) if unknown else ovs.unplug(ports)
        steps.append(Step(UNPLUG, (removal,), may_fail=True))
    if taps:
        steps.append(Step(TAPS_GONE, ip.remove_taps(taps, vm.vm_id), may_fail=True))
    return steps
