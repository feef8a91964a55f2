"""The way out of networks that OVN carries: a switch with a wire to the outside, and the router's
port there, which is on one gateway at a time; and what each network has of it.

Nothing passes that switch but what comes from, or goes to, the router's own address: so no guest's
address is seen outside, and nobody outside gets at one by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Interface
from typing import NamedTuple

from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.rules import OVN
from vmops.core.names import network_mac
from vmops.core.tools import ovn
from vmops.core.tools.ovn import EVERYBODY, ROUTER, Key, Row

OUTER_WIRE = f"{ROUTER}-outside"
"""What gateways call the outside in their `ovn-bridge-mappings`."""

METADATA = "169.254.0.0/16"
"""Where clouds answer their own machines, with credentials among other things."""

# A dot, as what is of a network is called vmops-NAME, and what is of a VM VM:INTERFACE.
_PORT, _WIRE, _SIDE = f"{ROUTER}.outside", f"{ROUTER}.wire", f"{ROUTER}.gateway"

_SWITCH, _OUTER_PORT = Key(EVERYBODY, "outside"), Key(EVERYBODY, "outside port")
_ROUTER = Key(EVERYBODY, "router")
WAY_BACK = "way back"
"""The part that every network has that uses the way out."""

_FIRST_PRIORITY = 100


class Door(NamedTuple):
    """A port of the router's address outside that leads to one of a guest."""

    protocol: str
    port: int
    address: str
    guest_port: int


class Gateway(NamedTuple):
    """A worker by which networks get out, and its end of the tunnels."""

    worker: str
    tunnel_ip: str


class Outside(NamedTuple):
    """The way out: gateways in the order in which they take over, the router's address with its
    prefix, and the next hop."""

    gateways: tuple[Gateway, ...]
    address: str
    next_hop: str

    @property
    def ip(self) -> str:
        """The address without its prefix."""
        return str(IPv4Interface(self.address).ip)


def outside(listed: Inventory) -> Outside | None:
    """The way out of the inventory's networks, None where there is none."""
    way = listed.way_out
    if way is None:
        return None
    ends = ((name, listed.workers[name].tunnel_ip) for name, _ in way.gateways)
    gateways = tuple(Gateway(name, end) for name, end in ends if end is not None)
    return Outside(gateways, way.address, way.next_hop)


def kept(listed: Inventory) -> tuple[str, ...]:
    """What no guest may reach by the way out: workers, clouds' own services, and the networks that
    OVN does not carry. Those that it carries are no way out of the router at all."""
    workers = {w.address for w in listed.workers.values()}
    workers |= {w.tunnel_ip for w in listed.workers.values() if w.tunnel_ip is not None}
    subnets = {n.subnet for n in listed.networks.values() if n.subnet and n.engine != OVN}
    return (*sorted(filter(_is_kept, workers)), METADATA, *sorted(subnets))


def _is_kept(address: str) -> bool:
    try:
        return not IPv4Interface(address).is_loopback
    except ValueError:
        return False


