"""How a VM ended, for those who were watching it."""

from __future__ import annotations

from vmops.core.facts.vms import RunningVM
from vmops.core.names import RunDirectory
from vmops.core.tools.process import Process
from vmops.ops.act import running
from vmops.ops.route import Route


def settled(route: Route, vm: str) -> RunningVM:
    """The VM as it is when nobody is changing it: one that is being stopped looks like a crash.

    Raises as `act.running` does.
    """
    return running(route, [vm], lock=RunDirectory(vm).lock)[vm]


def has_ended(now: RunningVM, was: Process) -> bool:
    """True when the VM's QEMU is not that process any more."""
    return now.process is None or now.process.started != was.started


def in_words(now: RunningVM) -> str:
    """What became of a VM whose QEMU has ended."""
    if now.process is not None:
        return "was stopped, and launched anew"
    return "has crashed" if now.state == "crashed" else "has stopped"
