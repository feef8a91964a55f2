"""An interface: its TAP and port on the worker, its netdev and device in QEMU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.devices import impairing
from vmops.core.devices.drift import Drift
from vmops.core.devices.live.ports import NO_ROOM, Room
from vmops.core.inventory.attachment import LogicalPort
from vmops.core.inventory.model import VM, Nic, Worker
from vmops.core.inventory.networks.impairment import Impaired
from vmops.core.names import OVN_BRIDGE
from vmops.core.script.command import Batch, Command, OnlyIf, Step, command
from vmops.core.tools import ip, ovs, qemu
from vmops.errors import PortConflict

DEVICES: Mapping[str, str] = MappingProxyType({"virtio": "virtio-net-pci"})
"""The models of an interface whose name in hosts.toml is not that of QEMU's device."""

PLUG, PLUG_ALL, PLUGGED = "plug", "plug all", "plugged"
NETWORK = "network"
ANONYMOUS = "/machine/peripheral-anon/device"
"""Where QEMU has the devices that were given no id, before their number."""

UNPLUG, TAPS_GONE = "remove ports", "remove TAPs"


class Wiring(NamedTuple):
    """What a worker has of TAPs and of ports: the kernel's part and Open vSwitch's.

    `impaired` is what is at each TAP that has anything; None where that could not be read.
    """

    switch: ovs.Switch
    taps: Mapping[str, ip.Tap] = MappingProxyType({})
    impaired: Mapping[str, Impaired] | None = MappingProxyType({})


class Skip(NamedTuple):
    """An interface that is left out, and why."""

    interface: str
    reason: str


# QEMU's words


class RunningNic(NamedTuple):
    """An interface as QEMU has it. `card` is the id of its device, or where that is in QEMU's tree
    of objects; empty where neither is known.

    `mac` and `device` are empty where they are not known, and all three where QEMU has only the
    `netdev`, the back end, and no card in front of it. `cut_off` is that QEMU does not have the TAP
    open: it was removed under it, and one that is made anew leads nowhere.
    """

    tap: str
    mac: str
    device: str
    card: str = ""
    netdev: str = ""
    cut_off: bool = False

    @property
    def is_bare(self) -> bool:
        """True for a back end without a card."""
        return bool(self.netdev) and not self.device


def flag(nic: Nic) -> str:
    """The flag of the step that plugs this interface."""
    return f"nic{nic.position}"


def words(vm: VM) -> list[OnlyIf]:
    """The words for all interfaces; each takes part where the step that plugs it has succeeded."""
    return [OnlyIf(flag(nic), _words(number, nic)) for number, nic in enumerate(vm.connected)]


def _words(number: int, nic: Nic) -> tuple[str, ...]:
    return (
        *("-netdev", f"tap,id=net{number},ifname={qemu.escaped(nic.tap)},script=no,downscript=no"),
        *("-device", f"{device_of(nic)},netdev=net{number},mac={nic.mac}"),
    )


def device_of(nic: Nic) -> str:
    """QEMU's name for the model."""
    return DEVICES.get(nic.model, nic.model)


def rom_of(nic: Nic) -> str:
    """The file that QEMU loads into it by itself, to boot from the network."""
    return f"efi-{nic.model}.rom"


def parse(found: qemu.Options) -> tuple[RunningNic, ...]:
    """The interfaces of a command line: the devices whose netdev is a TAP.

    The documented words give a card no id: QEMU numbers those in the order of the command line.
    """
    taps = {
        option.get("id", ""): option.get("ifname", "") for option in qemu.every(found, "netdev")
    }
    devices = qemu.every(found, "device")
    nameless = [device for device in devices if "id" not in device]
    places = {id(device): f"{ANONYMOUS}[{at}]" for at, device in enumerate(nameless)}
    return tuple(
        RunningNic(
            taps[device["netdev"]],
            device.get("mac", ""),
            device[""],
            card=device.get("id") or places[id(device)],
            netdev=device["netdev"],
        )
        for device in devices
        if device.get("netdev") in taps and "" in device
    )


# Drift


