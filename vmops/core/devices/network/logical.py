"""A network as OVN is to have it: a switch with a port for each interface, its leases, and its part
of the router where it reaches others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Network
from typing import NamedTuple

from vmops.core.devices.network import outside as way_out
from vmops.core.devices.network.outside import Door, Outside
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.networks.engine import MTU_IN_TUNNELS, mtu_of
from vmops.core.inventory.networks.model import Network
from vmops.core.inventory.networks.reading import asked_for_names
from vmops.core.inventory.rules import OVN
from vmops.core.names import logical_port, network_mac
from vmops.core.tools import ovn
from vmops.core.tools.ovn import EVERYBODY, ROUTER, Found, Key, Row

VLAN_WIRE = f"{ROUTER}-vlans"
"""What workers call the bridge that carries VLANs in their `ovn-bridge-mappings`."""

LEASE_S = 3600

SWITCH, LEASES, GATEWAY, ROUTER_PORT = "switch", "leases", "gateway", "router port"
NAMES = "names"
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
    `hosts` are names and addresses, None without DNS; `name_servers` know the others. With a
    `vlan_id` its guests are in that VLAN as well: OVN takes their frames there, and by no tunnel.
    """

    name: str
    subnet: str = ""
    gateway: str = ""
    dhcp: bool = False
    mtu: int = MTU_IN_TUNNELS
    reach: tuple[tuple[str, str], ...] = ()
    seats: tuple[Seat, ...] = ()
    internet: bool = False
    outside: Outside | None = None
    kept: tuple[str, ...] = ()
    doors: tuple[Door, ...] = ()
    hosts: tuple[tuple[str, str], ...] | None = None
    name_servers: tuple[str, ...] = ()
    vlan_id: int | None = None

    @property
    def leads_on(self) -> bool:
        """True where the router is a way to somewhere."""
        return bool(self.reach or self.internet or self.doors)

    @property
    def is_routed(self) -> bool:
        """True where the router has a port in it: a guest asks for names at its address too."""
        return self.leads_on or self.hosts is not None


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
        mtu=network.mtu or mtu_of(network.vlan_id),
        reach=tuple((other, listed.networks[other].subnet or "") for other in network.reach),
        seats=tuple(sorted(seats)),
        internet=network.internet,
        outside=way_out.outside(listed) if network.internet or network.forward else None,
        kept=way_out.kept(listed) if network.internet else (),
        doors=tuple(
            sorted(
                Door(way.protocol, way.port, network.address_of(way.vm) or "", way.vm_port)
                for way in network.forward
            )
        ),
        hosts=_hosts(listed, network) if network.dns else None,
        name_servers=_name_servers(listed, network) if network.dns else (),
        vlan_id=network.vlan_id,
    )


def _name_servers(listed: Inventory, network: Network) -> tuple[str, ...]:
    outer = listed.way_out.name_servers if listed.way_out is not None else ()
    return asked_for_names(network.to_dict(), outer)


def _hosts(listed: Inventory, network: Network) -> tuple[tuple[str, str], ...]:
    """The VMs in it; and those of networks that it reaches, where it has none of that name."""
    found: dict[str, list[str]] = {}
    for one in (network, *(listed.networks[name] for name in network.reach)):
        mine: dict[str, list[str]] = {}
        for member in one.members:
            if member.address:
                mine.setdefault(member.vm.lower(), []).append(member.address)
        found = mine | found
    return tuple((name, " ".join(sorted(there))) for name, there in sorted(found.items()))


def rows(wanted: Logical, chassis: Mapping[str, str]) -> tuple[Row, ...]:
    """All rows of a network. `chassis` has the name of each worker's by its end of the tunnels."""
    name = wanted.name
    switch = Key(name, SWITCH)
    names = Key(name, NAMES)
    refers = {} if wanted.hosts is None else {"dns_records": names}
    found = [Row(switch, ovn.SWITCHES, {"name": f"{ROUTER}-{name}"}, refers=refers)]
    if wanted.hosts is not None:
        found.append(Row(names, ovn.NAMES, {"records": dict(wanted.hosts)}))
    if wanted.dhcp:
        options: dict[str, str | None] = {
            "server_id": wanted.gateway,
            "server_mac": network_mac(name),
            "lease_time": str(LEASE_S),
            "mtu": str(wanted.mtu),
            "router": wanted.gateway if wanted.leads_on else None,
            "dns_server": _set_of(wanted.name_servers) if wanted.hosts is not None else None,
        }
        found.append(
            Row(Key(name, LEASES), ovn.LEASES, {"cidr": wanted.subnet, "options": options})
        )
    if wanted.vlan_id is not None:
        found.append(_wire(name, wanted.vlan_id))
    found += [_port(wanted, seat, chassis) for seat in wanted.seats]
    found += _routing(wanted) if wanted.is_routed else ()
    if wanted.outside is not None:
        way = wanted.outside
        if wanted.internet:
            found += way_out.rows_of(name, wanted.subnet, way, wanted.kept)
        found += way_out.doors(name, way, wanted.doors, gets_out=wanted.internet)
        found.append(way_out.way_back(name, wanted.subnet))
    return tuple(found)


def _set_of(addresses: Sequence[str]) -> str:
    """As OVN's DHCP options write several."""
    return addresses[0] if len(addresses) == 1 else f"{{{', '.join(addresses)}}}"


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
            "options": {ovn.CHASSIS: chassis.get(seat.tunnel_ip or ""), ovn.ACTIVATION: None},
            "external_ids": {ovn.MOVED: None},
        },
        inside=(Key(wanted.name, SWITCH), "ports"),
        refers={"dhcpv4_options": Key(wanted.name, LEASES)} if leases else {},
        vm=seat.vm,
    )


def _wire(name: str, vlan_id: int) -> Row:
    """Its way into a VLAN, on each worker by the bridge that carries it there."""
    return Row(
        Key(name, "vlan"),
        ovn.PORTS,
        {
            "name": ovn.own_port(name, "vlan"),
            "type": "localnet",
            "addresses": ("unknown",),
            "options": {"network_name": VLAN_WIRE},
            "tag": str(vlan_id),
        },
        inside=(Key(name, SWITCH), "ports"),
    )


def where_moved(row: Row, found: Found | None, chassis: Mapping[str, str]) -> Row:
    """The row of a port as it is wanted while its VM is where it was moved to, or on its way: for
    as long as hosts.toml has it where it came from, and OVN knows those workers."""
    marks = found.columns.get("external_ids", "") if found is not None else ""
    options = row.columns.get("options", "")
    moved = (marks.get(ovn.MOVED) or "") if isinstance(marks, Mapping) else ""
    home, *places = moved.split(" ")
    if not isinstance(options, Mapping) or not places or not {*places} <= {*chassis.values()}:
        return row
    if home != (options.get(ovn.CHASSIS) or ovn.ANYWHERE):
        return row
    columns = dict(row.columns)
    columns["options"] = {**options, **ovn.Requested(tuple(places)).options}
    columns["external_ids"] = {ovn.MOVED: moved}
    return row._replace(columns=columns)


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
                "name": ovn.own_port(name),
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
