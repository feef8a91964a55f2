"""What every value of [networks.NAME] has to be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vmops.core.inventory import normal_form as normal
from vmops.core.inventory.rules import ENGINES, NAME, NETWORK_NODE, Rule, matching, one_of, whole

MOST_FORWARDS = 256
PROTOCOLS = ("tcp", "udp")
_TO = re.compile(rf"({normal.NAME.pattern}):([0-9]{{1,5}})")
_END = re.compile(rf"({normal.NAME.pattern}):({normal.NAME.pattern})")
_GATEWAY = re.compile(rf"({normal.NAME.pattern}):({normal.BRIDGE.pattern})")
MOST_GATEWAYS = 5
"""More would only ask each other whether they live: OVN takes the first that does."""

_ADDRESS = {"pattern": "^[0-9.]{7,15}$"}


def subnet(value: str) -> str | None:
    """An IPv4 subnet by its first address and prefix, with room for a gateway and a guest."""
    from ipaddress import IPv4Network

    try:
        found = IPv4Network(value)
    except ValueError:
        return None
    is_usable = 8 <= found.prefixlen <= 30 and not (found.is_loopback or found.is_multicast)
    return str(found) if is_usable and "/" in value else None


def address(value: str) -> str | None:
    """An IPv4 address without a prefix."""
    from ipaddress import IPv4Address

    try:
        return str(IPv4Address(value))
    except ValueError:
        return None


def own_address(value: str) -> str | None:
    """An IPv4 address that a host has, with the prefix of its subnet."""
    from ipaddress import IPv4Interface

    try:
        found = IPv4Interface(value)
    except ValueError:
        return None
    ends = (found.network[0], found.network[-1])
    is_host = 8 <= found.network.prefixlen <= 30 and found.ip not in ends
    return str(found) if is_host and "/" in value else None


def address_range(value: str) -> str | None:
    """The first and the last address of a range, with a hyphen between them."""
    from ipaddress import IPv4Address

    first, hyphen, last = (part.strip(" ") for part in value.partition("-"))
    ends = [address(first), address(last)]
    if not hyphen or None in ends or IPv4Address(first) > IPv4Address(last):
        return None
    return f"{ends[0]}-{ends[1]}"


def names(value: Sequence[object]) -> tuple[str, ...] | None:
    """Names, each once."""
    found = [normal.name(item) if isinstance(item, str) else None for item in value]
    known = tuple(dict.fromkeys(item for item in found if item is not None))
    return known if len(known) == len(value) else None


def target(value: str) -> str | None:
    """A VM and a port."""
    parts = _TO.fullmatch(value)
    return value if parts and 1 <= int(parts[2]) <= 65535 else None


def ends(value: Sequence[object]) -> tuple[str, ...] | None:
    """The two ends of a link."""
    found = tuple(item for item in value if isinstance(item, str) and _END.fullmatch(item))
    return found if len(found) == len(value) == 2 else None


def gateways(value: Sequence[object]) -> tuple[str, ...] | None:
    """Workers, each with a device of its own, and each once."""
    parts = [_GATEWAY.fullmatch(item) if isinstance(item, str) else None for item in value]
    workers = {part[1] for part in parts if part is not None}
    found = tuple(part[0] for part in parts if part is not None)
    return found if found and len(found) == len(value) == len(workers) <= MOST_GATEWAYS else None


def name_servers(value: Sequence[object]) -> tuple[str, ...] | None:
    """One address or a few, each once."""
    read = [address(item) if isinstance(item, str) else None for item in value]
    found = tuple(dict.fromkeys(item for item in read if item is not None))
    return found if 0 < len(found) == len(value) <= 3 else None


def _few(value: Sequence[Any]) -> tuple[Any, ...] | None:
    return tuple(value) if len(value) <= MOST_FORWARDS else None


def _switch(text: str) -> Rule:
    return Rule(bool, text, lambda value: value)


NETWORK: Mapping[str, Rule] = {
    "name": NAME,
    "engine": one_of(ENGINES),
    "vlan_id": whole(1, 4094, optional=True),
    "subnet": Rule(
        str,
        'an IPv4 subnet of 8 to 30 bits by its first address, as in "192.168.0.0/24"',
        subnet,
        optional=True,
        schema={"pattern": "^[0-9.]{7,15}/[0-9.]{1,15}$"},
    ),
    "gateway": Rule(str, "an IPv4 address of the subnet", address, optional=True, schema=_ADDRESS),
    "dhcp": _switch("true for DHCP on the network node"),
    "range": Rule(
        str,
        'two IPv4 addresses of the subnet, as in "192.168.0.100-192.168.0.199"',
        address_range,
        optional=True,
        schema={"pattern": "^[0-9.]{7,15} *- *[0-9.]{7,15} *$"},
    ),
    "internet": _switch("true for a way out by the network node"),
    "reach": Rule(
        list,
        "the names of other networks, each once",
        names,
        schema={"items": {"type": "string", **matching(normal.NAME)}, "uniqueItems": True},
    ),
    "dns": _switch("true for DNS on the network node"),
    "mtu": whole(576, 9216, optional=True),
    "forward": Rule(
        list,
        f'at most {MOST_FORWARDS} tables such as {{ port = 8022, to = "web1:22" }}',
        _few,
        schema={"maxItems": MOST_FORWARDS},
    ),
    "network_node": NETWORK_NODE,
}

LINK: Mapping[str, Rule] = {
    "ends": Rule(
        list,
        'two ends, each a VM and an interface, as in ["r1:eth2", "r2:eth2"]',
        ends,
        schema={
            "minItems": 2,
            "maxItems": 2,
            "items": {"type": "string", "pattern": f"^{_END.pattern}$"},
        },
    ),
    "engine": one_of(ENGINES),
}
"""What [[links]] says."""

SHAPES = ("line", "ring", "star", "tree", "mesh")

TOPOLOGY: Mapping[str, Rule] = {
    "name": NAME,
    "shape": one_of(SHAPES),
    "count": whole(2, 250, "2 to 250 VMs, which get the name with a number from 1 behind it"),
    "template": Rule(
        str, "the name of one of the templates", normal.name, schema=matching(normal.NAME)
    ),
    "workers": Rule(
        list,
        "the names of workers, each once: the VMs go round them",
        names,
        schema={"items": {"type": "string", **matching(normal.NAME)}, "uniqueItems": True},
    ),
    "engine": one_of(ENGINES),
}
"""What [topologies.NAME] says."""

FORWARD: Mapping[str, Rule] = {
    "port": whole(1, 65535),
    "to": Rule(
        str, 'a VM and a port, as in "web1:22"', target, schema={"pattern": f"^{_TO.pattern}$"}
    ),
    "protocol": one_of(PROTOCOLS),
}
"""What an item of `forward` says."""

CENTRAL: Mapping[str, Rule] = {
    "northbound": Rule(
        str,
        "the name of the worker that has OVN's central",
        normal.name,
        schema=matching(normal.NAME),
    ),
    "tls": Rule(bool, "true where workers follow the central by TLS", lambda value: value),
    "gateways": Rule(
        list,
        f"1 to {MOST_GATEWAYS} workers, each once, and its device or bridge to the outside, as in"
        ' ["worker3:eth1"]',
        gateways,
        schema={
            "minItems": 1,
            "maxItems": MOST_GATEWAYS,
            "items": {"type": "string", "pattern": f"^{_GATEWAY.pattern}$"},
            "uniqueItems": True,
        },
    ),
    "outside": Rule(
        str,
        'an IPv4 address that is free there, with its prefix, as in "203.0.113.10/24"',
        own_address,
        schema={"pattern": "^[0-9.]{7,15}/[0-9]{1,2}$"},
    ),
    "next_hop": Rule(str, "an IPv4 address of the subnet of outside", address, schema=_ADDRESS),
    "name_servers": Rule(
        list,
        "1 to 3 IPv4 addresses, each once",
        name_servers,
        schema={
            "minItems": 1,
            "maxItems": 3,
            "items": {"type": "string", **_ADDRESS},
            "uniqueItems": True,
        },
    ),
}
"""What [ovn] says."""

NEEDED_OF_CENTRAL = ("northbound",)
WAY_OUT = ("gateways", "outside", "next_hop")
"""Keys of [ovn] that are there all together, or not at all."""