def drift(
    worker: Worker, vm: VM, has: Sequence[RunningNic], wiring: Wiring, *, room: Room = NO_ROOM
) -> list[Drift]:
    """Where the interfaces of a running VM differ from the wanted ones. Whether one can be added or
    removed while the VM runs, `room` says."""
    by_tap = {nic.tap: nic for nic in has}
    found, new = [], 0
    for nic in vm.connected:
        where = f"interfaces.{nic.name}"
        if nic.tap not in by_tap or by_tap[nic.tap].is_bare:
            wanted = room.wanted("connected", new)
            found.append(Drift(where, "not in the VM", wanted, live=room.takes(new)))
            new += 1
            continue
        pairs = (
            ("model", by_tap[nic.tap].device, device_of(nic)),
            ("mac", by_tap[nic.tap].mac, nic.mac),
        )
        found += [Drift(f"{where}.{key}", a, b) for key, a, b in pairs if a and a != b]
        if by_tap[nic.tap].cut_off and nic.tap in wiring.taps:
            found.append(Drift(f"{where}.tap", "not open in its QEMU", "open"))
        found += port_drift(worker, vm, nic, wiring)
        found += impairing.drift(nic, wiring.impaired)
        found += switch_drift(worker, nic, wiring)
    known = {nic.tap for nic in vm.connected}
    return [
        *found,
        *(
            Drift("interfaces", f"{nic.tap} in the VM", "not connected", live=removable(nic, room))
            for nic in has
            if nic.tap not in known
        ),
    ]


def removable(nic: RunningNic, room: Room) -> bool:
    """True for one that can be taken out while the VM runs: what has no id cannot be named."""
    return room.lets_go(nic.tap) and (bool(nic.card) or nic.is_bare)


def switch_drift(worker: Worker, nic: Nic, wiring: Wiring) -> list[Drift]:
    """That nothing passes the switch, however well the interface is plugged."""
    why = wiring.switch.lifeless(ovs.bridge_of(nic, worker.bridge))
    field = f"interfaces.{nic.name}.switch"
    alive = "connected" if nic.port else "forwarding"
    return [Drift(field, why, alive, live=True)] if why else []


def port_drift(worker: Worker, vm: VM, nic: Nic, wiring: Wiring) -> list[Drift]:
    """How one interface's TAP and port differ from what is wanted; empty when it is plugged."""
    where = f"interfaces.{nic.name}"
    if nic.tap not in wiring.taps:
        return [Drift(f"{where}.tap", "missing", nic.tap)]
    link = "up" if wiring.taps[nic.tap].up else "down"
    down = [Drift(f"{where}.tap", link, "up", live=True)] if link != "up" else []
    if wiring.switch.fault:
        return [*down, Drift(f"{where}.port", "unknown", nic.tap, live=True)]
    port = wiring.switch.ports.get(nic.tap)
    if port is None:
        return [*down, Drift(f"{where}.port", "missing", nic.tap, live=True)]
    pairs = (
        ("bridge", port.bridge, wiring.switch.real(ovs.bridge_of(nic, worker.bridge))),
        ("vlan_id", ovs.attached(port), str(nic.attachment)),
        ("owner", port.owner or "nobody", vm.name),
        ("port", port.error or "plugged", "plugged"),
        *((("ovn", "not installed", "installed"),) if nic.port and not port.is_installed else ()),
    )
    return [*down, *(Drift(f"{where}.{name}", a, b, live=True) for name, a, b in pairs if a != b)]


# Steps


def conflict(vm: VM, nic: Nic, wiring: Wiring) -> str:
    """Why the interface's TAP or port is somebody else's, or empty. Unmarked ones are taken over:
    the documented system made them without a mark."""
    port = wiring.switch.ports.get(nic.tap)
    owner = port.owner if port else ""
    if owner not in ("", vm.name):
        return f"port {nic.tap} belongs to {owner}"
    mark = wiring.taps.get(nic.tap, ip.Tap()).alias
    if mark not in ("", ip.alias(vm.name)):
        return f"TAP {nic.tap} belongs to {mark.removeprefix('vmops:')}"
    return ""


class Plugging(NamedTuple):
    """What each step that plugs needs to know; `user` is the user id that, beside root, may open a
    TAP that is made."""

    worker: Worker
    vm: VM
    wiring: Wiring
    user: int


def plugging(
    job: Plugging, nics: Sequence[Nic], *, strict: bool
) -> tuple[tuple[Step | Batch, ...], tuple[Skip, ...]]:
    """These interfaces in one `ip` batch and one OVS transaction, or one by one where that fails.

    A foreign one is left out, or with `strict` a PortConflict.
    """
    worker, vm, wiring, _ = job
    skips: list[Skip] = []
    ready: list[Nic] = []
    missing: list[Nic] = []
    for nic in nics:
        foreign = conflict(vm, nic, wiring)
        if foreign and strict:
            raise PortConflict(foreign, worker=worker.name, vm=vm.name, interface=nic.name)
        if foreign:
            skips.append(Skip(nic.name, foreign))
        else:
            (missing if port_drift(worker, vm, nic, wiring) else ready).append(nic)
    steps: list[Step | Batch] = []
    if ready:
        steps.append(Step(PLUGGED, (), sets=tuple(flag(nic) for nic in ready)))
    if missing:
        apart = tuple(
            plug_step(job, [nic])._replace(label=f"{PLUG} {nic.name}", may_fail=not strict)
            for nic in missing
        )
        together = plug_step(job, missing)._replace(joint=True)
        one = apart[0]._replace(joint=True)
        steps.append(Batch(together, apart) if len(missing) > 1 else one)
    steps += [
        impairing.step(nic, wiring.impaired, only=flag(nic))
        for nic in (*ready, *missing)
        if impairing.is_due(nic, wiring.impaired, anew=nic in missing)
    ]
    return tuple(steps), tuple(skips)


