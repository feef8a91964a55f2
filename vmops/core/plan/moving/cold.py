"""Plans of a move of a VM that does not run, one for each act on one worker. Pure decisions.

Each is a block under the VM's lock on its worker, with the mark that was seen as a guard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vmops.core.devices import disk, nic
from vmops.core.devices.live import mirror
from vmops.core.devices.storage import further, moving, shared
from vmops.core.devices.storage.moving import Arriving, Mark, mark
from vmops.core.facts.images import MOVES, OWN_DISKS, SUSPENDED
from vmops.core.facts.observed import IMAGES, Observed
from vmops.core.images.names import FOLDER, Base, base_of
from vmops.core.inventory.complaints import typed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan import starting
from vmops.core.plan.checks import check_boot, check_read, check_unused
from vmops.core.plan.guards import block_of, still_here
from vmops.core.plan.life import RUN_DIRECTORY
from vmops.core.plan.moving.behind import files_of, left_behind
from vmops.core.plan.moving.course import Side
from vmops.core.plan.phase import Phase, Plan
from vmops.core.plan.stopping import Manner, check_closed, stop
from vmops.core.script.command import Command, Step, command
from vmops.core.tools import process, qemu_img, qmp
from vmops.errors import WorkFailed

MIB = 1 << 20


def side_of(worker: Worker, vm: VM, observed: Observed) -> Side:
    """What this worker says of the VM. Raises where that is in doubt, or could not be read."""
    check_read(worker, vm, observed, MOVES, OWN_DISKS, IMAGES)
    running = observed.vm(vm.name)
    if running.odd:
        raise running.doubt(worker.name)
    runs = running.process is not None and running.command_line.uuid == vm.uuid
    mark = observed.moves.get(vm.name)
    if mark is not None and shared.is_free(mark):
        mark = None
    has = bool(files_of(vm, observed)) and not left_behind(vm, observed)
    return Side(runs, has, mark, memory_of(vm, observed) if runs else "")


def memory_of(vm: VM, observed: Observed) -> Literal["", "sent", "loaded"]:
    """How far its memory has come that goes from one QEMU to another. Both stand still then."""
    found = observed.vm(vm.name).process
    status, _ = observed.monitor_status(vm.name)
    waited = found is not None and "-incoming" in found.argv
    return "sent" if status == qmp.SENT else "loaded" if waited and status == qmp.PAUSED else ""


def bases_of(worker: Worker, vm: VM, observed: Observed) -> tuple[Base, ...]:
    """The images that its disks stand on. Raises WorkFailed for what is no image of vmops."""
    found = []
    for path in files_of(vm, observed):
        for image in (observed.images.get(path) or ())[1:]:
            base = base_of(image.path)
            if base is None:
                raise WorkFailed(
                    f"its disk {path} stands on {image.path}, which vmops has not brought there",
                    worker=worker.name,
                    vm=vm.name,
                    cure="there, with it stopped: "
                    + typed("qemu-img", "rebase", "-f", "qcow2", "-b", "", path),
                )
            found.append(base)
    return tuple(dict.fromkeys(found))


def check_leaves(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise WorkFailed for what keeps the VM from leaving this worker."""
    check_read(worker, vm, observed, SUSPENDED)
    check_unused(worker, vm, observed)
    if vm.name in observed.suspended:
        raise WorkFailed(
            "it is suspended, and its memory stays where it is",
            worker=worker.name,
            vm=vm.name,
            cure=f"bring it back first: fab resume --vm {vm.name};"
            f" or give its memory up: fab suspend --vm {vm.name} --discard",
        )
    if observed.vm(vm.name).process is None:
        check_closed(worker, vm, observed)
    bases_of(worker, vm, observed)


def check_comes(
    worker: Worker, vm: VM, observed: Observed, source: Observed, *, starts: bool
) -> None:
    """Raise for what keeps the VM from coming to this worker: what its start would lack there,
    and room for its files. Where it `starts`, room for its memory too.

    Its disks are supposed to be there, and what they stand on.
    """
    there = {path: chain for path, chain in source.images.items() if path != vm.iso}
    closed = {
        path: tuple(image._replace(held=0, holders=()) for image in chain)
        for path, chain in there.items()
    }
    marks = {name: one for name, one in observed.moves.items() if name != vm.name}
    seen = observed._replace(images={**observed.images, **closed}, moves=marks)
    if starts:
        starting.launch(worker, vm, seen)
    else:
        check_boot(worker, vm, seen, room=False)
    needed = sum(file.used for file in source.folder.of(vm.name))
    needed += sum(
        chain[0].used
        for path, chain in source.images.items()
        if path == vm.qcow_image and vm.image is None and chain
    )
    free = observed.folder.free
    if free is not None and free < needed:
        raise WorkFailed(
            f"its disks take {needed // MIB} MiB, and {free // MIB} MiB are free in ~/vm_images",
            worker=worker.name,
            vm=vm.name,
            cure="make room there",
        )


