"""Plans about snapshots of a running VM: save, revert, delete. Pure decisions."""

from __future__ import annotations

from vmops.core.devices.live import snapshot
from vmops.core.devices.live.snapshot import Found, Snapshot
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.guards import block_of
from vmops.core.plan.phase import Action, Phase, Plan
from vmops.core.script.command import Step
from vmops.core.tools import process, qmp
from vmops.errors import MonitorError, NotRunning, WorkFailed

MIB = 1 << 20


def found(worker: Worker, vm: VM, observed: Observed) -> Found:
    """What the VM has of disks and snapshots.

    Raises NotRunning where it does not run, and MonitorError where its monitor does not say it.
    """
    running = observed.vm(vm.name)
    if running.process is None:
        raise NotRunning(
            f"{vm.name} is {running.state}: a snapshot is of a VM that runs, its memory with it",
            worker=worker.name,
            vm=vm.name,
            cure=f"fab launch --vm {vm.name}",
        )
    heard = observed.monitors.get(vm.name)
    if heard is None:
        raise MonitorError("its monitor was not asked", worker=worker.name, vm=vm.name)
    try:
        return snapshot.read(heard, running.command_line, vm_id=vm.vm_id)
    except ValueError as unreadable:
        raise MonitorError(str(unreadable), worker=worker.name, vm=vm.name) from unreadable


def save(worker: Worker, vm: VM, observed: Observed, *, name: str) -> Plan:
    """Save memory and disks under that name. Refused where one of the disks cannot keep it, where
    the name is taken, and where there is no room for the memory."""
    has = _free(worker, vm, observed)
    _check_disks(worker, vm, has)
    if any(one.name == name for one in has.snapshots):
        raise WorkFailed(
            f"it has a snapshot {name} already",
            worker=worker.name,
            vm=vm.name,
            cure=f"take another name, or: fab snapshot.delete --vm {vm.name} --name {name}",
        )
    free = observed.folder.free
    if vm.image is not None and free is not None and 0 < free < vm.ram_mb * MIB:
        raise WorkFailed(
            f"{free // MIB} MiB are free beside its disk, and its memory may take {vm.ram_mb}",
            worker=worker.name,
            vm=vm.name,
            cure="make room there, or delete older snapshots: fab snapshot.list",
        )
    return _plan(worker, vm, observed, snapshot.saving(vm.name, has, name), "snapshot")


def revert(worker: Worker, vm: VM, observed: Observed, *, name: str) -> Plan:
    """Take the VM back to a snapshot, which must be of the same machine as runs now.

    Its guest runs from there, unless it was paused: somebody may have had a reason.
    """
    has = _free(worker, vm, observed)
    _check_disks(worker, vm, has)
    chosen = _chosen(worker, vm, has, name)
    if chosen.missing:
        raise WorkFailed(
            f"snapshot {name} is not whole: {', '.join(chosen.missing)} does not have it",
            worker=worker.name,
            vm=vm.name,
            cure=f"fab snapshot.delete --vm {vm.name} --name {name}",
        )
    if differs := differences(has, chosen):
        raise WorkFailed(
            f"snapshot {name} is of another machine: {'; '.join(differs)}",
            worker=worker.name,
            vm=vm.name,
            cure=f"make hosts.toml say what it was, then: fab restart --vm {vm.name}",
        )
    run_on = has.status != qmp.PAUSED
    step = snapshot.loading(vm.name, has, chosen, run_on=run_on)
    plan = _plan(worker, vm, observed, step, "revert")
    note = f"{vm.name} was paused and stays so: fab resume --vm {vm.name}"
    return plan if run_on else plan._replace(notes=(note,))


def delete(worker: Worker, vm: VM, observed: Observed, *, name: str) -> Plan:
    """Remove a snapshot. One that is not there is an error: most likely the name is a slip."""
    has = _free(worker, vm, observed)
    chosen = _chosen(worker, vm, has, name)
    return _plan(worker, vm, observed, snapshot.deleting(vm.name, has, chosen), "delete snapshot")


def differences(has: Found, chosen: Snapshot) -> tuple[str, ...]:
    """In words, why the machine that runs cannot be taken back to a snapshot."""
    if chosen.shape is None:
        return ("it was not made by vmops, so what it is of is not known",)
    if "a-card" in chosen.shape.cards:
        return tuple(snapshot.squeezed(has.shape).differences(chosen.shape))
    return tuple(has.shape.differences(chosen.shape))


def _free(worker: Worker, vm: VM, observed: Observed) -> Found:
    """What it has, when no other job of ours is under way."""
    has = found(worker, vm, observed)
    if has.job not in ("", "concluded"):
        raise WorkFailed("its QEMU is still at an earlier snapshot", worker=worker.name, vm=vm.name)
    return has


def _check_disks(worker: Worker, vm: VM, has: Found) -> None:
    other = [disk for disk in has.disks if disk.format != "qcow2"]
    if not has.disks or other:
        which = ", ".join(f"{disk.name} is {disk.format}" for disk in other) or "it has none"
        raise WorkFailed(
            f"a snapshot is kept in disks that are qcow2, all that its guest writes to: {which}",
            worker=worker.name,
            vm=vm.name,
            cure='make them so: format = "qcow2" in hosts.toml, and a new disk',
        )


def _chosen(worker: Worker, vm: VM, has: Found, name: str) -> Snapshot:
    for one in has.snapshots:
        if one.name == name:
            return one
    there = ", ".join(one.name for one in has.snapshots) or "none"
    raise WorkFailed(
        f"it has no snapshot {name}; there is: {there}",
        worker=worker.name,
        vm=vm.name,
        cure=f"fab snapshot.list --vm {vm.name}",
    )


def _plan(worker: Worker, vm: VM, observed: Observed, step: Step, action: Action) -> Plan:
    running = observed.vm(vm.name).process
    assert running is not None, "what does not run was refused"
    guards = (process.still_running(vm.name, running),)
    block = block_of(vm, (step,), guards=guards, change=action.replace(" ", "-"))
    return Plan(vm, action, (Phase(worker.name, block, waits_s=snapshot.LIMIT_S),))
