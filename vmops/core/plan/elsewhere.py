"""VMs that run on another worker than theirs: hosts.toml has moved them, and they have not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.facts.observed import Asked, Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.facts.wiring import DRAINED
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.moving.marks import AwayError
from vmops.core.plan.phase import Plan
from vmops.errors import LaunchFailed, NotAsked, VmopsError, WorkFailed

Ran = Mapping[str, RunningVM]
"""What runs on one worker, by the VM's name."""


class Elsewhere(NamedTuple):
    """What workers have said of what runs on them, by the worker's name; of those that could not be
    asked why; and which are drained."""

    seen: Mapping[str, Ran] = MappingProxyType({})
    unasked: Mapping[str, VmopsError] = MappingProxyType({})
    drained: frozenset[str] = frozenset()

    def checked(self, worker: Worker, vm: VM, found: Plan | WorkFailed) -> Plan | WorkFailed:
        """The same plan or error, unless the VM runs elsewhere, or would be started where it may:
        then that is the error. One that was taken from there by a move is no slip of hosts.toml:
        that it was is the error."""
        if isinstance(found, AwayError):
            return found
        try:
            self.check_seen(worker, vm)
            if isinstance(found, Plan) and found.action == "start":
                self.check_asked(worker, vm)
                self.check_open(worker, vm)
        except WorkFailed as refused:
            return refused
        return found

    @property
    def questions(self) -> tuple[Asked, ...]:
        """What a worker on which VMs are to be started is asked besides: nothing where the place
        was named."""
        return () if self is NOWHERE else (DRAINED,)

    def and_of(self, worker: Worker, seen: Observed) -> Elsewhere:
        """The same with what the worker itself has answered to that."""
        if seen.drained is None or seen.drained.is_open:
            return self
        return self._replace(drained=self.drained | {worker.name})

    def runs(self, vm: VM, worker: str, home: str) -> bool:
        """True where the VM was seen to run on that worker, which is not its home."""
        return worker != home and runs_among(self.seen.get(worker, {}), vm)

    def check_asked(self, worker: Worker, vm: VM) -> None:
        """Raise NotAsked where another worker than this one could not be asked."""
        unasked = {name: why for name, why in self.unasked.items() if name != worker.name}
        if unasked:
            raise may_run(vm, unasked, worker=worker.name)

    def check_open(self, worker: Worker, vm: VM) -> None:
        """Raise LaunchFailed where this worker is drained."""
        if worker.name in self.drained:
            raise LaunchFailed(
                f"{vm.name} is not started: {worker.name} is drained",
                worker=worker.name,
                vm=vm.name,
                cure=f"fab undrain --worker {worker.name};"
                f" or all the same: fab -H {worker.name} launch --vm {vm.name}",
            )

    def check_seen(self, worker: Worker, vm: VM) -> None:
        """Raise LaunchFailed where the VM was seen to run on another worker than this one: two with
        one MAC on one VLAN would take each other's frames."""
        where = [
            name for name, ran in self.seen.items() if name != worker.name and runs_among(ran, vm)
        ]
        if where:
            raise runs_at_another(vm, where[0], home=worker.name)


def may_run(vm: VM, unasked: Mapping[str, VmopsError], *, worker: str = "") -> NotAsked:
    """The error of a VM that is not started on that worker as it may run on those others."""
    return NotAsked(
        f"{vm.name} is not started: it may run on {', '.join(unasked)}, which could not be asked",
        reasons=[*unasked.values()],
        worker=worker,
        vm=vm.name,
        cure=f"if you know that it does not: fab launch --vm {vm.name} --here",
    )


def runs_at_another(vm: VM, there: str, *, home: str) -> LaunchFailed:
    """The error of a VM that runs on another worker than hosts.toml's."""
    return LaunchFailed(
        f"{vm.name} runs on {there}, and hosts.toml has it on {home}",
        worker=home,
        vm=vm.name,
        cure=f'if it is to stay there: set worker = "{there}" in hosts.toml;'
        f" to end it there: fab -H {there} stop --vm {vm.name} --elsewhere",
    )


def runs_among(ran: Ran, vm: VM) -> bool:
    """True where the VM is among those that run. One of the same name that is another machine has
    another UUID."""
    running = ran.get(vm.name)
    return (
        running is not None and running.process is not None and running.command_line.uuid == vm.uuid
    )


def as_it_is_there(worker: Worker, vm: VM, observed: Observed) -> VM:
    """The VM as it is to be on that worker. Away from where hosts.toml has it, it has no `vnc_port`
    where another has that port, or where it runs without: hosts.toml keeps ports apart on each
    worker, and not between them."""
    if vm.vnc_port is None or vm.worker in (None, worker.name):
        return vm
    running = observed.vm(vm.name)
    if running.process is not None:
        gives_up = bool(running.command_line.screen.path)
    else:
        gives_up = vm.vnc_port in observed.listening
    return replace(vm, vnc_port=None) if gives_up else vm


NOWHERE = Elsewhere()
"""Where nobody was asked: the place was named."""
