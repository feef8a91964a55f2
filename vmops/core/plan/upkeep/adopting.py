"""Taking over a QEMU that another system, or a hand, has started. Pure decisions.

Nothing is done to the process: its TAPs and ports get the VM's mark, and the run directory a record
of who it is. From then on it is seen, guarded and ended like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from posixpath import basename
from typing import NamedTuple

from vmops.core.devices import machine
from vmops.core.devices.machine import CommandLine
from vmops.core.facts.observed import Observed
from vmops.core.facts.strangers import QEMUS
from vmops.core.facts.wiring import TAPS
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.checks import check_read, switch_fault
from vmops.core.plan.guards import block_of
from vmops.core.plan.life import RUN_DIRECTORY, clearing
from vmops.core.plan.phase import Phase, Plan
from vmops.core.script.command import Step, command
from vmops.core.tools import ip, ovs, process
from vmops.core.tools.process import Process
from vmops.errors import WorkFailed

MARK = "mark"


class Meant(NamedTuple):
    """What the operator has said: which process, if any, and the VMs of hosts.toml by name.

    A VM that is not among them is known by its name alone. Without `listed` each one is.
    """

    pid: int = 0
    listed: Mapping[str, VM] | None = None

    def is_lost(self, vm: VM) -> bool:
        """True for a VM that hosts.toml does not have."""
        return self.listed is not None and vm.name not in self.listed

    def owner(self, tap: str, worker: Worker) -> str:
        """The VM that has this TAP in hosts.toml, on that worker; or empty."""
        for vm in (self.listed or {}).values():
            if vm.worker in (None, worker.name) and tap in {nic.tap for nic in vm.nics}:
                return vm.name
        return ""


UNSAID = Meant()


def adopt(worker: Worker, vm: VM, observed: Observed, *, meant: Meant = UNSAID) -> Plan:
    """Take over the VM's QEMU: that process, or the only one whose command line tells that it is.

    One that hosts.toml does not have is told by its name, or named by whoever says the process.
    Raises WorkFailed where it is not clear which one that is, or something of it is another VM's.
    """
    pid = meant.pid
    check_read(worker, vm, observed, QEMUS, TAPS)
    if observed.switch.fault:
        raise switch_fault(worker, observed)
    running = observed.vm(vm.name)
    if running.odd:
        raise running.doubt(worker.name)
    if running.process is not None:
        if pid in (0, running.process.pid):
            return Plan(vm, "nothing")
        raise _refused(worker, vm, f"it runs already, with PID {running.process.pid}")
    found = _chosen(worker, vm, observed, meant)
    line = machine.parse(found.argv)
    if meant.is_lost(vm):
        _check_taps(worker, vm, line, meant)
    marks = _marks(worker, vm, observed, line)
    taps = [nic.tap for nic in line.nics]
    holds = (Step("its TAPs", (process.holds_taps(found, taps),)),) if taps else ()
    record = process.adopt(vm.name, found)
    steps = (
        *holds,
        *clearing(vm, observed),
        *marks,
        Step(RUN_DIRECTORY, (record,), undo=(command("remove_run_directory", vm.name),)),
    )
    guards = (process.not_running(vm.name), process.is_still(found))
    block = block_of(vm, steps, guards=guards, change="adopt")
    return Plan(vm, "adopt", (Phase(worker.name, block),), notes=_lacks(vm, found, observed, meant))


def _check_taps(worker: Worker, vm: VM, line: CommandLine, meant: Meant) -> None:
    for nic in line.nics:
        if owner := meant.owner(nic.tap, worker):
            why = f"its TAP {nic.tap} is that of {owner} in hosts.toml"
            raise _refused(worker, vm, why, f"take it over under that name: fab adopt --vm {owner}")


def _chosen(worker: Worker, vm: VM, observed: Observed, meant: Meant) -> Process:
    pid = meant.pid
    told = [each for each in observed.qemus.values() if _tells(vm, observed, each, meant)]
    of_others = {name: each.process.pid for name, each in observed.vms.items() if each.process}
    if pid:
        if pid not in observed.qemus:
            raise _refused(worker, vm, f"there is no process {pid}")
        found = observed.qemus[pid]
        if not _is_qemu(found):
            raise _refused(worker, vm, f"PID {pid} is no QEMU")
        if found not in told:
            raise _refused(
                worker, vm, f"PID {pid} does not tell that it is {vm.name}: {_what_it_tells(found)}"
            )
        told = [found]
    told = [each for each in told if each.pid not in of_others.values()]
    if not told and pid:
        (whose,) = [name for name, other in of_others.items() if other == pid]
        raise _refused(worker, vm, f"PID {pid} is the QEMU of {whose}")
    if not told:
        raise _refused(
            worker,
            vm,
            "no QEMU there tells that it is this VM: none has its -name"
            + ("" if meant.is_lost(vm) else ", a TAP of its or its image"),
            "say which it is: --pid; see what runs there: pgrep -fa qemu-system"
            if meant.is_lost(vm)
            else "",
        )
    if len(told) > 1:
        which = ", ".join(f"PID {each.pid} ({_what_it_tells(each)})" for each in told)
        raise _refused(worker, vm, f"several QEMUs may be it: {which}", "say which: --pid")
    if told[0].uid < 0:
        raise _refused(worker, vm, f"PID {told[0].pid} has several user ids at once")
    return told[0]


def _refused(worker: Worker, vm: VM, why: str, cure: str = "") -> WorkFailed:
    cure = cure or "see what runs there: pgrep -fa qemu-system"
    return WorkFailed(why, worker=worker.name, vm=vm.name, cure=cure)


def _is_qemu(found: Process) -> bool:
    return bool(found.argv) and basename(found.argv[0]).startswith(("qemu-system-", "kvm"))


def _tells(vm: VM, observed: Observed, found: Process, meant: Meant) -> bool:
    """True for a QEMU whose command line names the VM, a TAP of its, or its image: any of them
    suffices where none of them is another VM's. Of a VM that hosts.toml does not have no more is
    known than its name, and who says the process gives it to one that has none."""
    line = machine.parse(found.argv)
    if not _is_qemu(found) or line.name not in ("", vm.name):
        return False
    if meant.is_lost(vm):
        return line.name == vm.name or found.pid == meant.pid
    taps = {nic.tap for nic in line.nics} & {nic.tap for nic in vm.nics}
    return bool(line.name or taps or line.image == observed.image_path(vm.qcow_image))


def _what_it_tells(found: Process) -> str:
    line = machine.parse(found.argv)
    taps = ", ".join(nic.tap for nic in line.nics) or "none"
    return f"name {line.name or 'none'}, TAPs {taps}, image {line.image or 'none'}"


def _marks(worker: Worker, vm: VM, observed: Observed, line: CommandLine) -> Sequence[Step]:
    """The steps that put the VM's mark on its TAPs and ports; what has it already is left alone."""
    steps = []
    for nic in line.nics:
        tap, port = observed.taps.get(nic.tap), observed.switch.ports.get(nic.tap)
        owner = port.owner if port else ""
        mark = tap.alias if tap else ""
        if owner not in ("", vm.name) or mark not in ("", ip.alias(vm.name)):
            whose = owner if owner not in ("", vm.name) else mark.removeprefix(ip.alias(""))
            raise _refused(worker, vm, f"its TAP {nic.tap} belongs to {whose}")
        commands, undo = [], []
        if tap and not mark:
            commands.append(ip.mark(nic.tap, vm.name))
            undo.append(ip.unmark(nic.tap))
        if port and not owner:
            commands.append(ovs.mark(nic.tap, vm.name))
            undo.append(ovs.unmark(nic.tap))
        if commands:
            steps.append(Step(f"{MARK} {nic.tap}", tuple(commands), undo=tuple(undo)))
    return steps


