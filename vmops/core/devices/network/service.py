"""A network as its node is to serve it: plain values that travel there and come back.

The node keeps them beside what it runs, so that another operator sees what was asked, and a change
that fails can be taken back.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

from vmops.core.devices.drift import Drift
from vmops.core.devices.network import logical, mesh
from vmops.core.devices.network.mesh import Mesh
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Worker
from vmops.core.inventory.networks.addresses import hand_out
from vmops.core.inventory.networks.model import Network
from vmops.core.names import NetworkNames

TRANSIT = IPv4Network("198.18.0.0/15")
"""For benchmarks of devices (RFC 2544), so in nobody's use: the links between nodes and their own
namespaces get four addresses each of it."""

METADATA = "169.254.0.0/16"
"""Where clouds answer their own machines, with credentials among other things."""


class Lease(NamedTuple):
    """What DHCP gives to one MAC."""

    mac: str
    address: str
    name: str


class Host(NamedTuple):
    """A name of DNS."""

    address: str
    name: str


class Way(NamedTuple):
    """A port of the node that leads to one of a guest."""

    protocol: str
    port: int
    address: str
    guest_port: int


class Peer(NamedTuple):
    """Another network that this one is routed to."""

    network: str
    gateway: str
    subnet: str


class Service(NamedTuple):
    """All that a node needs to know of a network.

    `uplink` is empty where there is no way out; `kept` are addresses that no guest may reach that
    way: those of workers, of clouds, and of other networks. `transit` is the first of four
    addresses for the link to the node. `leases` is None without DHCP, `hosts` without DNS.
    """

    name: str
    bridge: str
    vlan_id: int
    subnet: str
    gateway: str
    mtu: int | None = None
    internet: bool = False
    uplink: str = ""
    transit: str = ""
    forward: tuple[Way, ...] = ()
    reach: tuple[Peer, ...] = ()
    leases: tuple[Lease, ...] | None = None
    range: str = ""
    hosts: tuple[Host, ...] | None = None
    kept: tuple[str, ...] = ()

    @property
    def names(self) -> NetworkNames:
        """What it is called on the node."""
        return NetworkNames(self.name)

    @property
    def prefix(self) -> int:
        """The bits of its subnet's prefix."""
        return IPv4Network(self.subnet).prefixlen

    @property
    def outer(self) -> str:
        """The node's own address on the link to the namespace."""
        return str(IPv4Address(self.transit) + 1)

    @property
    def inner(self) -> str:
        """The namespace's address on the link to the node."""
        return str(IPv4Address(self.transit) + 2)

    @property
    def talks(self) -> bool:
        """True where there is something for dnsmasq to do."""
        return self.leases is not None or self.hosts is not None

    def to_json(self) -> str:
        """As it travels to the node: on one line."""
        return json.dumps(self._asdict(), separators=(",", ":"))


_ITEMS: Mapping[str, type] = {"forward": Way, "reach": Peer, "leases": Lease, "hosts": Host}


def from_json(text: str) -> Service:
    """What `to_json` gave. Raises ValueError for anything else."""
    try:
        values: dict[str, Any] = json.loads(text)
        for key, kind in _ITEMS.items():
            if values.get(key) is not None:
                values[key] = tuple(kind(*item) for item in values[key])
        values["kept"] = tuple(values.get("kept", ()))
        return Service(**values)
    except (TypeError, AttributeError, RecursionError) as odd:
        raise ValueError(f"what is kept of a network cannot be read: {odd}") from odd


