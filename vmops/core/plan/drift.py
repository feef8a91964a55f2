"""Where a running VM and its entry in the inventory differ, field by field. Pure comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vmops.core.devices.exposure import is_loopback
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Nic, Worker
from vmops.core.names import vm_uuid
from vmops.core.tools import ovs, qemu

UNSET_LISTEN = "127.0.0.1"
"""Where VNC listens when the inventory does not say: the worker's loopback."""


class Drift(NamedTuple):
    """One field: what runs and what is wanted. `live` when it can change without a restart."""

    field: str
    running: str
    wanted: str
    live: bool = False

    def is_of(self, fields: Sequence[str]) -> bool:
        """True when the field is one of these, or a part of one."""
        return any(self.field == field or self.field.startswith(f"{field}.") for field in fields)

    def __str__(self) -> str:
        return f"{self.field}: {self.running} -> {self.wanted}"


def accel_of(worker: Worker, observed: Observed) -> str:
    """The accelerator to use: "auto" is kvm where the worker's /dev/kvm can be opened."""
    if worker.accel != "auto":
        return worker.accel
    return "kvm" if observed.host.kvm == "usable" else "tcg"


def launch_values(worker: Worker, vm: VM, observed: Observed) -> qemu.Launch:
    """What this worker adds to the VM's command line.

    On loopback, where every user of the worker could connect, VNC asks for a one-time password,
    whoever says that it listens there. On another address it is open, as the documented system's.
    """
    listen = worker.vnc_listen or UNSET_LISTEN
    return qemu.Launch(
        accel=accel_of(worker, observed),
        image=observed.image_path(vm.qcow_image),
        vnc_listen=listen,
        vnc_password=is_loopback(listen),
        uid=qemu.uid_for(vm, whole_range=observed.host.whole_uid_range),
    )


def drift(worker: Worker, vm: VM, observed: Observed) -> tuple[Drift, ...]:
    """The differences between the running VM and the wanted one; empty when it does not run."""
    running = observed.vm(vm.name)
    if running.process is None:
        return ()
    line = running.command_line
    launch = launch_values(worker, vm, observed)
    wanted = qemu.parse([qemu.BINARY, "-vnc", qemu.vnc_option(vm, launch)])
    number = vm.vm_id if line.uuid == vm.uuid else _vm_id(vm.name, line)
    pairs = (
        ("vm_id", number, vm.vm_id),
        ("accel", line.accel, launch.accel),
        ("ram_mb", line.ram_mb, vm.ram_mb),
        ("cores", line.cores, vm.cores),
        ("vnc_listen", line.vnc_address, wanted.vnc_address),
        ("vnc_password", line.vnc_password, wanted.vnc_password),
        ("vnc_port", line.vnc_port, vm.vnc_port),
        ("qcow_image", line.image, launch.image),
    )
    found = [Drift(name, _word(has), _word(want)) for name, has, want in pairs if has != want]
    has = {nic.tap: nic for nic in line.nics}
    return (*found, *_nic_drift(worker, vm, has, observed))


def _vm_id(name: str, line: qemu.CommandLine) -> int | str:
    """The number that a running VM's uuid was made of, if its TAPs tell it; else the uuid."""
    for nic in line.nics:
        number = nic.tap.removeprefix("tap_").partition("_")[0]
        if number.isdecimal() and vm_uuid(name, int(number)) == line.uuid:
            return int(number)
    return f"that of uuid {line.uuid or 'none'}"


def _word(value: object) -> str:
    """A value as QEMU's options have it."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _nic_drift(
    worker: Worker, vm: VM, has: Mapping[str, qemu.RunningNic], observed: Observed
) -> list[Drift]:
    found = []
    for nic in vm.connected:
        where = f"interfaces.{nic.name}"
        if nic.tap not in has:
            found.append(Drift(where, "not in the VM", "connected"))
            continue
        device = qemu.DEVICES.get(nic.model, nic.model)
        if has[nic.tap].device != device:
            found.append(Drift(f"{where}.model", has[nic.tap].device, device))
        if has[nic.tap].mac != nic.mac:
            found.append(Drift(f"{where}.mac", has[nic.tap].mac, nic.mac))
        found.extend(port_drift(worker, vm, nic, observed))
    known = {nic.tap for nic in vm.connected}
    extra = [tap for tap in has if tap not in known]
    return [*found, *(Drift("interfaces", f"{tap} in the VM", "not connected") for tap in extra)]


def port_drift(worker: Worker, vm: VM, nic: Nic, observed: Observed) -> list[Drift]:
    """How one interface's TAP and port differ from what is wanted; empty when it is plugged."""
    where = f"interfaces.{nic.name}"
    if nic.tap not in observed.taps:
        return [Drift(f"{where}.tap", "missing", nic.tap)]
    if observed.switch.fault:
        return [Drift(f"{where}.port", "unknown", nic.tap, live=True)]
    port = observed.switch.ports.get(nic.tap)
    if port is None:
        return [Drift(f"{where}.port", "missing", nic.tap, live=True)]
    pairs = (
        ("bridge", port.bridge, worker.bridge),
        ("vlan_id", _vlan(port), str(nic.vlan_id)),
        ("owner", port.owner or "nobody", vm.name),
        ("port", port.error or "plugged", "plugged"),
    )
    return [Drift(f"{where}.{name}", a, b, live=True) for name, a, b in pairs if a != b]


def _vlan(port: ovs.Port) -> str:
    """The VLAN as a word: a port with trunks or a mode of its own is no plain access port."""
    if port.tag is None:
        return f"trunk {list(port.trunks) or 'of all VLANs'}"
    if port.trunks or port.vlan_mode not in ("", "access"):
        return f"{port.tag} with {port.vlan_mode or 'trunks'} {list(port.trunks)}"
    return str(port.tag)
