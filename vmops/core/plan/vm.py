"""From what is wanted and what is observed to an ordered block of steps. Pure decisions.

Every function raises a WorkFailed (the reason, and its cure) when the work cannot begin: then
nothing has been done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from vmops.core.devices.exposure import vnc_warning
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.names import RunDirectory, tap_is_hashed
from vmops.core.plan.checks import check_boot, check_switch, check_unused, in_use
from vmops.core.plan.drift import Drift, drift, port_drift
from vmops.core.plan.steps import (
    KILL,
    PLUGGED,
    RUN_DIRECTORY,
    Skip,
    booting,
    clearing,
    conflict,
    ending,
    plugging,
    unplugging,
)
from vmops.core.script.command import Batch, Block, Command, Step, command
from vmops.core.tools import ip, process, qemu
from vmops.errors import LaunchFailed, WorkFailed

Action = Literal["start", "nothing", "replug", "restart", "stop", "tidy"]


class Plan(NamedTuple):
    """What is to be done for one VM. `block` is None when nothing is.

    `notes` are for the operator: a hashed TAP name, what a dead VM left behind.
    """

    vm: VM
    action: Action
    block: Block | None = None
    drift: tuple[Drift, ...] = ()
    skips: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = ()


def launch(
    worker: Worker, vm: VM, observed: Observed, *, strict: bool = False, room: bool = True
) -> Plan:
    """Plug and boot; nothing where it runs as asked; replug where only its ports differ.

    Without `room` its memory and VNC port are not looked at: they are for all VMs that start
    together (together.py).
    """
    if observed.vm(vm.name).process is not None:
        return _of_running(worker, vm, observed, strict=strict)
    check_boot(worker, vm, observed, room=room)
    steps, skips = plugging(worker, vm, observed, strict=strict)
    steps = (*clearing(vm, observed), *steps, *booting(worker, vm, observed))
    block = _block(vm, steps, guards=_taken_over(vm, observed))
    return Plan(vm, "start", block, skips=skips, notes=_start_notes(worker, vm, observed))


def plug(worker: Worker, vm: VM, observed: Observed, *, strict: bool = False) -> Plan:
    """The TAPs and ports only; an interface that is plugged as asked is left alone.

    The run directory of a VM that died goes: what is plugged from now on is not what it left.
    """
    check_switch(worker, vm, observed)
    check_unused(vm, observed)
    steps, skips = plugging(worker, vm, observed, strict=strict)
    runs = observed.vm(vm.name).process
    steps = steps if runs else (*clearing(vm, observed), *steps)
    busy = any(step.commands for step in Block("", steps).numbered())
    action: Action = "replug" if busy else "nothing"
    guards = (process.still_running(vm.name, runs),) if runs else _taken_over(vm, observed)
    block = _block(vm, steps, guards=guards) if busy else None
    return Plan(vm, action, block, skips=skips, notes=_hashed(vm))


def boot(
    worker: Worker, vm: VM, observed: Observed, *, strict: bool = False, room: bool = True
) -> Plan:
    """QEMU only, with the interfaces that are plugged: on a missing TAP QEMU would make a private
    one, and the VM's network would be dead."""
    if observed.vm(vm.name).process is not None:
        return _of_running(worker, vm, observed, strict=strict)
    check_boot(worker, vm, observed, room=room)
    unplugged = {nic.name: port_drift(worker, vm, nic, observed) for nic in vm.connected}
    skips = tuple(
        Skip(name, f"is not plugged ({'; '.join(map(str, found))})")
        for name, found in unplugged.items()
        if found
    )
    if skips and strict:
        raise LaunchFailed(
            f"{vm.name}: {skips[0].interface} {skips[0].reason}",
            worker=worker.name,
            cure="plug it first: fab plug",
        )
    flags = tuple(qemu.flag(nic) for nic in vm.connected if not unplugged[nic.name])
    steps = (
        *clearing(vm, observed),
        Step(PLUGGED, (), sets=flags),
        *booting(worker, vm, observed),
    )
    block = _block(vm, steps, guards=_taken_over(vm, observed))
    return Plan(vm, "start", block, skips=skips, notes=_start_notes(worker, vm, observed))


