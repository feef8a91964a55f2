"""A network as the inventory has it: its VLAN, its addresses, and what is served there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from ipaddress import IPv4Network
from typing import Any, ClassVar, NamedTuple

from vmops.core.inventory import tables
from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.networks import rules
from vmops.core.inventory.networks.faults import own_faults
from vmops.core.inventory.rules import VLAN, Rule


class Member(NamedTuple):
    """An interface of a VM in a network, with the address that is kept for it there.

    `address` is empty in a network without a subnet. `given` is that hosts.toml writes it; else it
    was handed out by the names of VM and interface.
    """

    vm: str
    interface: str
    mac: str
    address: str
    given: bool = False


class Forward(NamedTuple):
    """A port of the network node that leads to one of a VM."""

    port: int
    vm: str
    vm_port: int
    protocol: str = "tcp"

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Forward:
        """From an item of `forward` that has been read."""
        vm, _, port = str(item["to"]).rpartition(":")
        return cls(item["port"], vm, int(port), item.get("protocol", "tcp"))

    def to_dict(self) -> dict[str, Any]:
        """As hosts.toml writes it."""
        udp = {} if self.protocol == "tcp" else {"protocol": self.protocol}
        return {"port": self.port, "to": f"{self.vm}:{self.vm_port}", **udp}


class WayOut(NamedTuple):
    """How networks of OVN get out: gateways, each a worker and its device, in the order in which
    they take over; the router's own address there with its prefix, where it sends what leaves, and
    who knows the names of the world.
    """

    gateways: tuple[tuple[str, str], ...]
    address: str
    next_hop: str
    name_servers: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> WayOut | None:
        """From what [ovn] says; None where it says nothing of it."""
        if not values.get("gateways"):
            return None
        pairs = (each.rpartition(":") for each in values["gateways"])
        gateways = tuple((worker, device) for worker, _, device in pairs)
        hop, servers = values["next_hop"], tuple(values.get("name_servers", ()))
        return cls(gateways, values["outside"], hop, servers)

    def device_of(self, worker: str) -> str:
        """The device of a gateway; empty for a worker that is none."""
        return dict(self.gateways).get(worker, "")

    def to_dict(self) -> dict[str, Any]:
        """As hosts.toml writes it."""
        return {
            "gateways": [f"{worker}:{device}" for worker, device in self.gateways],
            "outside": self.address,
            "next_hop": self.next_hop,
            **({"name_servers": list(self.name_servers)} if self.name_servers else {}),
        }


@dataclass(frozen=True, slots=True)
class Network:
    """A named VLAN with its addresses; with the `engine` "ovn" a switch of OVN, without a VLAN or
    joined to one.

    `reach` has every network that it is routed to, whichever of the two says so. `members` are the
    interfaces of VMs in it. `gateway` is the network node's own address in it, None without a
    subnet. Raises InvalidValue.
    """

    RULES: ClassVar[Mapping[str, Rule]] = rules.NETWORK

    name: str
    _: KW_ONLY
    engine: str = VLAN
    vlan_id: int | None = None
    subnet: str | None = None
    gateway: str | None = None
    dhcp: bool = False
    range: str | None = None
    internet: bool = False
    reach: tuple[str, ...] = ()
    dns: bool = False
    mtu: int | None = None
    forward: tuple[Forward, ...] = ()
    network_node: str | None = None
    members: tuple[Member, ...] = ()

    def __post_init__(self) -> None:
        tables.conform(self, self.RULES)
        if self.subnet is not None and self.gateway is None:
            object.__setattr__(self, "gateway", first_address(self.subnet))
        faults = own_faults(self.to_dict())
        if faults:
            raise InvalidValue(tables.subject_of(self), faults)

    @property
    def served(self) -> bool:
        """True where the network node has something to do for it."""
        return self.engine == VLAN and bool(
            self.dhcp or self.dns or self.internet or self.reach or self.forward
        )

    @property
    def prefix(self) -> int:
        """The bits of its subnet's prefix; 0 without one."""
        return 0 if self.subnet is None else IPv4Network(self.subnet).prefixlen

    def address_of(self, vm: str) -> str | None:
        """The address of the VM's first interface in it, None where it has none."""
        return next((m.address for m in self.members if m.vm == vm and m.address), None)

    def to_dict(self) -> dict[str, Any]:
        """Its values as hosts.toml writes them."""
        values = {key: getattr(self, key) for key in rules.NETWORK if key != "name"}
        values["reach"] = list(self.reach)
        values["forward"] = [
            item.to_dict() if isinstance(item, Forward) else item for item in self.forward
        ]
        return {key: value for key, value in values.items() if value not in (None, [], False)}


def first_address(subnet: str) -> str:
    """The first address of a subnet that a host may have."""
    return str(IPv4Network(subnet)[1])
