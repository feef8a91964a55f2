"""One VM as it is, from what its worker and its monitor say. Pure reading."""

from __future__ import annotations

from typing import NamedTuple

from vmops.core.devices.drift import Drift
from vmops.core.devices.nic import port_drift
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import VM, Nic, Worker
from vmops.core.inventory.networks.impairment import UNIMPAIRED, Impaired
from vmops.core.plan.checks import in_use
from vmops.core.plan.drift import drift
from vmops.core.plan.live.interfaces import cut_off
from vmops.core.plan.moving.marks import is_still_there
from vmops.core.tools import ovs, qmp
from vmops.core.tools.agent import Address
from vmops.core.tools.ip import Traffic
from vmops.core.tools.process import CLOCK_TICKS, Process
from vmops.errors import VmopsError


class InterfaceStatus(NamedTuple):
    """An interface as it is wanted, and whether it is plugged just so; None where Open vSwitch did
    not say.

    `port` is what Open vSwitch has of it, `traffic` what its TAP has carried; None without one.
    `fault` says in a word or two why it is not plugged so. With `trunks`, `vlan_id` is the VLAN
    without a tag. `logical_port` is its name in OVN, where that carries it. `impaired` is what is
    wrong with its line on purpose; None where that could not be read.
    """

    name: str
    tap: str
    bridge: str
    vlan_id: int | None
    mac: str
    plugged: bool | None
    port: ovs.Port | None = None
    traffic: Traffic | None = None
    fault: str = ""
    trunks: tuple[int, ...] = ()
    logical_port: str = ""
    impaired: Impaired | None = UNIMPAIRED

    @property
    def link(self) -> str:
        """`down` while its cable is pulled (`nic.down`), else `up`."""
        return "down" if self.port is not None and self.port.is_pulled else "up"


class VMStatus(NamedTuple):
    """One VM at one moment. `state` is running, paused, suspended, stopped, crashed or unknown.

    `unknown` comes with the `error` that says why. `monitor` is QEMU's own word, empty where it
    was not asked. `cpu_s` is the processor time that QEMU has used, `uptime_s` its age (None where
    the worker's clock of the uptime is not the kernel's, as in a container), and `memory_mb` what
    it keeps resident; 0 when there is none. `agent` is that one listens in the guest, None where
    it has no port for one; `addresses` are what that has said of them. `managed` is that the
    inventory has the VM; `home` the worker where it has it, if that is another one. `beside` is
    the other worker of a move, where this is a QEMU that only waits for the memory of the one
    there, or has sent it its own.
    """

    vm: str
    worker: str
    address: str
    state: str
    pid: int | None = None
    uptime_s: float | None = 0.0
    cpu_s: float = 0.0
    memory_mb: int = 0
    vnc: str = ""
    monitor: str = ""
    image: str = ""
    disks: tuple[qmp.Drive, ...] = ()
    agent: bool | None = None
    addresses: tuple[Address, ...] = ()
    interfaces: tuple[InterfaceStatus, ...] = ()
    drift: tuple[Drift, ...] = ()
    managed: bool = True
    home: str = ""
    error: VmopsError | None = None
    beside: str = ""

    @property
    def cpu_percent(self) -> float | None:
        """The processor time of QEMU's whole life; 100 is one CPU. See `cpu_since` as well."""
        if self.uptime_s is None:
            return None
        return round(100 * self.cpu_s / self.uptime_s, 1) if self.uptime_s > 0 else 0.0


def cpu_since(before: VMStatus | None, now: VMStatus) -> float | None:
    """The processor time between two looks in percent; of the whole life without a look before."""
    if before is None or before.pid != now.pid or before.uptime_s is None or now.uptime_s is None:
        return now.cpu_percent
    passed_s = now.uptime_s - before.uptime_s
    return (
        round(100 * (now.cpu_s - before.cpu_s) / passed_s, 1) if passed_s > 0 else now.cpu_percent
    )


