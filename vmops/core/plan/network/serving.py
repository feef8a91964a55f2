"""From what a node is to serve, and what it serves, to one block. Pure decisions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from vmops.core.devices.drift import Drift
from vmops.core.devices.network import service, steps
from vmops.core.devices.network.service import Service
from vmops.core.facts.network.state import Node, Served
from vmops.core.inventory.model import Worker
from vmops.core.names import NET_LOCK
from vmops.core.script.command import Batch, Block, Step, command
from vmops.core.tools import ovs
from vmops.errors import WorkFailed

Action = Literal["start", "change", "nothing", "remove", "held"]
"""Of these, `held` is that something would be done if another worker were fit for it."""


class Change(NamedTuple):
    """What is to be done about one network. `drift` are the fields that differ. `held` are workers
    to which a tunnel that is not as wanted is left as it is: they are not fit for theirs."""

    network: str
    action: Action
    drift: tuple[Drift, ...] = ()
    held: tuple[str, ...] = ()


class Plan(NamedTuple):
    """What is to be done on a node: one block for all its networks, None where nothing is."""

    changes: tuple[Change, ...]
    block: Block | None = None


def bring(
    worker: Worker,
    wanted: Mapping[str, Service],
    node: Node,
    switch: ovs.Switch,
    *,
    gone: Collection[str] = (),
) -> tuple[Plan, Mapping[str, WorkFailed]]:
    """Make or change these networks, and leave alone those that are served as asked.

    Those that are `gone` are to be served there no longer. One that cannot be served has its reason
    in the mapping, and the others go on.
    """
    left = [name for name in gone if name in node.networks]
    others = {name: one for name, one in node.networks.items() if name not in {*wanted, *left}}
    reasons = {
        name: refusal(worker, one, others, switch) or unfit(worker, one, node.devices)
        for name, one in wanted.items()
    }
    refused = {name: why for name, why in reasons.items() if why is not None}
    changes = [
        *(Change(name, "remove") for name in left),
        *(
            _change(one, node.networks.get(name), switch)
            for name, one in wanted.items()
            if name not in refused
        ),
    ]
    found = [steps.removing(name) for name in left]
    found += _serving(wanted, node, [c.network for c in changes if c.action in _MADE], left)
    busy = [change.network for change in changes if change.action != "nothing"]
    return Plan(tuple(changes), block_of(found, busy, node, "net.up") if busy else None), refused


_MADE = ("start", "change")


def _serving(
    wanted: Mapping[str, Service], node: Node, busy: Sequence[str], left: Sequence[str]
) -> list[Step]:
    """The steps of the networks that are made or changed, and of their links to others."""
    there = {name: one.asked for name, one in node.networks.items() if one.asked is not None}
    found = [
        steps.making(wanted[name], was=there.get(name), new=name not in there) for name in busy
    ]
    after = {name: one for name, one in there.items() if name not in left}
    after |= {name: wanted[name] for name in busy}
    pairs = _pairs(after, busy)
    found += [steps.linking(after[a], after[b]) for a, b in pairs]
    found += [steps.noting(wanted[name]) for name in busy]
    others = sorted({name for pair in pairs for name in pair} - set(busy))
    return [*found, *((steps.pictures(others),) if others else ())]


def _pairs(there: Mapping[str, Service], busy: Sequence[str]) -> list[tuple[str, str]]:
    """Networks that reach each other, of which one is to be made or changed; each pair once."""
    found = {
        (min(name, peer.network), max(name, peer.network))
        for name in there
        for peer in there[name].reach
        if peer.network in there
        and name in {back.network for back in there[peer.network].reach}
        and {name, peer.network} & set(busy)
    }
    return sorted(found)


def block_of(found: Sequence[Step | Batch], names: Sequence[str], node: Node, change: str) -> Block:
    """What is done on a node, where what it serves is still what was seen."""
    guard = command("same_networks", node.sum)
    return Block(",".join(names), tuple(found), lock=NET_LOCK, guards=(guard,), change=change)


def remove(names: Sequence[str], node: Node) -> Plan:
    """Remove these networks; one that is not there is left out."""
    there = [name for name in names if name in node.networks]
    changes = tuple(Change(name, "remove" if name in there else "nothing") for name in names)
    if not there:
        return Plan(changes)
    left = sorted(
        name
        for name, served in node.networks.items()
        if name not in there
        and served.asked is not None
        and {peer.network for peer in served.asked.reach} & set(there)
    )
    found = [steps.removing(name) for name in there]
    found += [steps.pictures(left)] if left else []
    return Plan(changes, block_of(found, there, node, "net.down"))


def _change(wanted: Service, served: Served | None, switch: ovs.Switch) -> Change:
    if served is None:
        return Change(wanted.name, "start")
    found = drift(wanted, served, switch)
    return Change(wanted.name, "change" if found else "nothing", found)


def drift(wanted: Service, served: Served, switch: ovs.Switch) -> tuple[Drift, ...]:
    """Where what runs differs from what is wanted: what was asked, and what became of that."""
    if served.asked is None:
        return (Drift("network", "half made", "whole", live=True),)
    found = [*service.drift(served.asked, wanted)]
    if wanted.talks and served.pid is None and served.asked.talks:
        found.append(Drift("dnsmasq", "not running", "running", live=True))
    if served.made.routes != served.now.routes:
        found.append(Drift("addresses and routes", "changed by somebody", "as made", live=True))
    if served.made.rules != served.now.rules:
        found.append(Drift("firewall", "changed by somebody", "as made", live=True))
    return (*found, *_port_drift(served.asked, switch))


def _port_drift(asked: Service, switch: ovs.Switch) -> list[Drift]:
    if switch.fault:
        return []
    port = switch.ports.get(asked.names.port)
    if port is None:
        return [Drift("port", "missing", asked.names.port, live=True)]
    pairs = (
        ("port.bridge", port.bridge, switch.real(asked.bridge)),
        ("port.vlan_id", ovs.attached(port), str(asked.vlan_id)),
        ("port", port.error or "plugged", "plugged"),
    )
    return [Drift(name, a, b, live=True) for name, a, b in pairs if a != b]


def refusal(
    worker: Worker, wanted: Service, others: Mapping[str, Served], switch: ovs.Switch
) -> WorkFailed | None:
    """Why the network cannot be served there, or None. `others` are served there as well."""
    if found := no_switch(f"network {wanted.name}", wanted.bridge, worker, switch):
        return found
    for name, other in others.items():
        if other.asked and (what := _shared(wanted, other.asked)):
            return WorkFailed(
                f"network {wanted.name}: {what} there by network {name}",
                worker=worker.name,
                cure=f"if nobody needs that: fab -H {worker.name} net.down --network {name}",
            )
    return None


def no_switch(subject: str, bridge: str, worker: Worker, switch: ovs.Switch) -> WorkFailed | None:
    """Why nothing can be made on the bridge, or None."""
    if switch.fault or switch.dead:
        why = f"Open vSwitch does not answer: {switch.fault}" if switch.fault else switch.dead
        cure = "start it there: sudo systemctl restart openvswitch-switch"
        return WorkFailed(f"{subject}: {why}", worker=worker.name, cure=cure)
    if bridge not in switch.bridges:
        have = ", ".join(sorted(switch.bridges)) or "none"
        what = f"{subject}: no bridge {bridge}; Open vSwitch has: {have}"
        cure = f"make it there (sudo ovs-vsctl add-br {bridge}), or set `bridge`"
        return WorkFailed(what, worker=worker.name, cure=cure)
    return None


def unfit(worker: Worker, wanted: Service, devices: Mapping[str, int] | None) -> WorkFailed | None:
    """Why the node's devices are not fit for the network, or None; so too where none are known."""
    if devices is None:
        return None
    if wanted.uplink and wanted.uplink not in devices:
        what = f"network {wanted.name}: there is no device {wanted.uplink} to go out by"
        cure = "there: ip -br link; then set uplink in hosts.toml"
        return WorkFailed(what, worker=worker.name, cure=cure)
    mtu = devices.get(wanted.bridge, 1500)
    if wanted.mtu is not None and wanted.mtu > mtu:
        what = f"network {wanted.name}: frames of {wanted.mtu} bytes do not pass the bridge"
        return WorkFailed(
            f"{what} {wanted.bridge}: its MTU is {mtu}",
            worker=worker.name,
            cure=f"set mtu of network {wanted.name} to {mtu} or less; or raise that of the bridge"
            " and all of its ports",
        )
    return None


def _shared(wanted: Service, other: Service) -> str:
    """What two networks of one node may not both have, and empty where they do not: those of one
    file have been compared, but the node may serve another file's too."""
    if other.vlan_id == wanted.vlan_id:
        return f"VLAN {wanted.vlan_id} is served"
    if wanted.transit and other.transit == wanted.transit:
        return f"{wanted.transit}/30, its link to the node, is used"
    ports = {way[:2] for way in other.forward} & {way[:2] for way in wanted.forward}
    return f"port {min(ports)[1]} is forwarded" if ports else ""
