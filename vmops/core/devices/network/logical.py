"""A network as OVN is to have it: a switch with a port for each interface, its leases, and its part
of the router where it reaches others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Network
from typing import NamedTuple

from vmops.core.devices.network import outside as way_out
from vmops.core.devices.network.outside import Outside
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.rules import OVN
from vmops.core.names import logical_port, network_mac
from vmops.core.tools import ovn
from vmops.core.tools.ovn import EVERYBODY, ROUTER, Key, Row

MTU = 1442
"""What is left of an Ethernet frame of 1500 bytes in a tunnel of Geneve; larger ones vanish."""

LEASE_S = 3600

SWITCH, LEASES, GATEWAY, ROUTER_PORT = "switch", "leases", "gateway", "router port"
THE_ROUTER, NOTHING_ELSE = Key(EVERYBODY, "router"), Key(EVERYBODY, "policy")


class Seat(NamedTuple):
    """An interface of a VM in the network; `tunnel_ip` is that of the worker it is pinned to, else
    None. `address` is empty without a subnet."""

    vm: str
    interface: str
    mac: str
    address: str
    tunnel_ip: str | None = None

    @property
    def port(self) -> str:
        """Its name in OVN."""
        return logical_port(self.vm, self.interface)


class Logical(NamedTuple):
    """A network that OVN carries. `reach` has those that it is routed to, each with its subnet.

    `outside` is the way out, None where it has none; `kept` is what its guests may not reach by it.
    """

    name: str
    subnet: str = ""
    gateway: str = ""
    dhcp: bool = False
    mtu: int = MTU
    reach: tuple[tuple[str, str], ...] = ()
    seats: tuple[Seat, ...] = ()
    internet: bool = False
    outside: Outside | None = None
    kept: tuple[str, ...] = ()

    @property
    def is_routed(self) -> bool:
        """True where the router has a port in it."""
        return bool(self.reach or self.internet)


class Share(NamedTuple):
    """What OVN's central is to have of some networks, and which of them it is not to have."""

    wanted: Mapping[str, Logical]
    gone: tuple[str, ...] = ()


def share(listed: Inventory, chosen: Collection[str]) -> Share:
    """The share of OVN in the networks that are `chosen`."""
    wanted = {name: _logical(listed, name) for name in chosen if _is_ours(listed, name)}
    return Share(wanted, tuple(name for name in chosen if name not in wanted))


def _is_ours(listed: Inventory, name: str) -> bool:
    return name in listed.networks and listed.networks[name].engine == OVN


def _logical(listed: Inventory, name: str) -> Logical:
    network = listed.networks[name]
    seats = []
    for member in network.members:
        worker = listed.vms[member.vm].worker or ""
        where = listed.workers[worker].tunnel_ip if worker in listed.workers else None
        seats.append(Seat(member.vm, member.interface, member.mac, member.address, where))
    return Logical(
        name,
        subnet=network.subnet or "",
        gateway=network.gateway or "",
        dhcp=network.dhcp,
        mtu=network.mtu or MTU,
        reach=tuple((other, listed.networks[other].subnet or "") for other in network.reach),
        seats=tuple(sorted(seats)),
        internet=network.internet,
        outside=way_out.outside(listed) if network.internet else None,
        kept=way_out.kept(listed) if network.internet else (),
    )


def rows(wanted: Logical, chassis: Mapping[str, str]) -> tuple[Row, ...]:
    """All rows of a network. `chassis` has the name of each worker's by its end of the tunnels."""
    name = wanted.name
    switch = Key(name, SWITCH)
    found = [Row(switch, ovn.SWITCHES, {"name": f"{ROUTER}-{name}"})]
    if wanted.dhcp:
        options: dict[str, str | None] = {
            "server_id": wanted.gateway,
            "server_mac": network_mac(name),
            "lease_time": str(LEASE_S),
            "mtu": str(wanted.mtu),
            "router": wanted.gateway if wanted.is_routed else None,
        }
        found.append(
            Row(Key(name, LEASES), ovn.LEASES, {"cidr": wanted.subnet, "options": options})
        )
    found += [_port(wanted, seat, chassis) for seat in wanted.seats]
    found += _routing(wanted) if wanted.is_routed else ()
    if wanted.internet and wanted.outside is not None:
        found += way_out.rows_of(name, wanted.subnet, wanted.outside, wanted.kept)
    return tuple(found)


def _port(wanted: Logical, seat: Seat, chassis: Mapping[str, str]) -> Row:
    """A guest has the MAC and the address that hosts.toml gives it, and no other; and it is let in
    at its own worker only, wherever else somebody plugs its port."""
    own = f"{seat.mac} {seat.address}".strip()
    leases = wanted.dhcp and bool(seat.address)
    return Row(
        Key(wanted.name, f"port {seat.port}"),
        ovn.PORTS,
        {
            "name": seat.port,
            "addresses": (own,),
            "port_security": (own,),
            "options": {"requested-chassis": chassis.get(seat.tunnel_ip or "")},
        },
        inside=(Key(wanted.name, SWITCH), "ports"),
        refers={"dhcpv4_options": Key(wanted.name, LEASES)} if leases else {},
        vm=seat.vm,
    )


def _routing(wanted: Logical) -> tuple[Row, ...]:
    """Its port of the router, and whom it lets through: itself, and those that it reaches."""
    name = wanted.name
    port = f"{ROUTER}-{name}"
    bits = IPv4Network(wanted.subnet).prefixlen
    targets = ((name, wanted.subnet), *wanted.reach)
    return (
        Row(
            Key(name, GATEWAY),
            ovn.PORTS,
            {
                "name": f"{port}-gateway",
                "type": "router",
                "addresses": ("router",),
                "options": {"router-port": port},
            },
            inside=(Key(name, SWITCH), "ports"),
        ),
        Row(
            Key(name, ROUTER_PORT),
            ovn.ROUTER_PORTS,
            {
                "name": port,
                "mac": network_mac(name),
                "networks": (f"{wanted.gateway}/{bits}",),
            },
            inside=(THE_ROUTER, "ports"),
        ),
        *(
            Row(
                Key(name, f"way to {other}"),
                ovn.POLICIES,
                {
                    "priority": "100",
                    "match": f"ip4.src == {wanted.subnet} && ip4.dst == {subnet}",
                    "action": "allow",
                },
                inside=(THE_ROUTER, "policies"),
            )
            for other, subnet in targets
        ),
    )


def router() -> tuple[Row, ...]:
    """The router itself: what no network asks for does not pass."""
    return (
        Row(THE_ROUTER, ovn.ROUTERS, {"name": ROUTER}),
        Row(
            NOTHING_ELSE,
            ovn.POLICIES,
            {"priority": "1", "match": "1", "action": "drop"},
            inside=(THE_ROUTER, "policies"),
        ),
    )