def services(
    networks: Mapping[str, Network], vms: Mapping[str, VM], workers: Mapping[str, Worker]
) -> dict[str, dict[str, Service]]:
    """For each worker that is a network node, what it is to serve, by network."""
    slots = hand_out(networks, TRANSIT.num_addresses // 4)
    kept = (*sorted(filter(_is_kept, (worker.address for worker in workers.values()))), METADATA)
    subnets = sorted(network.subnet for network in networks.values() if network.subnet)
    found: dict[str, dict[str, Service]] = {}
    for name, network in networks.items():
        node = workers.get(network.network_node or "")
        if network.served and node is not None:
            transit = str(TRANSIT[4 * slots[name]])
            wanted = _service(network, networks, vms)
            if network.internet or network.forward:
                others = (subnet for subnet in subnets if subnet != network.subnet)
                wanted = wanted._replace(
                    uplink=node.uplink or "", transit=transit, kept=(*kept, *others)
                )
            found.setdefault(node.name, {})[name] = wanted._replace(bridge=node.bridge)
    return found


def by_node(listed: Inventory) -> dict[str, dict[str, Service]]:
    """What each network node of the inventory is to serve."""
    return services(listed.networks, listed.vms, listed.workers)


class Share(NamedTuple):
    """What one worker is to serve of some networks, and which of them it is not to serve; and what
    OVN is to carry, on the worker that has its central; and its tunnels to other workers."""

    wanted: Mapping[str, Service]
    gone: tuple[str, ...]
    carried: logical.Share | None = None
    mesh: Mesh | None = None

    @property
    def is_busy(self) -> bool:
        """True where it has something to do for a network."""
        return bool(
            self.wanted
            or (self.carried and self.carried.wanted)
            or (self.mesh and self.mesh.tunnels)
        )


def shares(listed: Inventory, chosen: Collection[str], workers: Iterable[str]) -> dict[str, Share]:
    """The share of each of these workers in the networks that are `chosen`."""
    everything = by_node(listed)
    found = {}
    for worker in workers:
        mine = everything.get(worker, {})
        wanted = {name: one for name, one in mine.items() if name in chosen}
        gone = tuple(name for name in chosen if name not in wanted)
        found[worker] = Share(wanted, gone, mesh=mesh.share(listed, worker))
        if worker == listed.northbound:
            found[worker] = found[worker]._replace(carried=logical.share(listed, chosen))
    return found


def _is_kept(address: str) -> bool:
    try:
        return not IPv4Address(address).is_loopback
    except ValueError:
        return False


def _service(network: Network, networks: Mapping[str, Network], vms: Mapping[str, VM]) -> Service:
    assert network.vlan_id is not None, "a network that a node serves is in a VLAN"
    subnet, gateway = network.subnet or "", network.gateway or ""
    members = [member for member in network.members if member.address]
    leases = tuple(Lease(m.mac, m.address, m.vm) for m in members if m.mac)
    ways = (
        Way(item.protocol, item.port, network.address_of(item.vm) or "", item.vm_port)
        for item in network.forward
    )
    peers = (networks[name] for name in network.reach)
    return Service(
        name=network.name,
        bridge="",
        vlan_id=network.vlan_id,
        subnet=subnet,
        gateway=gateway,
        mtu=network.mtu,
        internet=network.internet,
        forward=tuple(sorted(ways)),
        reach=tuple(Peer(p.name, p.gateway or "", p.subnet or "") for p in peers),
        leases=tuple(sorted(leases)) if network.dhcp else None,
        range=network.range or "",
        hosts=_hosts(network, networks) if network.dns else None,
    )


def _hosts(network: Network, networks: Mapping[str, Network]) -> tuple[Host, ...]:
    """The VMs in it; and those of networks that it reaches, where it has none of that name."""
    own = [Host(m.address, m.vm) for m in network.members if m.address]
    mine = {host.name for host in own}
    others = [
        Host(m.address, m.vm)
        for name in network.reach
        for m in networks[name].members
        if m.address and m.vm not in mine
    ]
    return tuple(sorted({*own, *others}))


def drift(runs: Service, wanted: Service) -> tuple[Drift, ...]:
    """Where what was asked before and what is wanted now differ."""
    fields = [key for key in Service._fields if key not in ("name", "transit")]
    return tuple(
        Drift(key, _word(getattr(runs, key)), _word(getattr(wanted, key)), live=True)
        for key in fields
        if getattr(runs, key) != getattr(wanted, key)
    )


def _word(value: object) -> str:
    """A value in a few words."""
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return " ".join(map(_item, value)) if len(value) < 3 else f"{len(value)} of them"
    return str(value)


def _item(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "/".join(map(str, value))
    return str(value)
