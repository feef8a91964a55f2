"""Plans that end a VM or remove what it left: stop, unplug, tidy. Pure decisions."""

from __future__ import annotations

from typing import NamedTuple

from vmops.core.devices import nic, power
from vmops.core.devices.live import memory
from vmops.core.devices.power import Asking
from vmops.core.devices.storage import further, moving
from vmops.core.facts.images import MOVES, OWN_DISKS, SUSPENDED
from vmops.core.facts.observed import IMAGES, Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import VM, Worker
from vmops.core.names import RunDirectory
from vmops.core.plan.checks import check_read, check_unused, in_use, leftover_notes
from vmops.core.plan.guards import block_of, still_here
from vmops.core.plan.life import EXIT, KILL, LEFT, RUN_DIRECTORY, TERM, ending
from vmops.core.plan.moving import marks
from vmops.core.plan.phase import Action, Phase, Plan
from vmops.core.script.command import Command, Step, command
from vmops.core.tools import image_chain, ip, process
from vmops.errors import WorkFailed


class Manner(NamedTuple):
    """How a VM is stopped: its guest gets `timeout_s` seconds to power off; `force` asks nobody."""

    force: bool = False
    timeout_s: float = 30.0


GENTLY = Manner()
KILLED = Manner(force=True)


def stop(worker: Worker, vm: VM, observed: Observed, *, manner: Manner = KILLED) -> Plan:
    """End the VM's QEMU by verified identity, then remove its ports, TAPs and run directory.

    Its guest is asked first, which takes its time, so the VM's lock is not held meanwhile; nor is
    it for a kill, which must not wait for somebody who is asking. A VM that is not there gives the
    action `nothing`. Raises WorkFailed where a process that is not known as the VM's uses a TAP of
    it; unless its QEMU has ended, which may have left that: it is for the worker to tell.
    """
    running = observed.vm(vm.name)
    left = _held_by_what_it_left(vm, observed)
    if not left:
        check_unused(worker, vm, observed)
    before: list[Step] = []
    steps: list[Step] = [Step(LEFT, (command("end_left", vm.name, *left),))] if left else []
    notes = leftover_notes(vm, observed, doing="stopping") if running.process is None else ()
    guards = _nobody(vm, running)
    asking = None
    if running.process is not None:
        guards = (process.not_replaced(vm.name, running.process),)
        asking, note = _asking(vm, observed, manner)
        notes = (note,) if note else ()
        if asking is not None:
            before.append(asking.step(vm.name, running.process))
            steps += ending(vm.name, running.process, (EXIT, TERM, KILL))
        elif manner.force or running.process.stopped:
            before += ending(vm.name, running.process, (KILL,))
        else:
            steps += ending(vm.name, running.process, (TERM, KILL))
    steps += nic.unplugging(vm, observed.wiring)
    if running.directory:
        steps.append(Step(RUN_DIRECTORY, (command("remove_run_directory", vm.name),)))
    if vm.name in observed.suspended:
        kept = f"its memory is kept; to give it up: fab suspend --vm {vm.name} --discard"
        notes = (*notes, f"{vm.name} is suspended: {kept}")
    if not steps and not before:
        check_read(worker, vm, observed, MOVES)
        return Plan(vm, "nothing", notes=(*notes, *marks.notes(vm.name, worker.name, observed)))
    block = block_of(vm, steps, guards=guards, change="stop", before=tuple(before))
    waits_s = 0.0 if asking is None else power.wait_s(manner.timeout_s)
    phase = Phase(worker.name, block, waits_s=waits_s)
    return Plan(vm, "stop", (phase,), notes=notes, asking=asking)


def _held_by_what_it_left(vm: VM, observed: Observed) -> list[str]:
    """The TAPs in use of a VM that has ended, if all of them have its mark. A QEMU that its guest
    ruled may have left processes."""
    running = observed.vm(vm.name)
    if not running.directory or running.process is not None or running.odd:
        return []
    taps = {nic.tap: observed.taps[nic.tap] for nic in vm.nics if nic.tap in observed.taps}
    used = {name: tap for name, tap in taps.items() if tap.in_use}
    own = all(tap.alias == ip.alias(vm.name) for tap in used.values())
    return sorted(used) if own else []


def _nobody(vm: VM, running: RunningVM) -> tuple[Command, ...]:
    """No QEMU runs, and what was left is still what was seen: somebody may have launched it since,
    and that may have crashed, before a stop that was late comes to it."""
    guards = [process.not_running(vm.name)]
    if running.pid is not None:
        guards.append(process.same_remains(vm.name, running.pid))
    elif not running.directory:
        guards.append(command("test", "!", "-e", RunDirectory(vm.name).path))
    return tuple(guards)