def shared_rows(way: Outside, chassis: Mapping[str, str]) -> tuple[Row, ...]:
    """What all networks that get out have in common. `chassis` as for `rows` of a network."""
    gateways = (
        Row(
            Key(EVERYBODY, f"gateway {one.worker}"),
            ovn.GATEWAYS,
            {
                "name": f"{_PORT}-{one.worker}",
                "chassis_name": chassis.get(one.tunnel_ip, one.worker),
                "priority": str(_FIRST_PRIORITY - place),
            },
            inside=(_OUTER_PORT, "gateway_chassis"),
        )
        for place, one in enumerate(way.gateways)
    )
    return (
        Row(_SWITCH, ovn.SWITCHES, {"name": _PORT}),
        Row(
            Key(EVERYBODY, "outside wire"),
            ovn.PORTS,
            {
                "name": _WIRE,
                "type": "localnet",
                "addresses": ("unknown",),
                "options": {"network_name": OUTER_WIRE},
            },
            inside=(_SWITCH, "ports"),
        ),
        Row(
            Key(EVERYBODY, "outside gateway"),
            ovn.PORTS,
            {
                "name": _SIDE,
                "type": "router",
                "addresses": ("router",),
                "options": {"router-port": _PORT},
            },
            inside=(_SWITCH, "ports"),
        ),
        _only_its_own(
            "leaves", "from-lport", f'inport == "{_SIDE}" && (ip6 || ip4.src != {way.ip})'
        ),
        _only_its_own(
            "enters", "to-lport", f'outport == "{_SIDE}" && (ip6 || ip4.dst != {way.ip})'
        ),
        Row(
            _OUTER_PORT,
            ovn.ROUTER_PORTS,
            {
                "name": _PORT,
                # Of the address, as other routers of such a name may be there.
                "mac": network_mac(f"outside {way.ip}"),
                "networks": (way.address,),
            },
            inside=(_ROUTER, "ports"),
        ),
        *gateways,
        Row(
            Key(EVERYBODY, "default route"),
            ovn.ROUTES,
            {"ip_prefix": "0.0.0.0/0", "nexthop": way.next_hop},
            inside=(_ROUTER, "static_routes"),
        ),
    )


def _only_its_own(part: str, direction: str, match: str) -> Row:
    columns = {"priority": "100", "direction": direction, "match": match, "action": "drop"}
    return Row(Key(EVERYBODY, part), ovn.ACLS, columns, inside=(_SWITCH, "acls"))


def is_shared_part(key: Key) -> bool:
    """True for what `shared_rows` has."""
    parts = ("outside", "outside wire", "outside gateway", "outside port", "leaves", "enters")
    is_one = key.part in (*parts, "default route") or key.part.startswith("gateway ")
    return key.network == EVERYBODY and is_one


def rows_of(name: str, subnet: str, way: Outside, kept_away: tuple[str, ...]) -> tuple[Row, ...]:
    """A network's own: its guests get out behind the router's address, and answers come back."""
    leaves = f'ip4.src == {subnet} && outport == "{_PORT}"'
    return (
        Row(
            Key(name, "translation"),
            ovn.NATS,
            {"type": "snat", "external_ip": way.ip, "logical_ip": subnet},
            inside=(_ROUTER, "nat"),
        ),
        _policy(name, "kept away", "200", f"{leaves} && ip4.dst == {{{', '.join(kept_away)}}}"),
        _policy(name, "way out", "100", leaves),
    )


def doors(name: str, way: Outside, found: Collection[Door], *, gets_out: bool) -> Iterator[Row]:
    """The ports that lead to guests. Where these do not get out otherwise, their answers do: what
    is none does not get the router's address, and nothing else passes outside."""
    for one in found:
        yield Row(
            Key(name, f"forward {one.protocol} {one.port}"),
            ovn.BALANCERS,
            {
                "name": f"{ROUTER}-{name}-{one.protocol}-{one.port}",
                "protocol": one.protocol,
                "vips": {f"{way.ip}:{one.port}": f"{one.address}:{one.guest_port}"},
            },
            inside=(_ROUTER, "load_balancer"),
        )
    ends = {(one.protocol, one.address, one.guest_port) for one in found}
    for protocol, address, port in sorted(ends) if not gets_out else ():
        match = f'ip4.src == {address} && {protocol}.src == {port} && outport == "{_PORT}"'
        yield _policy(name, f"answers {protocol} {address} {port}", "100", match)


def way_back(name: str, subnet: str) -> Row:
    """What has come in to the router's address and is for a guest by now."""
    return _policy(name, WAY_BACK, "100", f'inport == "{_PORT}" && ip4.dst == {subnet}')


def _policy(name: str, part: str, priority: str, match: str) -> Row:
    action = "drop" if priority == "200" else "allow"
    columns = {"priority": priority, "match": match, "action": action}
    return Row(Key(name, part), ovn.POLICIES, columns, inside=(_ROUTER, "policies"))
