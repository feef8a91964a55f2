"""The rules of nftables: those of a network's namespace, and those of its node for it.

Each text replaces its table in one transaction, so there is no moment without rules. Nothing but
our own tables is touched. Names of devices and addresses are of our own making, without blanks.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmops.core.devices.network.service import Service
from vmops.core.names import NetworkNames

INSIDE = "inet vmops"
"""The only table of a namespace."""

INTERNET, DROPPED, REFUSED, FORWARDED = "internet", "dropped", "refused", "forwarded"
"""Its counters: what went out, what crossed nowhere, what the node itself was asked for in vain,
connections to forwarded ports; and one for each network that it reaches, by that one's `link`."""


def _replaced(table: str, body: Iterable[str]) -> str:
    lines = "\n".join(f"  {line}" for line in body)
    return f"add table {table}\ndelete table {table}\ntable {table} {{\n{lines}\n}}\n"


def inside(service: Service) -> str:
    """What crosses the namespace: nothing but what is asked for, and everything is counted."""
    reached = [(peer.subnet, NetworkNames(peer.network).link) for peer in service.reach]
    counters = [DROPPED, REFUSED, INTERNET, FORWARDED, *(link for _, link in reached)]
    return _replaced(
        INSIDE,
        (
            *(f"counter {name} {{ }}" for name in counters),
            *_chain(
                "forward", "filter hook forward priority filter; policy drop", _across(service)
            ),
            *_chain("input", "filter hook input priority filter; policy drop", _asked(service)),
            *(_translation(service) if service.uplink else ()),
        ),
    )


def _chain(name: str, head: str, rules: Iterable[str]) -> list[str]:
    return [f"chain {name} {{", f"  type {head};", *(f"  {rule}" for rule in rules), "}"]


def _across(service: Service) -> list[str]:
    own = service.subnet
    rules = []
    for peer in service.reach:
        link = NetworkNames(peer.network).link
        rules += [
            f'iifname "lan" oifname "{link}" ip saddr {own} ip daddr {peer.subnet}'
            f" counter name {link} accept",
            f'iifname "{link}" oifname "lan" ip saddr {peer.subnet} ip daddr {own} accept',
        ]
    if service.uplink:
        kept = ", ".join(service.kept)
        rules += [
            f'iifname "lan" oifname "up" ip daddr {{ {kept} }} counter name {DROPPED} drop',
            'iifname "up" oifname "lan" ct state established,related accept',
            f'iifname "up" oifname "lan" ct status dnat counter name {FORWARDED} accept',
            f'iifname "lan" oifname "up" ip saddr {own} counter name {INTERNET} accept'
            if service.internet
            else 'iifname "lan" oifname "up" ct state established,related accept',
        ]
    return [*rules, f"counter name {DROPPED} drop"]


def _asked(service: Service) -> list[str]:
    """What the namespace itself answers."""
    ping = "icmp type { echo-request, destination-unreachable, time-exceeded } accept"
    return [
        'iifname "lo" accept',
        "ct state established,related accept",
        f'iifname "lan" {ping}',
        *(
            f'iifname "{NetworkNames(peer.network).link}" ip saddr {peer.subnet} {ping}'
            for peer in service.reach
        ),
        *(('iifname "lan" udp dport 67 accept',) if service.leases is not None else ()),
        *(
            ('iifname "lan" meta l4proto { tcp, udp } th dport 53 accept',)
            if service.hosts is not None
            else ()
        ),
        f"counter name {REFUSED} drop",
    ]


def _translation(service: Service) -> list[str]:
    ways = [
        f'iifname "up" {way.protocol} dport {way.port} dnat ip to {way.address}:{way.guest_port}'
        for way in service.forward
    ]
    return [
        *_chain("prerouting", "nat hook prerouting priority dstnat", ways),
        *_chain("postrouting", "nat hook postrouting priority srcnat", ['oifname "up" masquerade']),
    ]


def on_the_node(service: Service) -> str:
    """What the node does with the namespace's packets: out by the uplink and back, and no further.

    None of its own addresses is reached from there. An accept here would overrule nobody else's
    drop, so a firewall of the node that drops what is forwarded has to let these pass.
    """
    up, port, uplink = service.names.uplink, service.names.port, service.uplink
    ways = [
        f'iifname "{uplink}" fib daddr type local {way.protocol} dport {way.port}'
        f" dnat ip to {service.inner}:{way.port}"
        for way in service.forward
    ]
    return _replaced(
        f"inet {service.names.table}",
        (
            *_chain(
                "input",
                "filter hook input priority filter - 10; policy accept",
                [f'iifname {{ "{up}", "{port}" }} drop'],
            ),
            *_chain(
                "forward",
                "filter hook forward priority filter - 10; policy accept",
                [
                    f'iifname "{port}" drop',
                    f'oifname "{port}" drop',
                    f'iifname "{up}" oifname != "{uplink}" drop',
                    f'oifname "{up}" iifname != "{uplink}" drop',
                    f'oifname "{up}" ct state new ct status ! dnat drop',
                ],
            ),
            *_chain("prerouting", "nat hook prerouting priority dstnat", ways),
            *_chain(
                "postrouting",
                "nat hook postrouting priority srcnat",
                [f'oifname "{uplink}" ip saddr {service.inner} masquerade'],
            ),
        ),
    )


def around_uplink(uplink: str) -> str:
    """For a node that has forwarded nothing before: what comes in by the uplink goes to our
    networks only, although the kernel now forwards it."""
    return _replaced(
        f"inet {uplink_table(uplink)}",
        _chain(
            "forward",
            "filter hook forward priority filter - 10; policy accept",
            [f'iifname "{uplink}" oifname != "vmu*" drop'],
        ),
    )


def uplink_table(uplink: str) -> str:
    """The name of that table."""
    return f"vmops_up_{NetworkNames(uplink).short}"
