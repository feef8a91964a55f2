"""Plans of a move of a VM that runs and goes on running, one for each act. Pure decisions.

The destination's mark says `receiving` while a QEMU there waits for the VM. Its guest cannot run
before that mark is gone, which it is only where the source's QEMU has ended, and says so by its own
mark (course.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vmops.core.devices import disk, machine, nic
from vmops.core.devices.live import memory, mirror
from vmops.core.devices.live.memory import Memory
from vmops.core.devices.live.mirror import Mirrored, Tuning
from vmops.core.devices.storage import boot, further, moving
from vmops.core.devices.storage.moving import Mark, mark
from vmops.core.facts.observed import Observed
from vmops.core.images.names import FOLDER, base_of
from vmops.core.inventory.complaints import typed
from vmops.core.inventory.machine.rules import UEFI
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.checks import check_unused
from vmops.core.plan.drift import launch_values
from vmops.core.plan.guards import block_of
from vmops.core.plan.life import KILL, booting, clearing, ending
from vmops.core.plan.live.interfaces import plugging_of
from vmops.core.plan.live.suspending import changed_since_start
from vmops.core.plan.moving.cold import leftovers
from vmops.core.plan.phase import Phase, Plan
from vmops.core.script.command import Batch, Command, Step
from vmops.core.tools import process, qemu_img, qmp
from vmops.core.tools.image_chain import Chain
from vmops.core.tools.process import Process
from vmops.errors import MonitorError, WorkFailed


def disks_of(vm: VM, running: Process) -> tuple[Mirrored, ...]:
    """The disks of a VM that runs, which are those that it was started with."""
    first = Mirrored(disk.ROOT, disk.device_of(running.argv), disk.NODE)
    nodes = [(each.name, further.node_of(each.name)) for each in vm.disks]
    if vm.boot == UEFI:
        nodes.append((boot.VARIABLES, boot.VARIABLES_NODE))
    return (first, *(Mirrored(name, node, node) for name, node in nodes))


class Stopped(NamedTuple):
    """How a VM is moved that cannot move while it runs: the command, which may be `for_all` that
    are to leave a worker."""

    command: str
    for_all: bool = False

    def or_else(self, what: str) -> str:
        """The command, or what helps this VM alone. Beside one for all that is not said: what is to
        be done for several VMs is told once."""
        return self.command if self.for_all else f"{self.command}; or {what}"


def check_leaves(worker: Worker, vm: VM, observed: Observed, *, stopped: Stopped) -> None:
    """Raise for what keeps a VM that runs from leaving without being stopped."""
    running = observed.vm(vm.name)
    assert running.process is not None, "only what runs is moved live"
    where = {"worker": worker.name, "vm": vm.name}
    with_a_stop = f"move it with a stop: {stopped.command}"
    status, why = observed.monitor_status(vm.name)
    if running.adopted:
        raise WorkFailed("somebody else has started it", **where, cure=with_a_stop)
    if not status:
        raise MonitorError(why or "it has no monitor that vmops knows", **where)
    if status != qmp.RUNNING:
        cure = f"fab resume --vm {vm.name}; or {with_a_stop}"
        raise WorkFailed(
            f"it is {status}, and only a guest that runs is moved live", **where, cure=cure
        )
    if changed := changed_since_start(vm, observed):
        what = f"{changed} changed while it ran, so no other QEMU that is started would be the same"
        raise WorkFailed(what, **where, cure=f"fab restart --vm {vm.name}; or {with_a_stop}")
    path = _out_of_reach(vm, observed, running.process)
    if path:
        raise WorkFailed(
            f"its QEMU could not let go of its disk: for that it opens {path} once more, as a user"
            " of its own, and may not read it",
            **where,
            cure=f"fab restart --vm {vm.name}, and move it then; or {with_a_stop}"
            if vm.image is not None
            else "move it with a stop: "
            + stopped.or_else(
                f"let everybody read it there: {typed('chmod', 'o+r', path)},"
                " and o+x for each folder above it"
            ),
        )


def _out_of_reach(vm: VM, observed: Observed, running: Process) -> str:
    """The path of its first disk, where its QEMU would open that again and may not. One that nobody
    could look at is left to QEMU."""
    chain = observed.images.get(vm.qcow_image)
    if not chain or chain[0].fault or chain[0].public or disk.is_opened_once(running.argv):
        return ""
    return chain[0].path


def check_same(
    worker: Worker, vm: VM, observed: Observed, running: Process, *, stopped: Stopped
) -> None:
    """Raise where this worker would start another machine than the one that runs elsewhere."""
    values = launch_values(worker, vm, observed)
    differs = tuple(memory.differences(Memory(running.argv), vm, values))
    if differs:
        raise WorkFailed(
            f"it would be another machine there than the one that runs: {'; '.join(differs)}",
            worker=worker.name,
            vm=vm.name,
            cure=f"make hosts.toml say what runs, or move it with a stop: {stopped.command}",
        )


def check_machines(
    vm: VM, worker: Worker, here: mirror.Machine, there: mirror.Machine, *, stopped: Stopped
) -> None:
    """Raise where what was started on the worker, there, is not the machine that it is here."""
    cold = f"move it with a stop: {stopped.command}"
    if here.type != there.type:
        raise WorkFailed(
            f"the machine that runs is a {here.type}, and QEMU there makes a {there.type}",
            worker=worker.name,
            vm=vm.name,
            cure=f"install the same QEMU on both workers; or {cold}",
        )
    if lacks := mirror.lacking(here.features, there.features):
        more = f" and {len(lacks) - 3} more" if len(lacks) > 3 else ""
        raise WorkFailed(
            "its guest was told of features that the CPU there lacks: CPUID"
            f" {', '.join(lacks[:3])}{more}",
            worker=worker.name,
            vm=vm.name,
            cure=f"set a `cpu` that both have, and restart it; or {cold}",
        )


def check_snapshots(vm: VM, worker: Worker, here: mirror.Machine, *, stopped: Stopped) -> None:
    """Raise where snapshots would be lost: they are inside its disks here, and stay behind."""
    if here.snapshots:
        found = dict.fromkeys(here.snapshots)
        names = ", ".join(found)
        each = [w for n in found for w in ("snapshot.delete", "--vm", vm.name, "--name", n)]
        remove = typed("fab", *each)
        raise WorkFailed(
            f"its disks hold snapshots ({names}), which a live move would not bring",
            worker=worker.name,
            vm=vm.name,
            cure=f"with them: {stopped.or_else(f'remove them: {remove}')}",
        )


def receive(worker: Worker, vm: VM, observed: Observed, source: Observed, *, token: str) -> Plan:
    """Make empty disks like those of the source, plug, and start a QEMU that waits for the rest.

    From its first step on the mark says that nothing here is whole. Its `token` is a new one: by
    that of the move somebody's stop at the source would seem to be what has sent the memory.
    """
    check_unused(worker, vm, observed)
    expected = observed.moves[vm.name]
    receiving = mark("receiving", expected.peer, token, ran=True, again=expected.again)
    back = moving.marking(vm.name, expected)
    there = {path: chain for path, chain in source.images.items() if path != vm.iso}
    seen = observed._replace(images={**observed.images, **there})
    running = source.vm(vm.name).process
    assert running is not None, "only what runs is received"
    plugs, _ = nic.plugging(plugging_of(worker, vm, observed), vm.connected, strict=True)
    steps: tuple[Step | Batch, ...] = (
        moving.marking(vm.name, receiving)._replace(undo=back.commands),
        *clearing(vm, observed),
        *(_empty(path, source.images.get(path, ())) for path in _paths(vm)),
        *plugs,
        *booting(worker, vm, seen, live=running),
        mirror.waiting(vm.name, disks_of(vm, running)),
    )
    guards = (process.not_running(vm.name), moving.guard(vm.name, observed.moves))
    return plan_of(worker, vm, steps, guards, change="receive")


def _paths(vm: VM) -> tuple[str, ...]:
    variables = (boot.path_of(vm),) if vm.boot == UEFI else ()
    return (vm.qcow_image, *(further.path_of(vm, each) for each in vm.disks), *variables)


def _empty(path: str, chain: Chain) -> Step:
    """A disk as large as that one, and on the same image."""
    assert chain, "what runs has its disks"
    size = disk.size_of(chain)
    base = base_of(chain[1].path) if len(chain) > 1 else None
    if base is not None:
        make = qemu_img.make_overlay(path, base, size=size)
    else:
        make = qemu_img.make_disk(path, chain[0].format or disk.FORMAT, size=size)
    return Step(disk.MAKE, (make,), undo=(qemu_img.remove_disk(path),), about=(path,))


def open_way(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Make the sockets that its QEMU here says its disks and memory to."""
    uid = machine.uid_for(vm, whole_range=observed.host.whole_uid_range)
    steps = (mirror.opening_way(vm.name, uid=uid, disks=len(_disks(vm, observed))),)
    return plan_of(worker, vm, steps, still(vm, observed), change="")


