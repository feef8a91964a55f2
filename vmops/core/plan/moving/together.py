"""A VM on its way between two workers that share the folder of its disks. Pure decisions.

Nothing is copied: the one mark in that folder, which says where the VM is, names the other worker.
That is changed by the worker where it is, under the VM's lock there, when its QEMU has ended, or
has sent its memory; so at any moment one worker may start it, or let it run
(tests/unit/test_shared_model.py).
"""

from __future__ import annotations

from vmops.core.devices import nic
from vmops.core.devices.live import mirror
from vmops.core.devices.live.mirror import Tuning
from vmops.core.devices.storage import moving, shared
from vmops.core.facts.images import STORES
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan import starting
from vmops.core.plan.checks import check_boot, check_read, check_unused
from vmops.core.plan.guards import block_of
from vmops.core.plan.life import KILL, booting, clearing, ending
from vmops.core.plan.live.interfaces import plugging_of
from vmops.core.plan.moving import cold
from vmops.core.plan.moving.behind import files_of
from vmops.core.plan.moving.course import Act, Ends, Next, Side
from vmops.core.plan.moving.live import plan_of, still
from vmops.core.plan.phase import Phase, Plan
from vmops.core.plan.stopping import Manner
from vmops.core.script.command import Batch, Step
from vmops.core.tools import process
from vmops.errors import WorkFailed


def is_one_folder(one: Worker, other: Worker) -> bool:
    """True where hosts.toml says that both workers keep disks in the same folder."""
    return one.shared_images is not None and one.shared_images == other.shared_images


def next_act(vm: str, ends: Ends, source: Observed, destination: Observed) -> Next:
    """What is next, told by what both workers see. `expect` stands for the mark that says where the
    VM is, which it lacks as it has run since before the folder was shared; `leave` for the change
    of that mark. While it says `source`, a QEMU at the destination is one that waits for memory
    that does not come any more: `drop`. When it says `destination`, one at the source has sent all:
    `end`; then the guest runs there (`wake`), and ports here go (`clear`)."""
    here, there = source.moves.get(vm), destination.moves.get(vm)
    if (here and here.text) != (there and there.text):
        why = f"{ends.destination} does not see in ~/vm_images what {ends.source} sees"
        cure = "mount the same folder on both; if somebody moves it now, try again"
        return Next("blocked", why=why, cure=cure)
    if here is None or there is None:
        return Next("expect")
    if here.how == "at" and destination.vm(vm).process is not None:
        return Next("drop")
    if here.how == "at":
        return Next("leave", ran=here.ran or source.vm(vm).process is not None)
    if there.how == "at":
        if source.vm(vm).process is not None:
            return Next("end")
        if there.ran:
            act: Act = "start" if destination.vm(vm).process is None else "wake"
            return Next(act, ran=True)
        return Next("clear" if source.vm(vm).directory else "done")
    what = f"its mark says: {here.how} {here.peer}"
    return Next("blocked", why=what, cure=f"first: fab migrate --vm {vm} --to {here.peer}")


def is_to_start(vm: str, side: Side, observed: Observed) -> bool:
    """True where a move was cut when the VM had come, before it was started."""
    mark = observed.moves.get(vm)
    return not side.runs and mark is not None and mark.how == "at" and mark.ran


def check_comes(
    worker: Worker, vm: VM, observed: Observed, source: Observed, *, starts: bool
) -> None:
    """Raise for what keeps the VM from coming to this worker; it has to see the same disks."""
    check_read(worker, vm, observed, STORES)
    lacking = set(files_of(vm, source)) - set(files_of(vm, observed))
    if lacking:
        raise WorkFailed(
            f"it does not see {', '.join(sorted(lacking))}",
            worker=worker.name,
            vm=vm.name,
            cure="mount there what the other worker has at that place",
        )
    closed = {
        path: tuple(image._replace(held=0, holders=()) for image in chain)
        for path, chain in observed.images.items()
    }
    marks = {name: one for name, one in observed.moves.items() if name != vm.name}
    seen = observed._replace(images=closed, moves=marks)
    if starts:
        starting.launch(worker, vm, seen)
    else:
        check_boot(worker, vm, seen, room=False)