def _lacks(vm: VM, found: Process, observed: Observed, meant: Meant) -> tuple[str, ...]:
    """What an adopted VM is without."""
    lacking = "it has no monitor, console or log that vmops knows"
    notes = [f"{vm.name}: {lacking}: it is seen, guarded and stopped (by SIGTERM), no more"]
    if found.uid == 0:
        notes.append(f"{vm.name}: its QEMU runs as root")
    if meant.is_lost(vm):
        line = machine.parse(found.argv)
        return (
            *notes,
            f"{vm.name}: hosts.toml does not have it; it runs with {_told(line, observed)}",
        )
    return (*notes, f"{vm.name}: a restart makes it one of vmops' own: fab restart --vm {vm.name}")


def _told(line: CommandLine, observed: Observed) -> str:
    """What a section of hosts.toml would say of it, as far as its command line and ports tell."""
    told = {"ram_mb": line.ram_mb, "cores": line.cores, "vnc_port": line.screen.port}
    words = [f"{key} = {value}" for key, value in told.items() if value]
    words += [f'qcow_image = "{line.image}"'] if line.image else []
    for nic in line.nics:
        port = observed.switch.ports.get(nic.tap)
        vlan = f", VLAN {port.tag}" if port is not None and port.tag is not None else ""
        words.append(f"the TAP {nic.tap} ({nic.mac or 'no MAC given'}{vlan})")
    return ", ".join(words) or "nothing that its command line tells"
