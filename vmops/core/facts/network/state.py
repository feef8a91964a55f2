"""The networks that a node serves: what was asked, what runs, who has a lease, and the counters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.devices.network import dnsmasq, service
from vmops.core.devices.network.dnsmasq import Leased
from vmops.core.devices.network.service import Service
from vmops.core.facts.question import Question, lines_of
from vmops.core.script.command import FACT_BYTES, StepResult, command

TOOLS = (dnsmasq.PROGRAM, "nft", "nsenter", "ip")
"""What a node needs to serve networks."""


class Pictures(NamedTuple):
    """A network's addresses and routes, and its rules, each as a sum; empty where not known."""

    routes: str = ""
    rules: str = ""


class Served(NamedTuple):
    """A network that has a folder on the node.

    `asked` is what it was made of, None where that cannot be read: its making was cut short. `made`
    is how it was right after, and `now` how it is. `pid` is that of its dnsmasq, None where none
    runs.
    """

    name: str
    asked: Service | None
    made: Pictures = Pictures()
    now: Pictures = Pictures()
    pid: int | None = None


class Node(NamedTuple):
    """All that a node serves, and the sum of what was asked of it: a guard compares it.

    `devices` is the MTU of each network device, None where they were not asked for.
    """

    networks: Mapping[str, Served]
    sum: str = ""
    devices: Mapping[str, int] | None = None


def _node(said: StepResult) -> Node:
    found = {name: _served(name, raw.decode(errors="replace")) for name, raw in said.parts}
    return Node(MappingProxyType(found), said.stdout.decode(errors="replace").strip())


def _served(name: str, text: str) -> Served:
    lines = [*text.split("\n"), "", "", "", ""][:4]
    try:
        asked = service.from_json(lines[0])
    except ValueError:
        asked = None
    pid = lines[3].removeprefix("talks ")
    return Served(
        name, asked, _pictures(lines[1]), _pictures(lines[2]), int(pid) if pid.isdecimal() else None
    )


def _pictures(line: str) -> Pictures:
    words = line.split(" ")
    return Pictures(*words) if len(words) == 2 else Pictures()


NETWORKS = Question("networks", (command("network_facts", most_bytes=FACT_BYTES),), _node)
"""What the node serves."""

MISSING_TOOLS = Question(
    "network tools", (command("network_tools", *TOOLS),), lambda said: tuple(lines_of(said))
)
"""Those that the node lacks."""


def _devices(said: StepResult) -> Mapping[str, int]:
    pairs = (line.split() for line in lines_of(said))
    return MappingProxyType({name: int(mtu) for name, mtu in pairs})


DEVICES = Question("devices", (command("network_devices", most_bytes=FACT_BYTES),), _devices)
"""The MTU of each network device of the node."""


class Count(NamedTuple):
    """What a counter of nftables has counted."""

    packets: int
    bytes: int


class Counts(NamedTuple):
    """The leases and the counters of a network."""

    leases: tuple[Leased, ...] = ()
    counters: Mapping[str, Count] = MappingProxyType({})


_COUNTER = re.compile(r"counter (\w+) \{\s*packets (\d{1,20}) bytes (\d{1,20})\s*\}")


def _counts(said: StepResult) -> Mapping[str, Counts]:
    found: dict[str, Counts] = {}
    for part, raw in said.parts:
        name, _, kind = part.rpartition(" ")
        text = raw.decode(errors="replace")
        known = found.get(name, Counts())
        if kind == "leases":
            found[name] = known._replace(leases=dnsmasq.parse_leases(text))
        else:
            counters = {c[1]: Count(int(c[2]), int(c[3])) for c in _COUNTER.finditer(text)}
            found[name] = known._replace(counters=MappingProxyType(counters))
    return MappingProxyType(found)


COUNTS = Question(
    "leases and counters", (command("network_counts", most_bytes=FACT_BYTES),), _counts
)
"""Of each network by name."""
