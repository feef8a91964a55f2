"""What operations change beside VMs: networks that the worker serves or OVN carries, and that it
is drained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmops.core.names import NetworkNames

from . import overlay
from .operations import DRAIN, FOLLOWING, MESH, NETWORKS, OVERLAY, Operation
from .targets import NETS, Logical, Network

MESH_NAME = "(mesh)"
"""What `net.status` calls the tunnels of a worker."""
TUNNEL = "vmx"
"""What the names of tunnels begin with."""
UPLINK = "uplink"
"""The device of every worker of a lab by which it reaches the rest of the world."""
_GUARD = f"inet vmops_up_{NetworkNames(UPLINK).short}"


def devices() -> set[str]:
    """The devices of the worker that are of our networks."""
    names = [NetworkNames(network.name) for network in NETS]
    return {device for one in names for device in (one.port, one.uplink)}


def is_ours(argv: Sequence[str]) -> bool:
    """A dnsmasq of one of our networks, or a daemon of OVN's."""
    return overlay.is_daemon(argv) or any(_configuration(network) in argv for network in NETS)


def _configuration(network: Network) -> str:
    return f"--conf-file=/run/vmops-net/{network.name}/dnsmasq.conf"


def read(seen: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """In words and sums, each of these things; one that is not there is empty."""
    node, settings = seen["node"], seen["settings"]
    found = {network.name: _network(seen, network) for network in NETS}
    found["uplink"] = (
        *node["uplinks"],
        *((f"rules {node['tables'][_GUARD]}",) if _GUARD in node["tables"] else ()),
        *(("forwards",) if UPLINK in node["forwarding"] else ()),
    )
    found["mesh"] = tuple(map(_tunnel, tunnels(seen), tunnels(seen, "interface")))
    words = ("vmops-drained", "vmops-away")
    found["drain"] = tuple(f"{word} {settings[word]}" for word in words if word in settings)
    return found | overlay.read(seen)


def tunnels(seen: Mapping[str, Any], table: str = "port") -> list[dict[str, Any]]:
    """The rows of the worker's tunnels to others."""
    rows = [row for row in seen["ovs"][table] if row["name"].startswith(TUNNEL)]
    return sorted(rows, key=lambda row: str(row["name"]))


def _tunnel(port: Mapping[str, Any], interface: Mapping[str, Any]) -> str:
    own = {key: port[key] for key in ("name", "tag", "trunks", "vlan_mode", "protected")}
    return f"tunnel {own} {interface['type']} {interface['options']} {interface['error']}"


def _network(seen: Mapping[str, Any], network: Network) -> tuple[str, ...]:
    names = NetworkNames(network.name)
    node = seen["node"]
    ports = [row for row in seen["ovs"]["port"] if row["name"] == names.port]
    talking = sum(_configuration(network) in process["argv"] for process in seen["processes"])
    space = node["spaces"].get(names.namespace)
    table = node["tables"].get(f"inet {names.table}")
    return (
        *((f"namespace {' '.join(space)}",) if space else ()),
        *(f"port tag {row['tag']}" for row in ports),
        *(("pair",) if names.port in seen["links"] else ()),
        *((f"{talking} dnsmasq",) if talking else ()),
        *(("way out",) if names.uplink in seen["links"] else ()),
        *((f"table {table}",) if table else ()),
        *(("folder", *node["folders"][network.name]) if network.name in node["folders"] else ()),
    )


def others(seen: Mapping[str, Any]) -> dict[str, Any]:
    """The namespaces, tables and forwarding devices that are of nobody's here."""
    names = [NetworkNames(network.name) for network in NETS]
    spaces = {one.namespace for one in names}
    tables = {_GUARD, *(f"inet {one.table}" for one in names)}
    node = seen["node"]
    found = {f"namespace {k}": v for k, v in node["spaces"].items() if k not in spaces}
    found |= {f"table {k}": v for k, v in node["tables"].items() if k not in tables}
    own = {network.name for network in NETS}
    found |= {f"folder {k}": v for k, v in node["folders"].items() if k not in own}
    known = {UPLINK, *(one.uplink for one in names)}
    return found | {f"forwarding of {k}": True for k in node["forwarding"] if k not in known}


def not_as_wanted(seen: Mapping[str, tuple[str, ...]], operation: Operation) -> list[str]:
    """A line for each thing that is not as the operation is to leave it, as far as one can tell
    without another run."""
    if operation.things == DRAIN:
        (name,) = DRAIN
        drained = any("vmops-drained" in word for word in seen[name])
        left = bool(seen[name]) if operation.has == "open" else not drained
        return [f"the worker is not {operation.has}: {seen[name]}"] if left else []
    if operation.things == FOLLOWING:
        return overlay.not_following(seen)
    if operation.things == OVERLAY:
        return overlay.not_as_wanted(seen, served=operation.has == "served")
    lines = []
    for name in MESH if operation.things == MESH else ():
        if len(seen[name]) != (operation.has == "served"):
            lines.append(f"{name} is not {operation.has}: {seen[name]}")
    for network in NETS if operation.things == NETWORKS else ():
        there = seen[network.name]
        if operation.has == "down":
            whole = not there
        else:
            needed = {f"port tag {network.vlan}", "pair", "1 dnsmasq", "folder"}
            whole = needed <= set(there) and any(word.startswith("namespace") for word in there)
        if not whole:
            lines.append(f"{network.name} is not {operation.has}: {there}")
    if operation.things == NETWORKS and operation.has == "down" and seen["uplink"]:
        lines.append(f"the uplink is not as it was: {seen['uplink']}")
    return lines


def untruths_of_mesh(
    entries: Sequence[Mapping[str, Any]],
    seen: Mapping[str, tuple[str, ...]],
    right: Mapping[str, tuple[str, ...]],
    workers: Sequence[str],
) -> list[str]:
    """What `net.status` says of the tunnels of these two that is not so. `right` is what they are
    when laid as hosts.toml asks."""
    told = {entry["worker"]: entry for entry in entries if entry["network"] == MESH_NAME}
    lines = []
    for name, worker in zip(MESH, workers, strict=True):
        entry, there = told.get(worker), seen[name]
        is_whole = entry is not None and entry["state"] == "up" and not entry["drift"]
        if entry is None or is_whole != (there == right[name]):
            lines.append(f"net.status says of {worker}'s tunnels {entry}, but there is {there}")
    return lines


def untruths(
    entries: Sequence[Mapping[str, Any]],
    seen: Mapping[str, tuple[str, ...]],
    right: Mapping[str, tuple[str, ...]],
    networks: Sequence[Network | Logical] = NETS,
) -> list[str]:
    """What `net.status` says of networks that is not so. `right` is what they are when served as
    hosts.toml asks."""
    told = {entry["network"]: entry for entry in entries}
    lines = []
    for network in networks:
        entry, there = told.get(network.name), seen[network.name]
        if entry is None:
            lines.append(f"net.status does not tell of {network.name}")
        elif entry["state"] == "unknown":
            lines.append(f"net.status does not know {network.name}: {entry['error']}")
        elif (entry["state"] == "up") != bool(there):
            lines.append(f"net.status says {network.name} {entry['state']}, but there is {there}")
        elif there and there != right[network.name] and not entry["drift"]:
            lines.append(f"net.status says no drift of {network.name}, but there is {there}")
        elif there == right[network.name] and there and entry["drift"]:
            lines.append(f"net.status says drift of {network.name}, which is whole")
    return lines
