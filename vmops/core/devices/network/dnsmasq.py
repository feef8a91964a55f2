"""dnsmasq: its configuration, its leases, and its names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import NamedTuple

from vmops.core.devices.network.service import Service
from vmops.core.names import NET_ROOT

PROGRAM = "dnsmasq"
LEASE_TIME = "1h"
CONFIG, HOSTS, LEASES = "dnsmasq.conf", "hosts", "dhcp"

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_OTHER_WORD = re.compile(r"[0-9]+[smhdwSMHDW]?|ignore|infinite")
"""What stands for something else where dnsmasq takes the name of a host."""


def files(service: Service) -> Mapping[str, str]:
    """What it reads, by the name of the file in the network's folder on the node."""
    folder = f"{NET_ROOT}/{service.name}"
    lines = [
        "interface=lan",
        "except-interface=lo",
        "bind-interfaces",
        "no-hosts",
        "quiet-dhcp",
        f"dhcp-leasefile={folder}/leases",
    ]
    if service.hosts is None:
        lines.append("port=0")
    else:
        lines += [f"addn-hosts={folder}/{HOSTS}", "local-ttl=60", "cache-size=1000"]
        # Names without a dot are of our VMs only: none is asked for elsewhere.
        lines += ["domain-needed", "bogus-priv"]
        if service.internet:
            lines.append(f"resolv-file={folder}/resolv.conf")
        else:
            lines.append("no-resolv")
    if service.leases is not None:
        lines += _dhcp(service, folder)
    return {
        CONFIG: "\n".join(lines) + "\n",
        HOSTS: "".join(f"{host.address} {host.name}\n" for host in service.hosts or ()),
        LEASES: "".join(
            f"{lease.mac},{lease.address}{_name(lease.name)},{LEASE_TIME}\n"
            for lease in service.leases or ()
        ),
    }


def _dhcp(service: Service, folder: str) -> list[str]:
    network = IPv4Network(service.subnet)
    if service.range:
        first, _, last = service.range.partition("-")
        span = f"{first},{last}"
    else:
        span = f"{network.network_address},static"
    options = [f"3,{service.gateway}"]
    options += [f"6,{service.gateway}"] if service.hosts is not None else ["6"]
    options += [f"26,{service.mtu}"] if service.mtu is not None else []
    return [
        f"dhcp-range={span},{network.netmask},{LEASE_TIME}",
        f"dhcp-hostsfile={folder}/{LEASES}",
        "dhcp-authoritative",
        *(f"dhcp-option={option}" for option in options),
    ]


def _name(vm: str) -> str:
    """A VM's name as a host name, where it is one and dnsmasq takes it for one: a time in its
    place would be that of the lease, and one word that nothing is leased."""
    return f",{vm}" if _LABEL.fullmatch(vm) and not _OTHER_WORD.fullmatch(vm) else ""


class Leased(NamedTuple):
    """A lease that somebody has. `until` is a Unix time, 0 for one without an end."""

    until: int
    mac: str
    address: str
    name: str


def parse_leases(text: str) -> tuple[Leased, ...]:
    """What its file of leases holds; a line that cannot be read is left out."""
    found = []
    for line in text.split("\n"):
        words = line.split(" ")
        if len(words) >= 4 and words[0].isdecimal() and words[0].isascii():
            name = "" if words[3] == "*" else words[3]
            found.append(Leased(int(words[0][:12]), words[1], words[2], name))
    return tuple(found)