def of(worker: Worker, vm: VM, seen: Observed) -> VMStatus:
    """A VM of the inventory, from the worker's facts alone."""
    found = _of_process(worker, seen.vm(vm.name), seen)
    used = in_use(worker, vm, seen)
    if used is not None:
        found = found._replace(state="unknown", error=used)
    return found._replace(
        image=found.image or seen.image_path(vm.qcow_image),
        interfaces=tuple(_interface(worker, vm, nic, seen) for nic in vm.nics),
        drift=drift(worker, vm, seen),
    )


def of_unmanaged(worker: Worker, name: str, seen: Observed) -> VMStatus:
    """A VM that has a run directory on the worker and is not of its inventory."""
    running = seen.vm(name)
    interfaces = []
    for nic in seen.nics(name):
        port = seen.switch.ports.get(nic.tap)
        interfaces.append(
            InterfaceStatus(
                name=nic.tap,
                tap=nic.tap,
                bridge=port.bridge if port else "",
                vlan_id=port.tag if port else None,
                mac=nic.mac,
                plugged=None
                if seen.switch.fault
                else port is not None and nic.tap in seen.taps and not port.error,
                port=port,
                traffic=seen.traffic.get(nic.tap),
                impaired=_impaired(nic.tap, seen),
            )
        )
    return _of_process(worker, running, seen)._replace(interfaces=tuple(interfaces), managed=False)


def with_look(status: VMStatus, look: qmp.Look | VmopsError) -> VMStatus:
    """The same VM with what its monitor said. What cannot be asked is `unknown`, not guessed."""
    if isinstance(look, VmopsError):
        return status._replace(state="unknown", error=look)
    state = qmp.state_of(look.status)
    return status._replace(state=state, monitor=look.status, disks=look.disks, agent=look.agent)


def _age_s(process: Process, seen: Observed) -> float | None:
    """A process counts its start from the boot of the kernel. In a container /proc/uptime may count
    from the container's start: what began before it has no age that can be told."""
    age_s = seen.host.uptime_s - process.started / CLOCK_TICKS
    return round(max(0.0, age_s), 2) if age_s > -1 else None


def _of_process(worker: Worker, running: RunningVM, seen: Observed) -> VMStatus:
    process = running.process
    if process is None:
        doubt = running.doubt(worker.name) if running.odd else None
        state = "suspended" if running.name in seen.suspended and not doubt else running.state
        return VMStatus(running.name, worker.name, worker.address, state, error=doubt)
    line = running.command_line
    return VMStatus(
        vm=running.name,
        worker=worker.name,
        address=worker.address,
        state=running.state,
        pid=process.pid,
        uptime_s=_age_s(process, seen),
        cpu_s=process.cpu_ticks / CLOCK_TICKS,
        memory_mb=process.rss_kib // 1024,
        vnc=str(line.screen),
        image=line.image,
        beside=seen.moves[running.name].peer if is_still_there(running.name, seen) else "",
    )


def _interface(worker: Worker, vm: VM, nic: Nic, seen: Observed) -> InterfaceStatus:
    fault = _fault(worker, vm, nic, seen)
    plugged = nic.attachment is not None and not fault
    return InterfaceStatus(
        name=nic.name,
        tap=nic.tap,
        bridge=ovs.bridge_of(nic, worker.bridge),
        vlan_id=nic.vlan_id,
        mac=nic.mac,
        plugged=None if nic.attachment is not None and seen.switch.fault else plugged,
        port=seen.switch.ports.get(nic.tap),
        traffic=seen.traffic.get(nic.tap),
        fault=fault,
        trunks=nic.interface.trunks,
        logical_port=nic.port,
        impaired=_impaired(nic.tap, seen),
    )


def _impaired(tap: str, seen: Observed) -> Impaired | None:
    known = seen.wiring.impaired
    return None if known is None else known.get(tap, UNIMPAIRED)


def _fault(worker: Worker, vm: VM, nic: Nic, seen: Observed) -> str:
    if nic.tap not in seen.taps:
        return "no TAP"
    if not seen.taps[nic.tap].up:
        return "TAP down"
    if nic in cut_off(vm, seen):
        return "cut off"
    if seen.switch.lifeless(ovs.bridge_of(nic, worker.bridge)):
        return "OVN is down" if nic.port and not seen.switch.dead else "dead switch"
    return "differs" if port_drift(worker, vm, nic, seen.wiring) else ""