def claim(worker: Worker, vm: VM) -> Plan:
    """Mark the VM as being at this worker, unless it is marked by now."""
    steps = shared.claiming(vm.name, worker.name, None, shares=True)
    return Plan(vm, "move", (Phase(worker.name, block_of(vm, steps, guards=(), change="claim")),))


def hand_over(
    worker: Worker, vm: VM, observed: Observed, *, to: str, ran: bool, manner: Manner
) -> Plan:
    """Stop the VM on this worker, and change its mark: from then on it is the other one's."""
    return cold.leave(worker, vm, observed, shared.at(to, ran=ran), manner=manner)


# One that goes on running


def receive(worker: Worker, vm: VM, observed: Observed, source: Observed) -> Plan:
    """Plug, and start a QEMU that waits for the memory of the one at the source. Its guest cannot
    run here while the mark says that the VM is there."""
    check_unused(worker, vm, observed)
    running = source.vm(vm.name).process
    assert running is not None, "only what runs is received"
    plugs, _ = nic.plugging(plugging_of(worker, vm, observed), vm.connected, strict=True)
    steps: tuple[Step | Batch, ...] = (
        *clearing(vm, observed),
        *plugs,
        *booting(worker, vm, observed, live=running),
        mirror.waiting(vm.name, ()),
    )
    guards = (process.not_running(vm.name), moving.guard(vm.name, observed.moves))
    return plan_of(worker, vm, steps, guards, change="receive")


def hand_over_live(worker: Worker, vm: VM, observed: Observed, *, to: str, tuning: Tuning) -> Plan:
    """Send its memory, and when the other one has said that it has all: change its mark, and end
    its QEMU here. Up to the mark whatever fails leaves it running here."""
    running = observed.vm(vm.name).process
    assert running is not None, "only what runs is moved live"
    steps = (
        mirror.handing_over(vm.name, (), tuning),
        moving.marking(vm.name, shared.at(to, ran=True)),
        *ending(vm.name, running, (KILL,)),
    )
    plan = plan_of(worker, vm, steps, still(vm, observed), change="leave")
    (phase,) = plan.phases
    return plan._replace(phases=(phase._replace(waits_s=mirror.MEMORY_LIMIT_S),))


def switch(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """All has come: its guest runs here, and the mark says no more that it is to."""
    steps = (
        mirror.taking(vm.name, mirrored=False),
        mirror.running_on(vm.name),
        moving.marking(vm.name, shared.at(worker.name)),
    )
    return plan_of(worker, vm, steps, still(vm, observed), change="arrive")


def wake(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """The same where it was cut, which may have been when the guest ran."""
    if cold.memory_of(vm, observed) == "loaded":
        return switch(worker, vm, observed)
    steps = (moving.marking(vm.name, shared.at(worker.name)),)
    return plan_of(worker, vm, steps, still(vm, observed), change="arrive")


def drop(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """End what waits here for the VM, which stays where its mark says."""
    running = observed.vm(vm.name).process
    assert running is not None, "only what waits is dropped"
    steps = (*ending(vm.name, running, (KILL,)), *cold.leftovers(vm, observed))
    return plan_of(worker, vm, steps, still(vm, observed), change="give up")


def clear(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Remove ports and the run directory of a VM that has left without being stopped."""
    guards = (process.not_running(vm.name), moving.guard(vm.name, observed.moves))
    return plan_of(worker, vm, cold.leftovers(vm, observed), guards, change="clear")


def back_to_life(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Let its guest run on here, whose memory was sent in vain."""
    steps = (mirror.back_to_life(vm.name),)
    return plan_of(worker, vm, steps, still(vm, observed), change="settle")
