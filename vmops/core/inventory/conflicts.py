"""What VMs and workers may not share. It reads plain values, so that a file with faults is
compared as far as it could be read."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from vmops.core.images.names import disk_path
from vmops.core.inventory.complaints import Fault, KeyPath, did_you_mean, key_path, show
from vmops.core.inventory.rules import OVN
from vmops.core.names import MAX_VM_ID, derived_mac, tap_name

Values = Mapping[str, Any]

_ANYWHERE = ""
"""On whatever worker: no worker has an empty name."""

_MAX_GUESSES = 20
_FIRST_FREE = 1001


class _Claim(NamedTuple):
    """Something that one VM takes, and the key it takes it by. `segment` is where its card is: a
    VLAN, or by its name a network of OVN that is in none."""

    vm: KeyPath
    worker: str | None
    kind: str
    value: Any
    key: KeyPath
    from_vm_id: bool = False
    segment: int | str | None = None

    @property
    def path(self) -> KeyPath:
        return self.vm + self.key

    def against(self, other: _Claim) -> Fault:
        value = show(self.value[1] if self.kind in ("name", "address") else self.value)
        what = value if self.kind == self.key[-1] else f"{self.kind} {value}"
        why = "" if self.vm == other.vm else f": {self._where_it_meets(other)}"
        return Fault(self.path, f"{what}: must differ from {key_path(other.path)}{why}")

    def _where_it_meets(self, other: _Claim) -> str:
        if self.kind == "address":
            return f"both are on {self._where}"
        if self.worker is None or other.worker is None:
            return "both can be on one worker"
        if self.worker == other.worker:
            return f"both are on {self.worker}"
        cure = "set another vm_id, or a mac" if self.from_vm_id else "set another mac"
        return f"both are on {self._where}: {cure}"

    @property
    def _where(self) -> str:
        if isinstance(self.segment, str):
            return f"network {self.segment}"
        return f"VLAN {self.segment}, which is one network"


class _Taken:
    """What is taken so far, on each worker and VLAN and by VMs that may be anywhere.

    A claim is held against three others at most, however many there are of its value: the first
    on its worker, the first on its VLAN, and the first that may be anywhere.
    """

    def __init__(self) -> None:
        self._claims: list[_Claim] = []
        self._firsts: dict[tuple[str, object, object], int] = {}

    def clash(self, claim: _Claim) -> _Claim | None:
        """The first claim that this one may not stand beside; from now on it is taken itself."""
        kind, value, worker = claim.kind, claim.value, claim.worker
        mine: list[tuple[str, object, object]] = [(kind, value, _ANYWHERE), (kind, value, worker)]
        if claim.segment is not None:
            mine.append((kind, value, claim.segment))
        others = mine[:1] if worker is None else [*mine[1:], (kind, value, None)]
        found = [self._firsts[place] for place in others if place in self._firsts]
        for place in mine:
            self._firsts.setdefault(place, len(self._claims))
        self._claims.append(claim)
        return self._claims[min(found)] if found else None


def conflicts(
    workers: Mapping[str, Values],
    vms: Mapping[str, Values],
    *,
    vm_id_from_name: Collection[str] = (),
    networks: Mapping[str, Values] = MappingProxyType({}),
) -> list[Fault]:
    """All that workers and VMs of one inventory may not share or refer to, by their names.

    Nobody has chosen the vm_id of some; where such a one clashes, a free one is named.
    """
    by_path: dict[KeyPath, Values] = {("vms", name): values for name, values in vms.items()}
    return [
        *_shared_by_workers(workers),
        *_unknown_workers(by_path, workers),
        *shared_by_vms(by_path, {("vms", name) for name in vm_id_from_name}, networks=networks),
    ]


def shared_by_vms(
    vms: Mapping[KeyPath, Values],
    vm_id_from_name: Collection[KeyPath] = (),
    *,
    networks: Mapping[str, Values] = MappingProxyType({}),
) -> list[Fault]:
    """A fault for each vm_id, MAC, TAP, VNC port and disk that an earlier VM on the worker has too,
    and for each MAC and address that an earlier VM on the VLAN has, wherever it runs.

    Interfaces of one VM are compared as well, by name too. Two VMs with one vm_id have the same
    TAPs and derived MACs; that is said once.
    """
    taken = _Taken()
    told: set[tuple[KeyPath, KeyPath]] = set()
    free = _free_vm_ids(vms)
    faults = []
    for path, values in vms.items():
        for claim in _claims(path, values, networks):
            clash = taken.clash(claim)
            if clash is None or (claim.from_vm_id and (claim.vm, clash.vm) in told):
                continue
            fault = claim.against(clash)
            if claim.kind == "vm_id" or (claim.from_vm_id and clash.from_vm_id):
                told.add((claim.vm, clash.vm))
                by_name = next((vm for vm in (claim.vm, clash.vm) if vm in vm_id_from_name), None)
                fault = fault if by_name is None else _with_a_free_one(fault, by_name, free)
            faults.append(fault)
    return faults


def _free_vm_ids(vms: Mapping[KeyPath, Values]) -> Iterator[int]:
    """Each once, so that who follows all the complaints gets no new ones."""
    used = {values.get("vm_id") for values in vms.values()}
    yield from (number for number in range(_FIRST_FREE, MAX_VM_ID + 1) if number not in used)


def _with_a_free_one(fault: Fault, vm: KeyPath, free: Iterator[int]) -> Fault:
    number = next(free, None)
    cure = "" if number is None else f"; vm_id = {number} is free"
    return fault._replace(said=f"{fault.said}: the vm_id of {vm[-1]} is from its name{cure}")


def _claims(vm: KeyPath, values: Values, networks: Mapping[str, Values]) -> Iterator[_Claim]:
    worker = values.get("worker")
    vm_id = values.get("vm_id")
    for number in ("vm_id", "vnc_port"):
        if values.get(number) is not None:
            yield _Claim(vm, worker, number, values[number], (number,))
    if "qcow_image" in values:
        yield _Claim(vm, worker, "disk", _canonical(values["qcow_image"]), ("qcow_image",))
    for index, further in enumerate(values.get("disks", ())):
        yield from _disk_claims(vm, values, ("disks", index), further)
    names: set[str] = set()
    for index, interface in enumerate(values.get("interfaces", ())):
        key: KeyPath = ("interfaces", index)
        name = interface.get("name")
        if name is not None:
            yield _Claim(vm, worker, "name", (vm, name), (*key, "name"))
        if name is not None and vm_id is not None and name not in names:
            tap = tap_name(vm_id, name)
            yield _Claim(vm, worker, "TAP", tap, (*key, "name"), from_vm_id=True)
        names.add(name)
        mac = interface.get("mac")
        derived = not mac
        if derived and vm_id is not None:
            mac = derived_mac(vm_id, index + 1)
        if mac:
            segment = _segment(interface, networks)
            yield _Claim(vm, worker, "mac", mac, (*key, "mac"), derived, segment)
        yield from _address_claims(vm, key, interface)


def _address_claims(vm: KeyPath, key: KeyPath, interface: Values) -> Iterator[_Claim]:
    """An address is taken on its VLAN, whatever the worker; its prefix makes no difference."""
    address, vlan_id = interface.get("address"), interface.get("vlan_id")
    if address and vlan_id is not None:
        taken = vlan_id, address.partition("/")[0]
        yield _Claim(vm, None, "address", taken, (*key, "address"), segment=vlan_id)


def _segment(interface: Values, networks: Mapping[str, Values]) -> int | str | None:
    if interface.get("engine") == OVN:
        name: str | None = interface.get("network")
        # One that OVN takes into a VLAN is one segment with whoever is there.
        joined: int | None = networks.get(name or "", {}).get("vlan_id")
        return name if joined is None else joined
    vlan_id: int | None = interface.get("vlan_id")
    return vlan_id


def _disk_claims(vm: KeyPath, values: Values, key: KeyPath, further: Values) -> Iterator[_Claim]:
    """A further disk's name, among those of its VM, and the file that it is."""
    worker, name = values.get("worker"), further.get("name")
    if name is None:
        return
    yield _Claim(vm, worker, "name", ((vm, "disks"), name), (*key, "name"))
    path = disk_path(
        str(values.get("name", vm[-1] if vm else "")), name, further.get("format", "qcow2")
    )
    yield _Claim(vm, worker, "disk", path, (*key, "name"))


