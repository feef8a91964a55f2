"""Marks that a VM has left a worker, and that lead nowhere: what they led to is gone. Pure.

Such a mark keeps the VM from being started there, and says where it would be found.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmops.core.devices.storage import moving
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.guards import block_of
from vmops.core.plan.moving.behind import files_of
from vmops.core.plan.phase import Phase, Plan
from vmops.core.plan.placement.home import is_there, kept
from vmops.core.tools import process


def leading_nowhere(vm: VM, seen: Mapping[str, Observed]) -> list[str]:
    """The workers whose mark of the VM leads nowhere: `seen` is what every worker has said, and
    none of them runs it, or has anything of it. What it has left behind is nothing."""
    marks = {name: one.moves[vm.name] for name, one in seen.items() if vm.name in one.moves}
    if any(mark.how != "left" for mark in marks.values()):
        return []
    if any(_has(vm, one, has_left=name in marks) for name, one in seen.items()):
        return []
    # One that hosts.toml does not have may have all of the VM.
    return [name for name in marks if _end(name, {n: mark.peer for n, mark in marks.items()}, seen)]


def _end(name: str, peers: Mapping[str, str], seen: Mapping[str, Observed]) -> bool:
    """True where the marks lead from this worker to one that was seen and has none."""
    trail = [name]
    while (peer := peers.get(trail[-1])) is not None:
        if peer not in seen or peer in trail:
            return False
        trail.append(peer)
    return True


def _has(vm: VM, seen: Observed, *, has_left: bool) -> bool:
    if is_there(vm.name, seen) or kept(vm.name, seen):
        return True
    return not has_left and bool(files_of(vm, seen))


def forget(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Remove the mark, if it is still the one that was seen."""
    guards = (process.not_running(vm.name), moving.guard(vm.name, observed.moves))
    block = block_of(vm, (moving.unmarking(vm.name),), guards=guards, change="destroy")
    return Plan(vm, "forget", (Phase(worker.name, block),))