def stop(vm: VM, observed: Observed, *, by: Sequence[str] = (KILL,)) -> Plan:
    """End the VM's QEMU by verified identity, then remove its ports, TAPs and run directory.

    `by` says how, as in `steps.ending`. A VM that is not there gives the action `nothing`. Raises
    WorkFailed where a process that is not known as the VM's uses a TAP of it.
    """
    check_unused(vm, observed)
    running = observed.vm(vm.name)
    steps: list[Step] = []
    guards: tuple[Command, ...] = (process.not_running(vm.name),)
    if running.process is not None:
        guards = (process.not_replaced(vm.name, running.process),)
        steps.extend(ending(running.process, by))
    steps.extend(unplugging(vm, observed))
    if running.directory:
        steps.append(Step(RUN_DIRECTORY, (command("remove_run_directory", vm.name),)))
    if not steps:
        return Plan(vm, "nothing")
    notes = _notes(vm, observed) if running.process is None else ()
    return Plan(vm, "stop", _block(vm, steps, guards=guards), notes=notes)


def tidy(vm: VM, observed: Observed) -> Plan:
    """Remove the ports and TAPs of a VM that powered itself off; nothing for any other.

    Its run directory stays, with what it printed last, until it is launched or stopped.
    """
    gone = observed.vm(vm.name).powered_off and not in_use(vm, observed)
    steps = unplugging(vm, observed) if gone else []
    if not steps:
        return Plan(vm, "nothing")
    note = f"{vm.name} has powered itself off: its ports and TAPs are removed"
    return Plan(vm, "tidy", _block(vm, steps), notes=(note,))


def unplug(vm: VM, observed: Observed) -> Plan:
    """Remove the VM's ports and TAPs. Refused while it runs: its network would die silently."""
    if observed.vm(vm.name).process is not None:
        raise WorkFailed(f"{vm.name} is running, its ports are in use", cure="stop it first")
    return stop(vm, observed)


def _of_running(worker: Worker, vm: VM, observed: Observed, *, strict: bool) -> Plan:
    left_out = tuple(
        Skip(nic.name, reason) for nic in vm.connected if (reason := conflict(vm, nic, observed))
    )
    fields = tuple(f"interfaces.{skip.interface}" for skip in left_out)
    found = tuple(d for d in drift(worker, vm, observed) if not d.is_of(fields))
    if not found and not (strict and left_out):
        return Plan(vm, "nothing", skips=left_out)
    if not all(item.live for item in found):
        return Plan(vm, "restart", drift=found, skips=left_out)
    return plug(worker, vm, observed, strict=strict)._replace(drift=found)


def _block(vm: VM, steps: Sequence[Step | Batch], *, guards: tuple[Command, ...] = ()) -> Block:
    guards = guards or (process.not_running(vm.name),)
    return Block(vm.name, tuple(steps), lock=RunDirectory(vm.name).lock, guards=guards)


def _taken_over(vm: VM, observed: Observed) -> tuple[Command, ...]:
    """Guards: no QEMU of the VM runs, nothing that it left is new, and the TAPs that were there
    still are."""
    taps = [nic.tap for nic in vm.connected if nic.tap in observed.taps]
    guards = [process.not_running(vm.name)]
    if not observed.vm(vm.name).directory:
        guards.append(command("test", "!", "-e", RunDirectory(vm.name).path))
    return (*guards, *((ip.are_there(taps),) if taps else ()))


def _notes(vm: VM, observed: Observed) -> tuple[str, ...]:
    running = observed.vm(vm.name)
    notes = _hashed(vm)
    if running.state == "crashed":
        notes = (f"{vm.name} had crashed: what it left behind is removed", *notes)
    elif running.directory:
        notes = (f"{vm.name} had powered itself off: what it left is removed", *notes)
    return notes


def _start_notes(worker: Worker, vm: VM, observed: Observed) -> tuple[str, ...]:
    notes = _notes(vm, observed)
    if worker.vnc_listen is None:
        return notes
    risk = vnc_warning(vm.name, worker.name, listen=worker.vnc_listen, port=vm.vnc_port)
    return (*notes, f"warning: {risk}") if risk else notes


def _hashed(vm: VM) -> tuple[str, ...]:
    return tuple(
        f"{vm.name}: {nic.name}: tap_{vm.vm_id}_{nic.name} exceeds 15 bytes, the TAP is {nic.tap}"
        for nic in vm.connected
        if tap_is_hashed(vm.vm_id, nic.name)
    )
