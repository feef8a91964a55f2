"""How a VM ended, for those who were watching it."""

from __future__ import annotations

from vmops.core.facts import observed as facts
from vmops.core.facts.observed import RunningVM
from vmops.core.names import RunDirectory
from vmops.core.script.script import LOCK_WAIT_S
from vmops.core.tools.process import Process
from vmops.errors import UnexpectedOutput
from vmops.ops.act import perform
from vmops.ops.route import Route


def settled(route: Route, vm: str) -> RunningVM:
    """The VM as it is when nobody is changing it: one that is being stopped looks like a crash.

    Raises as `perform` does.
    """
    block = facts.ask_running()._replace(lock=RunDirectory(vm).lock)
    (seen,) = perform(route, [block], time_limit_s=LOCK_WAIT_S * 2)
    try:
        return facts.read_running(seen).get(vm, RunningVM(vm))
    except ValueError as unreadable:
        raise UnexpectedOutput(str(unreadable), worker=route.worker.name) from unreadable


def has_ended(running: RunningVM, was: Process) -> bool:
    """True when the VM's QEMU is not that process any more."""
    return running.process is None or running.process.started != was.started


def in_words(running: RunningVM) -> str:
    """What became of a VM whose QEMU has ended."""
    if running.process is not None:
        return "was stopped, and launched anew"
    return "has crashed" if running.state == "crashed" else "has stopped"
