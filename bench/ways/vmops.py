"""vmops: as `fab`, two cold processes, and as a library on a connection that is open."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchFailed
from bench.place import ROOT, Place
from bench.processes import Call, Processes
from bench.ways.shell import by_worker
from bench.ways.way import Way
from vmops import load
from vmops.core.inventory.model import VM
from vmops.core.plan.status import VMStatus
from vmops.core.plan.stopping import KILLED
from vmops.ops.route import Route
from vmops.ops.vm import lifecycle, stopping
from vmops.ops.vm.outcome import Outcome
from vmops.remote.ssh.connection import close_all

Operate = Callable[[Route, Sequence[VM]], Sequence[Outcome | VMStatus]]

FAB = str(Path(sys.executable).with_name("fab"))


def fab(place: Place, *words: str) -> Call:
    """A cold `fab` from the project's folder."""
    return Call((FAB, *words), environment=place.environment(), directory=str(ROOT))


def cold(place: Place, vms: Sequence[VM]) -> Way:
    """`fab launch`, then `fab stop --force`."""
    names = ",".join(vm.name for vm in vms)
    return Way(
        "vmops",
        "vmops: fab launch, fab stop --force",
        Processes([[fab(place, "launch", "--vm", names)]]),
        Processes([[fab(place, "stop", "--force", "--vm", names)]]),
    )


def whole_inventory(place: Place, vms: Sequence[VM]) -> Way:
    """`fab up`, then `fab down --force`: the VMs are the whole inventory."""
    return Way(
        "vmops",
        "vmops: fab up, fab down --force",
        Processes([[fab(place, "up")]]),
        Processes([[fab(place, "down", "--force")]]),
    )


def warm(place: Place, vms: Sequence[VM]) -> Way:
    """`vmops.ops.vm.lifecycle` in this very process; the connection is open before."""
    stop = Operation(place, kill, vms)
    return Way(
        "library",
        "vmops as a library, connection open",
        Operation(place, lifecycle.launch, vms),
        stop,
        opened=stop,
        closed=close_all,
    )


def kill(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Stop by force; of VMs that are not there nothing is left but an open connection."""
    return stopping.stop(route, vms, manner=KILLED)


@dataclass(frozen=True, slots=True)
class Operation:
    """Work in this very process."""

    place: Place
    operate: Operate
    vms: Sequence[VM]

    def __call__(self) -> None:
        """Do it. Raises BenchFailed."""
        inventory = load(self.place.inventory)
        for worker, mine in by_worker(self.vms).items():
            for outcome in self.operate(Route(inventory.worker(worker)), mine):
                if outcome.error is not None or (isinstance(outcome, Outcome) and outcome.skipped):
                    raise BenchFailed(f"{outcome.vm}: {outcome}")

    def weigh(self) -> int:
        """Do it; the memory is that of the bench itself, so it is not told."""
        self()
        return 0
