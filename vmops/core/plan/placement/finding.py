"""Where a VM is that hosts.toml gives no worker. A pure decision."""

from __future__ import annotations

from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan.moving.marks import is_gone
from vmops.core.plan.placement.choice import Asked, Choice
from vmops.core.plan.placement.home import home, is_there, without_left
from vmops.errors import NotAsked, WorkFailed


def find(asked: Asked, vms: tuple[VM, ...]) -> list[Choice]:
    """For each VM, in order, the worker on which it runs, else the one that has its disk or memory.

    Neither a worker nor an error is that no worker has anything of it.
    """
    return [_found(asked, vm) for vm in vms]


def _found(asked: Asked, vm: VM) -> Choice:
    runs = [name for name, seen in asked.seen.items() if is_there(vm.name, seen)]
    if len(runs) > 1:
        # The one to end is not where the mark in a folder that they share says the VM is.
        runs.sort(key=lambda name: is_gone(asked.seen[name].moves.get(vm.name)))
        return twice(vm, runs)
    if runs:
        return Choice(vm, runs[0], "it runs there")
    if asked.unasked:
        names = ", ".join(asked.unasked)
        what = f"{vm.name} may run on {names}, which could not be asked"
        cure, reasons = "say where it is: -H WORKER", [*asked.unasked.values()]
        return Choice(vm, error=NotAsked(what, reasons=reasons, vm=vm.name, cure=cure))
    homes = {name: why for name, seen in asked.seen.items() if (why := _has(vm, seen))}
    return _at_home(vm, without_left(vm, homes, asked.seen))


def _at_home(vm: VM, homes: dict[str, str]) -> Choice:
    if not homes:
        return Choice(vm)
    if len(homes) > 1:
        return Choice(vm, error=in_doubt(vm, homes))
    ((name, why),) = homes.items()
    return Choice(vm, name, f"{why} is there")


def _has(vm: VM, seen: Observed) -> str:
    """What the worker has of it; a run directory is what a VM leaves behind that has ended."""
    return home(vm, seen) or ("what it left" if seen.vm(vm.name).directory else "")


def twice(vm: VM, workers: list[str]) -> Choice:
    """The choice for a VM that runs on several workers; it is to be ended on the last of them."""
    what = f"it runs on {' and on '.join(workers)}"
    return Choice(vm, error=WorkFailed(what, vm=vm.name, cure=end_one(vm.name, workers[-1])))


def end_one(vm: str, worker: str) -> str:
    """The cure for a VM that runs twice, wherever hosts.toml has it."""
    return f"to end one: fab -H {worker} stop --vm {vm} --elsewhere"


def in_doubt(vm: VM, homes: dict[str, str]) -> WorkFailed:
    """The error for a VM that several workers have something of."""
    what = ", and ".join(f"{why} is on {name}" for name, why in homes.items())
    return WorkFailed(
        f"{what}: which of them it is to go on with is not known",
        vm=vm.name,
        cure="say it with -H WORKER, or pin it: worker = ... in its section of hosts.toml",
    )
