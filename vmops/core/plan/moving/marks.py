"""What a mark of a move keeps from being done on its worker, and what is said of it."""

from __future__ import annotations

from vmops.core.devices.storage.moving import Mark
from vmops.core.facts.images import MOVES
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.checks import check_read
from vmops.errors import LaunchFailed, WorkFailed


def said(vm: str, worker: str, mark: Mark) -> tuple[str, str]:
    """What the mark of a VM says, and how to go on."""
    if mark.how == "left":
        return (
            f"it was moved from {worker} to {mark.peer}",
            f'set worker = "{mark.peer}" in hosts.toml;'
            f" or back: fab migrate --vm {vm} --to {worker}",
        )
    if mark.how == "leaving":
        return (
            f"it is on its way from {worker} to {mark.peer}",
            f"to go on: fab migrate --vm {vm} --to {mark.peer};"
            f" or back: fab migrate --vm {vm} --to {worker}",
        )
    if mark.how == "staying":
        return (
            f"it is on its way back to {worker}, which it was leaving for {mark.peer}",
            f"to go on: fab migrate --vm {vm} --to {worker}",
        )
    if mark.how == "expected":
        return (
            f"it is on its way from {mark.peer} to {worker}",
            f"to go on: fab migrate --vm {vm} --to {worker};"
            f" or back: fab migrate --vm {vm} --to {mark.peer}",
        )
    return (
        f"a mark on {worker} says that it is between two workers, and cannot be read",
        f"look at it there: ~/vm_images/.vmops/moving-{vm}",
    )


def check_may_start(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise LaunchFailed where the VM is on its way to another worker, or from one."""
    check_read(worker, vm, observed, MOVES)
    mark = observed.moves.get(vm.name)
    if mark is not None:
        what, cure = said(vm.name, worker.name, mark)
        raise LaunchFailed(what, worker=worker.name, vm=vm.name, cure=cure)


def check_may_remove(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise WorkFailed where disks of the VM on this worker are part of a move."""
    check_read(worker, vm, observed, MOVES)
    mark = observed.moves.get(vm.name)
    if mark is not None and mark.how != "left":
        what, cure = said(vm.name, worker.name, mark)
        raise WorkFailed(what, worker=worker.name, vm=vm.name, cure=cure)


def as_it_comes_back(vm: str, observed: Observed) -> Observed:
    """The worker for who moves the VM there: that it has left it once keeps it from being started
    there, and not from being moved there again."""
    mark = observed.moves.get(vm)
    if mark is None or mark.how != "left":
        return observed
    return observed._replace(moves={n: one for n, one in observed.moves.items() if n != vm})


def notes(vm: str, worker: str, observed: Observed) -> tuple[str, ...]:
    """What `status` says of a VM with a mark."""
    mark = observed.moves.get(vm)
    if mark is None:
        return ()
    what, cure = said(vm, worker, mark)
    return (f"{vm}: {what}; {cure}",)