def expect(worker: Worker, vm: VM, observed: Observed, wanted: Mark) -> Plan:
    """Mark the VM as expected on this worker. It has nothing of it, and starts nothing from now.

    A qcow_image that it has left there before is set aside: the one that comes is newer."""
    check_unused(worker, vm, observed)
    paths = [vm.qcow_image, *(further.path_of(vm, each) for each in vm.disks)]
    steps: tuple[Step, ...] = (moving.marking(vm.name, wanted),)
    if left_behind(vm, observed):
        paths.remove(vm.qcow_image)
        steps = (moving.setting_aside(vm.qcow_image, observed.moves[vm.name].token), *steps)
    guards = (*_guards(vm, observed), *(qemu_img.no_disk(path) for path in dict.fromkeys(paths)))
    return _plan(worker, vm, steps, guards, change="expect")


def leave(worker: Worker, vm: VM, observed: Observed, wanted: Mark, *, manner: Manner) -> Plan:
    """Stop the VM on this worker, and mark it as leaving: nothing starts it here from now on."""
    check_leaves(worker, vm, observed)
    ended = stop(worker, vm, observed, manner=manner)
    steps = (moving.marking(vm.name, wanted),)
    guards = still_here(vm, observed)
    if not ended.phases:
        guards = (process.not_running(vm.name), *guards)
        return _plan(worker, vm, steps, guards, change="leave")
    (phase,) = ended.phases
    block = phase.block
    block = block._replace(
        steps=(*block.steps, *steps), guards=(*block.guards, *guards), change="leave"
    )
    return ended._replace(action="move", phases=(phase._replace(block=block),))


def take(worker: Worker, vm: VM, observed: Observed, files: Sequence[Arriving]) -> Plan:
    """Give the files that have come their names, and remove the mark: from then on the VM is this
    worker's. Until that very step it can be started nowhere."""
    rest = moving.forgetting(file.path for file in files)
    steps = (*moving.taking(files), rest, moving.unmarking(vm.name))
    return _plan(worker, vm, steps, _guards(vm, observed), change="take")


def clear(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Remove the disks that were made for the VM on this worker, which another one has by now. The
    mark stays, and says where it went. So do the ports of one that left without being stopped."""
    found = observed.moves[vm.name]
    gone = mark("left", found.peer, found.token)
    steps = (
        *leftovers(vm, observed),
        *further.removing(vm, observed.folder),
        moving.marking(vm.name, gone),
    )
    return _plan(worker, vm, steps, _guards(vm, observed), change="clear")


def give_up(worker: Worker, vm: VM, observed: Observed, files: Sequence[str]) -> Plan:
    """Expect the VM no longer, and remove what has come of it."""
    own = [path for path in files if path.startswith(f"{FOLDER}/")]
    removals = tuple(qemu_img.remove_disk(path) for path in own)
    steps: tuple[Step, ...] = (Step(disk.REMOVE, removals),) if removals else ()
    gone = moving.no_more(vm.name, observed.moves[vm.name])
    steps = (*steps, moving.forgetting(files), gone)
    return _plan(worker, vm, steps, _guards(vm, observed), change="give up")


def stay(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Mark the VM as staying on this worker, which it was leaving: nobody takes it any further."""
    was = observed.moves[vm.name]
    steps = (moving.marking(vm.name, mark("staying", was.peer, was.token, ran=was.ran)),)
    return _plan(worker, vm, steps, _guards_of_one_that_may_run(vm, observed), change="stay")


def settle(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Remove the mark of a VM that stays: it is this worker's again. One whose QEMU has sent its
    memory in vain runs on."""
    steps: tuple[Step, ...] = (moving.unmarking(vm.name),)
    if observed.vm(vm.name).process is not None:
        steps = (*steps, mirror.back_to_life(vm.name))
    return _plan(worker, vm, steps, _guards_of_one_that_may_run(vm, observed), change="settle")


def leftovers(vm: VM, observed: Observed) -> tuple[Step, ...]:
    """What removes ports, TAPs and the run directory of a VM that has left."""
    steps = nic.unplugging(vm, observed.wiring)
    if observed.vm(vm.name).directory:
        steps.append(Step(RUN_DIRECTORY, (command("remove_run_directory", vm.name),)))
    return tuple(steps)


def _guards_of_one_that_may_run(vm: VM, observed: Observed) -> tuple[Command, ...]:
    found = observed.vm(vm.name).process
    if found is None:
        return _guards(vm, observed)
    return (process.still_running(vm.name, found), moving.guard(vm.name, observed.moves))


def _guards(vm: VM, observed: Observed) -> tuple[Command, ...]:
    return (process.not_running(vm.name), moving.guard(vm.name, observed.moves))


def _plan(
    worker: Worker, vm: VM, steps: Sequence[Step], guards: tuple[Command, ...], *, change: str
) -> Plan:
    block = block_of(vm, steps, guards=guards, change=change)
    return Plan(vm, "move", (Phase(worker.name, block),))
