"""What VMs and workers may not share. It reads plain values, so that a file with faults is
compared as far as it could be read."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from vmops.core.inventory.complaints import Fault, KeyPath, did_you_mean, key_path, show
from vmops.core.names import derived_mac, tap_name

Values = Mapping[str, Any]


class _Claim(NamedTuple):
    """Something that one VM takes on its worker, and the key it takes it by."""

    vm: KeyPath
    worker: str | None
    kind: str
    value: Any
    key: KeyPath
    from_vm_id: bool = False

    @property
    def path(self) -> KeyPath:
        return self.vm + self.key

    def meets(self, other: _Claim) -> bool:
        """True when both can be on one worker: a VM that is not pinned can be on any."""
        return self.worker is None or other.worker is None or self.worker == other.worker

    def against(self, other: _Claim) -> Fault:
        value = show(self.value if self.kind != "name" else self.value[1])
        what = value if self.kind == self.key[-1] else f"{self.kind} {value}"
        why = ""
        if self.vm != other.vm:
            pinned = self.worker is not None and self.worker == other.worker
            why = f": both are on {self.worker}" if pinned else ": both can be on one worker"
        return Fault(self.path, f"{what}: must differ from {key_path(other.path)}{why}")


def conflicts(workers: Mapping[str, Values], vms: Mapping[str, Values]) -> list[Fault]:
    """All that workers and VMs of one inventory may not share or refer to, by their names."""
    by_path: dict[KeyPath, Values] = {("vms", name): values for name, values in vms.items()}
    return [
        *_shared_by_workers(workers),
        *_unknown_workers(by_path, workers),
        *shared_by_vms(by_path),
    ]


def shared_by_vms(vms: Mapping[KeyPath, Values]) -> list[Fault]:
    """A fault for each vm_id, MAC, TAP, VNC port and disk that an earlier VM on the worker has too.

    Interfaces of one VM are compared as well, by name too. Two VMs with one vm_id have the same
    TAPs and derived MACs; that is said once.
    """
    claims = [claim for path, values in vms.items() for claim in _claims(path, values)]
    taken: dict[tuple[str, object], list[_Claim]] = defaultdict(list)
    same_vm_id: set[tuple[KeyPath, KeyPath]] = set()
    faults = []
    for claim in claims:
        others = taken[claim.kind, claim.value]
        clash = next((other for other in others if claim.meets(other)), None)
        others.append(claim)
        if clash is None or (claim.from_vm_id and (claim.vm, clash.vm) in same_vm_id):
            continue
        if claim.kind == "vm_id":
            same_vm_id.add((claim.vm, clash.vm))
        faults.append(claim.against(clash))
    return faults


def _claims(vm: KeyPath, values: Values) -> Iterator[_Claim]:
    worker = values.get("worker")
    vm_id = values.get("vm_id")
    for number in ("vm_id", "vnc_port"):
        if number in values:
            yield _Claim(vm, worker, number, values[number], (number,))
    if "qcow_image" in values:
        yield _Claim(vm, worker, "disk", _canonical(values["qcow_image"]), ("qcow_image",))
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
        if interface.get("mac"):
            yield _Claim(vm, worker, "mac", interface["mac"], (*key, "mac"))
        elif vm_id is not None:
            mac = derived_mac(vm_id, index + 1)
            yield _Claim(vm, worker, "mac", mac, (*key, "mac"), from_vm_id=True)


def _canonical(image: str) -> str:
    """One spelling for one path, as far as that can be known without looking at the worker."""
    path = posixpath.normpath(image)
    return path[1:] if path.startswith("//") else path


def _unknown_workers(vms: Mapping[KeyPath, Values], known: Collection[str]) -> list[Fault]:
    """A fault for each VM that is pinned to a worker that is not there."""
    return [
        Fault((*path, "worker"), f"{show(name)}: is no worker{did_you_mean(name, known)}")
        for path, values in vms.items()
        if (name := values.get("worker")) is not None and name not in known
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