def plug_step(job: Plugging, nics: Sequence[Nic]) -> Step:
    """The TAPs and ports of these interfaces, which are all nobody else's."""
    vm, wiring = job.vm, job.wiring
    taps = [nic.tap for nic in nics]
    there = {tap: wiring.taps[tap] for tap in taps if tap in wiring.taps}
    ports = {tap: wiring.switch.ports[tap] for tap in taps if tap in wiring.switch.ports}
    bridge = {nic.tap: wiring.switch.real(ovs.bridge_of(nic, job.worker.bridge)) for nic in nics}
    # OVN takes a TAP that was made anew, or a row that was bound otherwise, by a new row only.
    logical = {nic.tap for nic in nics if isinstance(nic.attachment, LogicalPort)}
    kept = [
        tap
        for tap, port in ports.items()
        if tap in there and tap not in logical and _stays(port, bridge[tap])
    ]
    moved = [port for tap, port in ports.items() if tap in there and tap not in kept]
    replaced = [tap for tap in ports if tap not in kept]
    made = [tap for tap in taps if tap not in there or tap not in ports]
    undo = [ovs.unplug_own(vm, made)] if made else []
    # One that somebody has opened to every VLAN of our bridge keeps its new one: none is made so.
    before = [ports[tap] for tap in kept if not ports[tap].is_open]
    before += [p for p in moved if not (p.is_open and p.bridge == bridge[p.name] != OVN_BRIDGE)]
    if before:
        undo.append(ovs.put_back(before, kept=kept))
    return Step(
        PLUG_ALL,
        (
            *((ovs.drop(replaced),) if replaced else ()),
            *_taps(job, nics, there),
            ovs.plug(job.worker.bridge, vm, nics, kept=kept),
            ip.raise_taps(taps),
            *ovs.read_back(nics),
        ),
        undo=(
            *undo,
            *(ip.undo_create(tap, vm.name) for tap in taps if tap not in there),
            *(ip.restore_tap(tap, vm.name, tap_was) for tap, tap_was in there.items()),
        ),
        sets=tuple(flag(nic) for nic in nics),
        about=tuple(nic.name for nic in nics),
    )


def _taps(job: Plugging, nics: Sequence[Nic], there: Mapping[str, ip.Tap]) -> list[Command]:
    """Their TAPs, those of each bridge together."""
    bridges: dict[str, list[str]] = {}
    for nic in nics:
        bridges.setdefault(ovs.bridge_of(nic, job.worker.bridge), []).append(nic.tap)
    return [
        ip.set_up_taps(taps, job.vm.name, bridge=bridge, user=job.user, there=there)
        for bridge, taps in bridges.items()
    ]


def _stays(port: ovs.Port, bridge: str) -> bool:
    """True for a port that the switch has taken on the right bridge: it needs no new row."""
    return port.bridge == bridge and (port.ofport or -1) > 0 and not port.error


def at_least_one(vm: VM) -> Step:
    """Ends the block where no interface was plugged."""
    plugged = (OnlyIf(flag(nic), (nic.name,)) for nic in vm.connected)
    return Step(NETWORK, (command("any_plugged", *plugged),))


def unplugging(vm: VM, wiring: Wiring) -> list[Step]:
    """Ports by the computed names and by their mark; never one that is marked as another's.

    Where Open vSwitch did not answer, it is asked for the mark of each before it is removed.
    """
    names = {nic.tap for nic in vm.nics if not conflict(vm, nic, wiring)}
    marked = {port.name for port in wiring.switch.ports.values() if port.owner == vm.name}
    owned = {name for name, tap in wiring.taps.items() if tap.alias == ip.alias(vm.name)}
    unknown = bool(wiring.switch.fault)
    ports = sorted(marked | {name for name in names if unknown or name in wiring.switch.ports})
    taps = sorted(owned | {name for name in names if name in wiring.taps})
    steps = []
    if ports:
        removal = ovs.unplug_own(vm, ports) if unknown else ovs.unplug(ports)
        steps.append(Step(UNPLUG, (removal,), may_fail=True))
    if taps:
        steps.append(Step(TAPS_GONE, ip.remove_taps(taps, vm.vm_id), may_fail=True))
    return steps
