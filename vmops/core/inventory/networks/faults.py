"""What is wrong with networks whose values are good each by itself: alone, and beside others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import combinations
from typing import Any

from vmops.core.inventory.complaints import Fault, KeyPath, did_you_mean, is_of, key_path, show
from vmops.core.inventory.networks.engine import engine_faults
from vmops.core.inventory.rules import OVN, VLAN

Values = Mapping[str, Any]

_NEED_SUBNET = ("gateway", "dhcp", "range", "internet", "reach", "dns", "forward")
_SERVED = ("dhcp", "internet", "reach", "dns", "forward")
SSH_PORT = 22


def own_faults(values: Values) -> list[Fault]:
    """What one network's values say against each other."""
    if not_yet := engine_faults(values):
        return not_yet
    subnet = values.get("subnet")
    if subnet is None:
        return [
            Fault((key,), f"{show(values[key])}: must be left out, as there is no subnet")
            for key in _NEED_SUBNET
            if values.get(key)
        ]
    faults: list[Fault] = []
    if gateway := values.get("gateway"):
        faults += _of_gateway(subnet, gateway)
    if given := values.get("range"):
        faults += _of_range(values, given)
    return faults


def _of_gateway(subnet: str, gateway: str) -> Iterator[Fault]:
    if why := no_host(subnet, gateway):
        yield Fault(("gateway",), f"{show(gateway)}: {why}")


def no_host(subnet: str, address: str) -> str:
    """Why this is no address that a host of the subnet can have, or empty."""
    from ipaddress import IPv4Address, IPv4Network

    network = IPv4Network(subnet)
    if IPv4Address(address) not in network:
        return f"must be in {subnet}"
    if address in (str(network[0]), str(network[-1])):
        word = "the subnet's own" if address == str(network[0]) else "for broadcasts"
        return f"must be a host's, and this one is {word}"
    return ""


def _of_range(values: Values, given: str) -> Iterator[Fault]:
    from ipaddress import IPv4Address, IPv4Network

    if not values.get("dhcp"):
        yield Fault(("range",), f"{show(given)}: must be left out, as there is no dhcp")
        return
    first, _, last = given.partition("-")
    bad = next((why for end in (first, last) if (why := no_host(values["subnet"], end))), "")
    gateway = IPv4Address(values.get("gateway") or IPv4Network(values["subnet"])[1])
    if bad:
        yield Fault(("range",), f"{show(given)}: {bad}")
    elif IPv4Address(first) <= gateway <= IPv4Address(last):
        yield Fault(("range",), f"{show(given)}: must not have the gateway, {gateway}, in it")


def contradictions(
    networks: Mapping[str, Values],
    workers: Mapping[str, Values],
    told: Collection[KeyPath] = (),
) -> list[Fault]:
    """What networks say against each other, and against the workers.

    A value that could not be read, which is `told` already, is not missing as well.
    """
    faults = [*_shared(networks), *_shared_ports(networks, workers)]
    for name, values in networks.items():
        faults += [
            fault.below("networks", name)
            for fault in (
                *_of_node(name, values, workers, told),
                *_of_reach(name, values, networks),
            )
        ]
    return faults


def _shared(networks: Mapping[str, Values]) -> Iterator[Fault]:
    from ipaddress import IPv4Network

    for (first, one), (second, other) in combinations(networks.items(), 2):
        there = key_path(("networks", first))
        if "vlan_id" in one and one["vlan_id"] == other.get("vlan_id"):
            said = f"{other['vlan_id']}: must differ from {there}.vlan_id"
            yield Fault(("networks", second, "vlan_id"), said)
        mine, theirs = other.get("subnet"), one.get("subnet")
        if mine and theirs and IPv4Network(mine).overlaps(IPv4Network(theirs)):
            said = f"{show(mine)}: must have no address in common with {there}.subnet, {theirs}"
            yield Fault(("networks", second, "subnet"), said)


def _shared_ports(networks: Mapping[str, Values], workers: Mapping[str, Values]) -> Iterator[Fault]:
    """One port of a node leads to one place; and never the one that we come in by."""
    seen: dict[tuple[object, ...], str] = {}
    for name, values in networks.items():
        node = values.get("network_node")
        of_ovn = values.get("engine") == OVN
        for index, item in enumerate(values.get("forward", ())):
            path = ("networks", name, "forward", index, "port")
            port, protocol = item.get("port"), item.get("protocol", "tcp")
            ssh = workers.get(str(node), {}).get("port") or SSH_PORT
            if protocol == "tcp" and port in (SSH_PORT, ssh) and not of_ovn:
                yield Fault(path, f"{port}: must not be the port of SSH on the network node")
            where = "OVN's address outside" if of_ovn else node
            first = seen.setdefault((where, protocol, port), key_path(path))
            if port is not None and first != key_path(path):
                yield Fault(path, f"{port}: must differ from {first}: both are on {where}")


def _of_node(
    name: str, values: Values, workers: Mapping[str, Values], told: Collection[KeyPath]
) -> Iterator[Fault]:
    """Services need a node, and what leads out needs its uplink. OVN needs neither."""
    if values.get("engine") == OVN:
        return
    node = values.get("network_node")
    served = next((key for key in _SERVED if values.get(key)), None)
    if node is None:
        places = {("defaults", "network_node"), ("networks", name, "network_node")}
        if served and not places & {*told}:
            why = f"{served} needs one: set it here or in [defaults]"
            yield Fault(
                ("network_node",), f"missing: must be the name of one of the workers: {why}"
            )
        return
    if node not in workers:
        yield Fault(
            ("network_node",), f"{show(node)}: is not a worker{did_you_mean(node, workers)}"
        )
        return
    outward = next((key for key in ("internet", "forward") if values.get(key)), None)
    places = {("defaults", "uplink"), ("workers", node, "uplink")}
    if outward and not workers[node].get("uplink") and not places & {*told}:
        why = f"needs the way out of {node}: uplink in [defaults] or {key_path(('workers', node))}"
        yield Fault((outward,), f"{show(values[outward])}: {why}")


def _of_reach(name: str, values: Values, networks: Mapping[str, Values]) -> Iterator[Fault]:
    for index, other in enumerate(values.get("reach", ())):
        path = ("reach", index)
        if other == name:
            yield Fault(path, f"{show(other)}: must be another network")
        elif other not in networks:
            yield Fault(path, f"{show(other)}: is not a network{did_you_mean(other, networks)}")
        elif not networks[other].get("subnet"):
            yield Fault(path, f"{show(other)}: must be a network that has a subnet")
        elif networks[other].get("engine", VLAN) != values.get("engine", VLAN):
            yield Fault(path, f"{show(other)}: must have the same engine")
        elif networks[other].get("network_node") != values.get("network_node"):
            nodes = f"{values.get('network_node')} and {networks[other].get('network_node')}"
            yield Fault(path, f"{show(other)}: must have the same network_node: they are {nodes}")


def unknown_targets(
    networks: Mapping[str, Values],
    members: Mapping[str, Collection[str]],
    unmade: Collection[str] = (),
) -> list[Fault]:
    """A fault for each forward to a VM that has no interface in the network."""
    faults = []
    for name, values in networks.items():
        for index, item in enumerate(values.get("forward", ())):
            vm = str(item.get("to", "")).rpartition(":")[0]
            if vm and vm not in members.get(name, ()) and not is_of(vm, unmade):
                why = f"must be a VM with an interface in {name}{did_you_mean(vm, members[name])}"
                faults.append(
                    Fault(("networks", name, "forward", index, "to"), f"{show(item['to'])}: {why}")
                )
    return faults