def mirrors(worker: Worker, vm: VM, observed: Observed, *, tuning: Tuning) -> Plan:
    """Begin to mirror its disks, which what was left of another try must not hinder."""
    disks = _disks(vm, observed)
    begun = (mirror.mirroring(vm.name, each, tuning) for each in disks)
    steps = (mirror.unmirroring(vm.name, disks), *begun)
    return plan_of(worker, vm, steps, still(vm, observed), change="mirror")


def unmirror(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Mirror its disks no more."""
    steps = (mirror.unmirroring(vm.name, _disks(vm, observed)),)
    return plan_of(worker, vm, steps, still(vm, observed), change="mirror no more")


def leave(worker: Worker, vm: VM, observed: Observed, wanted: Mark, *, tuning: Tuning) -> Plan:
    """Send its memory, and when the destination has said that it has all: mark it as leaving, and
    end its QEMU here. Up to the mark whatever fails leaves it running here."""
    running = observed.vm(vm.name).process
    assert running is not None, "only what runs is moved live"
    steps = (
        mirror.handing_over(vm.name, _disks(vm, observed), tuning),
        moving.marking(vm.name, wanted),
        *ending(vm.name, running, (KILL,)),
    )
    plan = plan_of(worker, vm, steps, still(vm, observed), change="leave")
    (phase,) = plan.phases
    return plan._replace(phases=(phase._replace(waits_s=mirror.MEMORY_LIMIT_S),))


def end(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """End its QEMU here, which has sent all and is marked as leaving."""
    running = observed.vm(vm.name).process
    assert running is not None, "only what runs is ended"
    guards = (*still(vm, observed), mirror.was_sent(vm.name))
    return plan_of(worker, vm, ending(vm.name, running, (KILL,)), guards, change="leave")


def switch(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """All has come: the mark goes, and its guest runs here."""
    steps = (
        mirror.taking(vm.name),
        moving.unmarking(vm.name),
        mirror.running_on(vm.name),
    )
    return plan_of(worker, vm, steps, still(vm, observed), change="arrive")


def wake(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Let its guest run, whose mark is gone already."""
    return plan_of(worker, vm, (mirror.running_on(vm.name),), still(vm, observed), change="arrive")


def drop(worker: Worker, vm: VM, observed: Observed, *, then: Mark | None = None) -> Plan:
    """End what waits here for the VM, and remove what has come of it. `then` it is expected anew,
    or not at all."""
    running = observed.vm(vm.name)
    steps: list[Step] = []
    if running.process is not None:
        steps += ending(vm.name, running.process, (KILL,))
    steps += leftovers(vm, observed)
    own = (f"{FOLDER}/{file.file}" for file in observed.folder.of(vm.name))
    paths = dict.fromkeys((*_paths(vm), *own))
    steps.append(Step(disk.REMOVE, tuple(qemu_img.remove_disk(path) for path in paths)))
    gone = moving.no_more(vm.name, observed.moves[vm.name])
    steps.append(moving.marking(vm.name, then) if then else gone)
    if running.process is not None:
        guards = still(vm, observed)
    else:
        guards = (process.not_running(vm.name), moving.guard(vm.name, observed.moves))
    return plan_of(worker, vm, steps, guards, change="give up")


def _disks(vm: VM, observed: Observed) -> tuple[Mirrored, ...]:
    running = observed.vm(vm.name).process
    assert running is not None, "only the disks of what runs are mirrored"
    return disks_of(vm, running)


def still(vm: VM, observed: Observed) -> tuple[Command, ...]:
    """That it runs as it was seen to, with the mark that was seen."""
    running = observed.vm(vm.name).process
    assert running is not None, "only what runs is still running"
    return (process.still_running(vm.name, running), moving.guard(vm.name, observed.moves))


def plan_of(
    worker: Worker,
    vm: VM,
    steps: Sequence[Step | Batch],
    guards: tuple[Command, ...],
    *,
    change: str,
) -> Plan:
    """One act of a move, on one worker."""
    block = block_of(vm, steps, guards=guards, change=change)
    return Plan(vm, "move", (Phase(worker.name, block),))