def destroy(
    worker: Worker,
    vm: VM,
    observed: Observed,
    *,
    manner: Manner = KILLED,
    keep_disks: bool = False,
) -> Plan:
    """Stop the VM, and remove the disks that were made for it; its qcow_image stays.

    Raises WorkFailed, beside what `stop` raises, where another process has a disk open.
    """
    ended = stop(worker, vm, observed, manner=manner)
    if keep_disks:
        return ended
    check_read(worker, vm, observed, IMAGES, OWN_DISKS, SUSPENDED)
    marks.check_may_remove(worker, vm, observed)
    steps = further.removing(vm, observed.folder)
    if vm.name in observed.suspended:
        steps = (*steps, memory.discarding(vm.name))
    action: Action = "destroy" if steps else "forget"
    if vm.name in observed.moves:
        steps = (*steps, moving.unmarking(vm.name))
    if not steps:
        return ended
    check_closed(worker, vm, observed)
    notes = _still_elsewhere(worker, vm, observed)
    guards = still_here(vm, observed)
    if not ended.phases:
        guards = (process.not_running(vm.name), *guards)
        block = block_of(vm, steps, guards=guards, change="destroy")
        return Plan(vm, action, (Phase(worker.name, block),), notes=notes)
    (phase,) = ended.phases
    block = phase.block
    block = block._replace(
        steps=(*block.steps, *steps), guards=(*block.guards, *guards), change="destroy"
    )
    return ended._replace(
        action="destroy", phases=(phase._replace(block=block),), notes=(*ended.notes, *notes)
    )


def _still_elsewhere(worker: Worker, vm: VM, observed: Observed) -> tuple[str, ...]:
    """What to say of a VM that was moved: what goes here is the word of that, and no more."""
    mark = observed.moves.get(vm.name)
    if mark is None or mark.how != "left":
        return ()
    return (
        f"{vm.name} was moved from {worker.name} to {mark.peer}, and is still there, but its tasks"
        f' do not find it any more: set worker = "{mark.peer}" in hosts.toml',
    )


def check_closed(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise WorkFailed where another process than its QEMU has a disk of the VM open."""
    running = observed.vm(vm.name).process
    for path in (vm.qcow_image, *(further.path_of(vm, each) for each in vm.disks)):
        chain = observed.images.get(path, ())
        if running is not None:
            chain = image_chain.without_holder(chain, running.pid)
        for used in image_chain.uses(chain[:1]):
            raise WorkFailed(used.what, worker=worker.name, vm=vm.name, cure=used.cure)


def _asking(vm: VM, observed: Observed, manner: Manner) -> tuple[Asking | None, str]:
    """How its guest is asked; or None, and the note why not, where there is something to say."""
    found = observed.vm(vm.name).process
    if manner.force:
        return None, ""
    if found is not None and found.stopped:
        note = "its QEMU is held by a signal (SIGSTOP), so it cannot be asked: it is killed"
        return None, f"{vm.name}: {note}"
    status, why = observed.monitor_status(vm.name)
    if why:
        return None, f"{vm.name}: {why}; its guest is not waited for"
    if not status:
        return None, ""
    return Asking(status, manner.timeout_s), ""


def unplug(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Remove the VM's ports and TAPs. Refused while it runs: its network would die silently."""
    if observed.vm(vm.name).process is not None:
        raise WorkFailed(
            f"{vm.name} is running, its ports are in use",
            worker=worker.name,
            vm=vm.name,
            cure=f"stop it first: fab stop --vm {vm.name}",
        )
    return stop(worker, vm, observed).noted_as("unplug")


def tidy(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Remove the ports and TAPs of a VM that powered itself off; nothing for any other.

    Its run directory stays, with what it printed last, until it is launched or stopped.
    """
    gone = observed.vm(vm.name).powered_off and not in_use(worker, vm, observed)
    steps = nic.unplugging(vm, observed.wiring) if gone else []
    if not steps:
        return Plan(vm, "nothing")
    mark = observed.moves.get(vm.name)
    is_awaited = mark is not None and mark.how in ("receiving", "elsewhere")
    ended = ": a QEMU that waited for it has ended" if is_awaited else " has powered itself off"
    note = f"{vm.name}{ended}: its ports and TAPs are removed"
    block = block_of(vm, steps, guards=(process.not_running(vm.name),), change="tidy")
    return Plan(vm, "tidy", (Phase(worker.name, block),), notes=(note,))