def _canonical(image: str) -> str:
    """One spelling for one path, as far as that can be known without looking at the worker."""
    path = posixpath.normpath(image)
    return path[1:] if path.startswith("//") else path


def _unknown_workers(vms: Mapping[KeyPath, Values], known: Collection[str]) -> list[Fault]:
    """A fault for each VM that is pinned to a worker that is not there.

    A guess looks at every name that is known, so only the first slips get one.
    """
    guesses: dict[str, str] = {}
    faults = []
    for path, values in vms.items():
        name = values.get("worker")
        if name is None or name in known:
            continue
        if name not in guesses and len(guesses) < _MAX_GUESSES:
            guesses[name] = did_you_mean(name, known)
        faults.append(
            Fault((*path, "worker"), f"{show(name)}: is not a worker{guesses.get(name, '')}")
        )
    return faults


def unknown_images(vms: Mapping[str, Values], known: Collection[str]) -> list[Fault]:
    """A fault for each VM whose image is not there."""
    return [
        Fault(("vms", name, "image"), f"{show(image)}: is not an image{did_you_mean(image, known)}")
        for name, values in vms.items()
        if (image := values.get("image")) is not None and image not in known
    ]


def _shared_by_workers(workers: Mapping[str, Values]) -> list[Fault]:
    """A fault for each worker that is another one's host, or has another one's address as its name.

    One host under two names would let two VMs take the same port without a complaint.
    """
    faults = []
    seen: dict[tuple[object, ...], str] = {}
    by_address: dict[str, str] = {}
    for name, values in workers.items():
        if "address" not in values:
            continue
        address = values["address"].casefold()
        by_address.setdefault(address, name)
        endpoint = (address, values.get("port"), values.get("gateway"))
        first = seen.setdefault(endpoint, name)
        if first != name:
            same = f"must differ from {key_path(('workers', first, 'address'))}"
            faults.append(
                Fault(("workers", name, "address"), f"{show(values['address'])}: {same}: one host")
            )
    for name in workers:
        owner = by_address.get(name.casefold(), name)
        if owner != name:
            said = f"must not be the address of another worker, {owner}"
            faults.append(Fault(("workers", name), f"{show(name)}: {said}"))
    return faults
