"""Networks that OVN carries: what they cannot have, and what they need of the rest of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vmops.core.inventory import normal_form as normal
from vmops.core.inventory.complaints import Fault, did_you_mean, key_path, show
from vmops.core.inventory.rules import OVN, VLAN
from vmops.core.names import OVN_BRIDGE

Values = Mapping[str, Any]

_LEFT_OUT = {
    "vlan_id": "as OVN needs no VLAN",
    "network_node": "as OVN needs no network node",
    "range": 'as the engine "ovn" has leases for our VMs only',
    "dns": 'as the engine "ovn" has no DNS here yet',
    "internet": 'as the engine "ovn" has no way out here yet',
    "forward": 'as the engine "ovn" has no way in here yet',
}


def engine_faults(values: Values) -> list[Fault]:
    """What one network says that its engine cannot do, or does not say that it needs."""
    if values.get("engine", VLAN) != OVN:
        lacks = values.get("vlan_id") is None
        return [Fault(("vlan_id",), "missing: must be 1 to 4094")] if lacks else []
    return [
        Fault((key,), f"{show(values[key])}: must be left out, {why}")
        for key, why in _LEFT_OUT.items()
        if values.get(key)
    ]


def tunnel_ip(worker: Values) -> str | None:
    """A worker's end of OVN's tunnels. None where nothing says it: neither a name nor the loopback
    is an address that others could send to."""
    given: str | None = worker.get("encap_ip")
    return given or normal.host_address(str(worker.get("address", "")))


def ovn_faults(
    networks: Mapping[str, Values],
    workers: Mapping[str, Values],
    northbound: str | None,
    used: Mapping[str, str],
) -> Iterator[Fault]:
    """What is wrong with `[ovn]`, and with workers for the networks that OVN carries.

    `used` are the workers to which VMs in such networks are pinned, each with one of these VMs. A
    worker has its values here, and as `tunnel_ip` its end of the tunnels or None.
    """
    path = ("ovn", "northbound")
    first = next((name for name, values in networks.items() if values.get("engine") == OVN), None)
    if northbound is None:
        if first is not None:
            why = f'{key_path(("networks", first))} has the engine "ovn"'
            yield Fault(
                path, f"missing: must be the name of the worker that has OVN's central: {why}"
            )
        return
    if northbound not in workers:
        yield Fault(path, f"{show(northbound)}: is not a worker{did_you_mean(northbound, workers)}")
        return
    if first is None:
        return
    for name in dict.fromkeys((northbound, *used)):
        values = workers.get(name)
        if values is None:
            continue
        if values.get("tunnel_ip") is None:
            whom = (
                f"{used[name]} is in a network of OVN" if name in used else "it has OVN's central"
            )
            why = f"missing: must be given, as {whom} and its address is no IP address of its own"
            yield Fault(("workers", name, "encap_ip"), why)
        if values.get("bridge") == OVN_BRIDGE:
            why = "must be another: that one is OVN's own"
            yield Fault(("workers", name, "bridge"), f"{show(OVN_BRIDGE)}: {why}")
