"""A VM on its way between two workers that share the folder of its disks. Pure decisions.

Nothing is copied: the one mark in that folder, which says where the VM is, names the other worker.
That is changed by the worker where it is, under the VM's lock there, when its QEMU has ended; so
at any moment one worker may start it (tests/unit/test_shared_model.py).
"""

from __future__ import annotations

from vmops.core.devices.storage import shared
from vmops.core.facts.images import STORES
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan import starting
from vmops.core.plan.checks import check_boot, check_read
from vmops.core.plan.guards import block_of
from vmops.core.plan.moving import cold
from vmops.core.plan.moving.course import Ends, Next, Side
from vmops.core.plan.phase import Phase, Plan
from vmops.core.plan.stopping import Manner
from vmops.errors import WorkFailed


def is_one_folder(one: Worker, other: Worker) -> bool:
    """True where hosts.toml says that both workers keep disks in the same folder."""
    return one.shared_images is not None and one.shared_images == other.shared_images


def next_act(vm: str, ends: Ends, source: Observed, destination: Observed) -> Next:
    """What is next, told by what both workers see. `expect` stands for the mark that says where the
    VM is, which it lacks as it has run since before the folder was shared; `leave` for the change
    of that mark."""
    here, there = source.moves.get(vm), destination.moves.get(vm)
    if (here and here.text) != (there and there.text):
        why = f"{ends.destination} does not see in ~/vm_images what {ends.source} sees"
        cure = "mount the same folder on both; if somebody moves it now, try again"
        return Next("blocked", why=why, cure=cure)
    if here is None or there is None:
        return Next("expect")
    if here.how == "at":
        return Next("leave", ran=here.ran or source.vm(vm).process is not None)
    if there.how == "at":
        starts = there.ran and destination.vm(vm).process is None
        return Next("start" if starts else "done", ran=starts)
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
    lacking = set(cold.files_of(vm, source)) - set(cold.files_of(vm, observed))
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
