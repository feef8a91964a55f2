"""Networks that OVN carries: what they cannot have, and what they need of the rest of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vmops.core.inventory import normal_form as normal
from vmops.core.inventory.complaints import Fault, did_you_mean, key_path, show
from vmops.core.inventory.networks.rules import WAY_OUT
from vmops.core.inventory.rules import OVN, VLAN
from vmops.core.names import OVN_BRIDGE

Values = Mapping[str, Any]

MTU_IN_TUNNELS = 1442
"""What is left of an Ethernet frame of 1500 bytes in a tunnel of Geneve; larger ones vanish."""

MTU_IN_A_VLAN = 1500

LEAVES = ("internet", "forward")
"""Keys of a network that need OVN's way out."""

_LEFT_OUT = {
    "network_node": "as OVN needs no network node",
    "range": "as nobody but our VMs has a port in OVN",
}

_NOT_IN_A_VLAN = ("internet", "reach", "dns", "forward")
"""What takes a router: it would answer in the VLAN from several workers at once."""


def mtu_of(vlan_id: int | None) -> int:
    """The MTU of a network that says none: of OVN's tunnels, or of a VLAN."""
    return MTU_IN_TUNNELS if vlan_id is None else MTU_IN_A_VLAN


def engine_faults(values: Values) -> list[Fault]:
    """What one network says that its engine cannot do, or does not say that it needs."""
    if values.get("engine", VLAN) != OVN:
        lacks = values.get("vlan_id") is None
        return [Fault(("vlan_id",), "missing: must be 1 to 4094")] if lacks else []
    left_out = dict(_LEFT_OUT)
    if (vlan := values.get("vlan_id")) is not None:
        why = f"as others are in VLAN {vlan} too, whose gateway OVN would be on every worker"
        left_out |= dict.fromkeys(_NOT_IN_A_VLAN, why)
    return [
        Fault((key,), f"{show(values[key])}: must be left out, {why}")
        for key, why in left_out.items()
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
    central: Values,
    used: Mapping[str, str],
) -> Iterator[Fault]:
    """What is wrong with `[ovn]`, the `central`, and with workers for the networks that it carries.

    `used` are the workers to which VMs in such networks are pinned, each with one of these VMs. A
    worker has its values here, and as `tunnel_ip` its end of the tunnels or None.
    """
    northbound = central.get("northbound")
    path = ("ovn", "northbound")
    carried = {name: one for name, one in networks.items() if one.get("engine") == OVN}
    if northbound is None:
        if carried:
            why = f'{key_path(("networks", next(iter(carried))))} has the engine "ovn"'
            yield Fault(
                path, f"missing: must be the name of the worker that has OVN's central: {why}"
            )
        return
    if northbound not in workers:
        yield Fault(path, f"{show(northbound)}: is not a worker{did_you_mean(northbound, workers)}")
        return
    yield from _of_the_way_out(central, workers)
    if not carried:
        return
    yield from _of_those_that_leave(carried, central)
    reasons = {northbound: "it has OVN's central"}
    reasons |= dict.fromkeys(_gateways(central), "it is a gateway of OVN")
    reasons |= {name: f"{vm} is in a network of OVN" for name, vm in used.items()}
    for name, why in reasons.items():
        values = workers.get(name)
        if values is None:
            continue
        if values.get("tunnel_ip") is None:
            said = f"missing: must be given, as {why} and its address is no IP address of its own"
            yield Fault(("workers", name, "encap_ip"), said)
        if values.get("bridge") == OVN_BRIDGE:
            said = "must be another: that one is OVN's own"
            yield Fault(("workers", name, "bridge"), f"{show(OVN_BRIDGE)}: {said}")


def _gateways(central: Values) -> tuple[str, ...]:
    return tuple(each.rpartition(":")[0] for each in central.get("gateways") or ())


def _of_the_way_out(central: Values, workers: Mapping[str, Values]) -> Iterator[Fault]:
    from ipaddress import IPv4Address, IPv4Interface

    given = [key for key in WAY_OUT if central.get(key)]
    for key in WAY_OUT if given else ():
        if key not in given:
            yield Fault(("ovn", key), f"missing: must be given with {given[0]}")
    for index, name in enumerate(_gateways(central)):
        if name not in workers:
            said = f"{show(name)}: is not a worker{did_you_mean(name, workers)}"
            yield Fault(("ovn", "gateways", index), said)
    if not central.get("outside") or not central.get("next_hop"):
        return
    own, hop = IPv4Interface(central["outside"]), IPv4Address(central["next_hop"])
    if hop not in own.network or hop in (own.ip, own.network[0], own.network[-1]):
        said = f"{show(str(hop))}: must be another host's address in {own.network}"
        yield Fault(("ovn", "next_hop"), said)


def _of_those_that_leave(carried: Mapping[str, Values], central: Values) -> Iterator[Fault]:
    """What is to get out needs gateways, and addresses that are not those outside."""
    from ipaddress import IPv4Interface, IPv4Network

    for name, values in carried.items():
        key = next((key for key in LEAVES if values.get(key)), None)
        if key is None:
            continue
        if not central.get("outside"):
            said = f"{show(values[key])}: needs gateways, outside and next_hop in [ovn]"
            yield Fault(("networks", name, key), said)
            continue
        outer = IPv4Interface(central["outside"]).network
        subnet = values.get("subnet")
        if subnet and outer.overlaps(IPv4Network(subnet)):
            said = f"{show(subnet)}: must have no address in common with ovn.outside, {outer}"
            yield Fault(("networks", name, "subnet"), said)
