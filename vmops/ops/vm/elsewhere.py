"""VMs that run on a worker which is not theirs: hosts.toml has moved them, and they have not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan import vm as plan
from vmops.core.plan.vm import Plan
from vmops.errors import LaunchFailed, VmopsError, WorkerUnreachable
from vmops.ops.route import Group


class _Home(NamedTuple):
    """Where a VM belongs, and by what its QEMU is known."""

    worker: str
    uuid: str


class Elsewhere:
    """What the workers of one run have shown of each other's VMs, each in its own look.

    No worker waits for the others: what another one shows first keeps a VM from being started, what
    it shows later is told when all are done.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._homes = {
            vm.name: _Home(group.route.worker.name, vm.uuid) for group in groups for vm in group.vms
        }
        self._seen: dict[str, str] = {}

    def look(self, worker: Worker, observed: Observed) -> None:
        """Note what runs on this worker and belongs to another one."""
        for name, running in observed.vms.items():
            home = self._homes.get(name)
            if home is None or home.worker == worker.name or running.process is None:
                continue
            if running.command_line.uuid == home.uuid:
                self._seen[name] = worker.name

    def launch(self, worker: Worker, vm: VM, observed: Observed, **terms: bool) -> Plan:
        """The plan of `plan.launch`. Raises LaunchFailed too for a VM that is known to run
        elsewhere: two with one MAC on one VLAN would take each other's frames."""
        self.look(worker, observed)
        reason = self.reason(vm.name)
        if reason is not None:
            raise reason
        return plan.launch(worker, vm, observed, **terms)

    def worse(self, vm: str, error: VmopsError | None) -> VmopsError | None:
        """What is wrong with the VM: that it runs elsewhere goes before any other `error` but that
        its own worker was not reached."""
        if isinstance(error, WorkerUnreachable):
            return error
        return self.reason(vm) or error

    def reason(self, vm: str) -> LaunchFailed | None:
        """That the VM runs elsewhere, with the cure, or None."""
        where = self._seen.get(vm)
        if where is None:
            return None
        home = self._homes[vm].worker
        return LaunchFailed(
            f"{vm} runs on {where}, and hosts.toml has it on {home}",
            worker=home,
            cure=f"to end it there: fab -H {where} stop --vm {vm} --elsewhere",
        )
