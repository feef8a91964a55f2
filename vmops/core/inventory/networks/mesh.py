"""The mesh of workers that have no VLANs in common: who is in it, and what it needs of the file.

It reads plain values, so that a file with faults is judged as far as it could be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vmops.core.inventory.complaints import Fault, key_path, show
from vmops.core.inventory.rules import OVN, VLAN

Values = Mapping[str, Any]

ETHERNET = 1500
"""What is taken for the MTU between workers where nothing says otherwise: all Ethernet has it."""

OVERHEAD_V4, OVERHEAD_V6 = 54, 74
"""Bytes of the packet between workers beside those of the guest's own: IP 20 or 40, UDP 8, VXLAN 8,
and inside that the guest's Ethernet header, 14, with the tag of its VLAN, 4."""

_SERVED = ("dhcp", "internet", "reach", "dns", "forward")


def overhead(address: str) -> int:
    """What a tunnel between addresses of this family adds to a guest's packet, in bytes."""
    return OVERHEAD_V6 if ":" in address else OVERHEAD_V4


def mtu_in_tunnels(workers: Mapping[str, Values]) -> int:
    """The largest packets of guests that pass a mesh of these workers over plain Ethernet."""
    ends = [str(values["tunnel_ip"]) for values in workers.values() if values.get("tunnel_ip")]
    return ETHERNET - max(map(overhead, ends), default=OVERHEAD_V4)


def vlans_of_mesh(networks: Mapping[str, Values], vms: Mapping[str, Values]) -> tuple[int, ...]:
    """The VLANs in use: those of interfaces, and of networks that a node serves."""
    found = {vlan for values in vms.values() for vlan in _vlans_of(values)}
    return tuple(sorted(found | {values["vlan_id"] for values in _served(networks)}))


def workers_of_mesh(
    networks: Mapping[str, Values], workers: Mapping[str, Values], vms: Mapping[str, Values]
) -> tuple[str, ...]:
    """Those that have a VM in a VLAN, or may have one, or serve a network; in the file's order."""
    homes = {values.get("worker") for values in vms.values() if any(_vlans_of(values))}
    homes |= {values.get("network_node") for values in _served(networks)}
    return tuple(name for name in workers if None in homes or name in homes)


def _served(networks: Mapping[str, Values]) -> Iterator[Values]:
    for values in networks.values():
        is_ours = values.get("engine", VLAN) != OVN and values.get("vlan_id") is not None
        if is_ours and values.get("network_node") and any(values.get(key) for key in _SERVED):
            yield values


def _vlans_of(vm: Values) -> Iterator[int]:
    for interface in vm.get("interfaces", ()):
        yield from interface.get("trunks", ())
        if interface.get("vlan_id") is not None:
            yield interface["vlan_id"]


def mesh_faults(
    networks: Mapping[str, Values], workers: Mapping[str, Values], vms: Mapping[str, Values]
) -> Iterator[Fault]:
    """What workers lack for their part in the mesh. A worker has its values here, and as
    `tunnel_ip` its end of the tunnels or None."""
    for name, values in networks.items():
        if values.get("engine") == OVN and values.get("vlan_id") is not None:
            why = "must be left out, as a mesh and OVN's way into a VLAN would be two ways"
            yield Fault(("networks", name, "vlan_id"), f"{values['vlan_id']}: {why}")
    ends: dict[str, str] = {}
    for name in workers_of_mesh(networks, workers, vms):
        path = ("workers", name, "encap_ip")
        end = workers[name].get("tunnel_ip")
        if end is None:
            why = "missing: must be given, as tunnels of the mesh end there and its address is no"
            yield Fault(path, f"{why} IP address of its own")
            continue
        for other, there in ends.items():
            if end == there:
                yield Fault(path, f"{show(end)}: must differ from that of {_named(other)}")
            elif (":" in end) != (":" in there):
                why = f"must be of one family with that of {_named(other)}, {there}"
                yield Fault(path, f"{show(end)}: {why}: a tunnel joins them")
            else:
                continue
            break
        ends[name] = end


def _named(worker: str) -> str:
    return key_path(("workers", worker))
