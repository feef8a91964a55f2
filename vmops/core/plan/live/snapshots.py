"""Plans about snapshots of a running VM: save, revert, delete, thaw. Pure decisions."""

from __future__ import annotations

from vmops.core.devices.live import freezing, snapshot
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
    _check_running(worker, vm, observed, "a snapshot is of a VM that runs, its memory with it")
    heard = observed.monitors.get(vm.name)
    if heard is None:
        raise MonitorError("its monitor was not asked", worker=worker.name, vm=vm.name)
    try:
        return snapshot.read(heard, observed.vm(vm.name).command_line, vm_id=vm.vm_id)
    except ValueError as unreadable:
        raise MonitorError(str(unreadable), worker=worker.name, vm=vm.name) from unreadable


def _check_running(worker: Worker, vm: VM, observed: Observed, why: str) -> None:
    if observed.vm(vm.name).process is None:
        state = observed.word_for(vm.name)
        cure = "resume" if state == "suspended" else "launch"
        raise NotRunning(
            f"{vm.name} is {state}: {why}",
            worker=worker.name,
            vm=vm.name,
            cure=f"fab {cure} --vm {vm.name}",
        )


def save(worker: Worker, vm: VM, observed: Observed, *, name: str, freeze: bool = False) -> Plan:
    """Save memory and disks under that name; with `freeze`, while its guest writes nothing.

    Refused where one of the disks cannot keep it, where the name is taken, and where there is no
    room for the memory.
    """
    has = _free(worker, vm, observed)
    if freeze and has.status == qmp.PAUSED:
        raise WorkFailed(
            f"{vm.name} is paused, and its guest cannot freeze anything",
            worker=worker.name,
            vm=vm.name,
            cure=f"fab resume --vm {vm.name}",
        )
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
    saving = snapshot.saving(vm.name, has, name, frozen=freeze)
    if not freeze:
        return _plan(worker, vm, observed, (saving,), "snapshot")
    steps = (*freezing.freezing(vm.name), saving, freezing.thawing(vm.name, again=True))
    return _plan(worker, vm, observed, steps, "snapshot")


def revert(worker: Worker, vm: VM, observed: Observed, *, name: str) -> Plan:
    """Take the VM back to a snapshot, which must be of the same machine as runs now.

    Its guest runs from there, unless it was paused: somebody may have had a reason. One that was
    frozen then is thawed.
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
    loading = snapshot.loading(vm.name, has, chosen, run_on=run_on)
    thaws = (freezing.thawing(vm.name),) if run_on and chosen.frozen else ()
    plan = _plan(worker, vm, observed, (loading, *thaws), "revert")
    note = f"{vm.name} was paused and stays so: fab resume --vm {vm.name}"
    if chosen.frozen:
        note += f"; then, as its guest was frozen: fab snapshot.thaw --vm {vm.name}"
    return plan if run_on else plan._replace(notes=(note,))


def delete(worker: Worker, vm: VM, observed: Observed, *, name: str) -> Plan:
    """Remove a snapshot. One that is not there is an error: most likely the name is a slip."""
    has = _free(worker, vm, observed)
    chosen = _chosen(worker, vm, has, name)
    step = snapshot.deleting(vm.name, has, chosen)
    return _plan(worker, vm, observed, (step,), "delete snapshot")


def thaw(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Thaw its guest's file systems, whoever froze them; fine where nothing is frozen."""
    _check_running(worker, vm, observed, "nothing in it is frozen")
    return _plan(worker, vm, observed, (freezing.thawing(vm.name),), "thaw")


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


def _plan(
    worker: Worker, vm: VM, observed: Observed, steps: tuple[Step, ...], action: Action
) -> Plan:
    running = observed.vm(vm.name).process
    assert running is not None, "what does not run was refused"
    guards = (process.still_running(vm.name, running),)
    block = block_of(vm, steps, guards=guards, change=action.replace(" ", "-"))
    waits_s = snapshot.LIMIT_S + (freezing.WAITS_S if len(steps) > 1 else 0)
    return Plan(vm, action, (Phase(worker.name, block, waits_s=waits_s),))
