"""[[links]] and [topologies.NAME]: a VLAN of its own between two interfaces, and shapes of many.

A link's VLAN is handed out by the names of its ends, so that another link moves few others, if any.
One that OVN carries is a network of its own instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from vmops.core.inventory import rules as inventory_rules
from vmops.core.inventory.complaints import Fault, KeyPath, did_you_mean, is_of, key_path, show
from vmops.core.inventory.families import Member
from vmops.core.inventory.networks import rules
from vmops.core.inventory.networks.addresses import hand_out
from vmops.core.inventory.rules import VLAN
from vmops.core.inventory.tables import Values, read_strictly
from vmops.core.names import link_network

NEEDED = ("shape", "count", "template")
"""Keys that every topology has."""

_IN_TOPOLOGY = {key: rule for key, rule in rules.TOPOLOGY.items() if key != "name"}


class Link(NamedTuple):
    """Two ends, each a VM and its interface, where that is written, and what carries it."""

    ends: tuple[str, str]
    where: KeyPath
    engine: str = VLAN

    @property
    def key(self) -> str:
        """What its VLAN is handed out by: whichever end is written first."""
        return " ".join(sorted(self.ends))


def pairs(shape: str, count: int) -> list[tuple[int, int]]:
    """Which of `count` VMs are linked, by their numbers from 1."""
    line = [(n, n + 1) for n in range(1, count)]
    if shape == "line":
        return line
    if shape == "ring":
        return [*line, (1, count)]
    if shape == "star":
        return [(1, n) for n in range(2, count + 1)]
    if shape == "tree":
        return [(n // 2, n) for n in range(2, count + 1)]
    return list(combinations(range(1, count + 1), 2))


def read_links(raw: object, engine: str) -> tuple[list[Link], list[Fault]]:
    """The links that are written one by one; the faults are told from the root. `engine` is the one
    of those that do not say another."""
    found, faults = [], []
    if not isinstance(raw, list):
        return [], [Fault(("links",), f"{show(raw)}: must be a list of tables: write [[links]]")]
    for index, item in enumerate(raw):
        values, wrong = read_strictly(item, rules.LINK, ("ends",))
        where: KeyPath = ("links", index)
        faults += [fault.below(*where) for fault in wrong]
        if "ends" in values:
            found.append(Link(values["ends"], where, values.get("engine", engine)))
    return found, faults


def read_topology(raw: object) -> tuple[Values, list[Fault]]:
    """A topology; the faults are told from its table."""
    values, faults = read_strictly(raw, _IN_TOPOLOGY, NEEDED)
    if values.get("shape") == "ring" and values.get("count", 3) < 3:
        faults.append(Fault(("count",), f"{values['count']}: must be 3 or more for a ring"))
    return values, faults


def spread(members: Sequence[Member], topology: Values, origin: str) -> None:
    """Give each VM of a topology the next of its workers, where it names some."""
    workers = topology.get("workers", ())
    for number, member in enumerate(members if workers else ()):
        member.values["worker"] = workers[number % len(workers)]
        member.origins["worker"] = f"[{origin}]"


def links_of(name: str, values: Values, vms: Mapping[str, Values], engine: str) -> Iterator[Link]:
    """The links of a topology, of that `engine` where it says no other. Each VM calls its ends
    ethN, on from those that it has."""
    taken: dict[str, set[str]] = {}

    def end(number: int) -> str:
        vm = f"{name}{number}"
        interfaces = vms.get(vm, {}).get("interfaces", ())
        names = taken.setdefault(vm, {str(nic.get("name")) for nic in interfaces})
        free = next(f"eth{n}" for n in range(1, 100) if f"eth{n}" not in names)
        names.add(free)
        return f"{vm}:{free}"

    for one, other in pairs(values["shape"], values["count"]):
        ends = (end(one), end(other))
        yield Link(ends, ("topologies", name), values.get("engine", engine))


def vlans_of(vms: Mapping[str, Values], networks: Mapping[str, object]) -> set[int]:
    """What interfaces and networks have already, as far as it can be read."""
    found = {
        vlan
        for values in vms.values()
        for nic in values.get("interfaces", ())
        for vlan in (nic.get("vlan_id"), *nic.get("trunks", ()))
    }
    found |= {raw.get("vlan_id") for raw in networks.values() if isinstance(raw, dict)}
    return {vlan for vlan in found if isinstance(vlan, int)}


class Taken(NamedTuple):
    """VLANs and names of networks that are somebody's already."""

    vlans: Collection[int] = ()
    networks: Collection[str] = ()


class Laid(NamedTuple):
    """The origins of what ends were given, the networks of links that OVN carries, and faults."""

    origins: dict[tuple[str, str, str], str]
    networks: dict[str, Values]
    faults: list[Fault]


def lay(
    links: Sequence[Link],
    vms: Mapping[str, Values],
    vlans: str,
    taken: Taken,
    unmade: Collection[str] = (),
) -> Laid:
    """Give each end its VLAN or its network; an interface that the VM does not have is added behind
    its others. A link to a VM of a table that is `unmade` is left out without a fault.
    """
    good, faults = _checked(links, vms, unmade)
    laid = Laid({}, {}, faults)
    first, last = map(int, vlans.split("-"))
    numbers = hand_out(
        (link.key for link in good if link.engine == VLAN),
        last - first + 1,
        {vlan - first for vlan in taken.vlans},
    )
    for link in good:
        if link.engine != VLAN:
            name = link_network(link.ends)
            if name in taken.networks or name in laid.networks:
                said = f"{' '.join(link.ends)}: {name}, which is its network, is another's name"
                faults.append(Fault(link.where, said))
                continue
            laid.networks[name] = {"engine": link.engine}
            told: Values = {"network": name}
        elif link.key in numbers:
            told = {"vlan_id": first + numbers[link.key]}
        else:
            faults.append(Fault(link.where, f"{' '.join(link.ends)}: {vlans} has no VLAN left"))
            continue
        for end in link.ends:
            faults += _plugged(vms, end, told, link, laid.origins)
    return laid


def _checked(
    links: Sequence[Link], vms: Mapping[str, Values], unmade: Collection[str]
) -> tuple[list[Link], list[Fault]]:
    used: dict[str, Link] = {}
    good, faults = [], []
    for link in links:
        wrong = []
        names = {end.partition(":")[0] for end in link.ends}
        lost = any(name not in vms and is_of(name, unmade) for name in names)
        for place, end in enumerate(link.ends):
            vm, _, _ = end.partition(":")
            path = (*link.where, "ends", place)
            first = used.setdefault(end, link)
            if vm not in vms and is_of(vm, unmade):
                continue
            if vm not in vms:
                wrong.append(Fault(path, f"{show(end)}: is not a VM's{did_you_mean(vm, vms)}"))
            elif first is not link or link.ends[0] == link.ends[1]:
                said = f"{show(end)}: must not be an end of {key_path(first.where)} too"
                wrong.append(Fault(path, said))
        faults += wrong
        good += [] if wrong or lost else [link]
    return good, faults


def _plugged(
    vms: Mapping[str, Values],
    end: str,
    told: Values,
    link: Link,
    origins: dict[tuple[str, str, str], str],
) -> list[Fault]:
    vm, _, name = end.partition(":")
    values = vms[vm]
    interfaces = [*values.get("interfaces", ())]
    places = [n for n, nic in enumerate(interfaces) if nic.get("name") == name]
    if not places:
        interfaces.append({"name": name})
    place = places[0] if places else len(interfaces) - 1
    said = [key for key in ("vlan_id", "network", "trunks") if interfaces[place].get(key)]
    if said:
        what = f"must be left out, as {key_path(link.where)} says it"
        path: KeyPath = ("vms", vm, "interfaces", place, said[0])
        return [Fault(path, f"{show(interfaces[place][said[0]])}: {what}")]
    if len(interfaces) > inventory_rules.MAX_INTERFACES:
        most = inventory_rules.MAX_INTERFACES
        what = f"{show(end)}: would be one more than the {most} interfaces that {vm} may have"
        return [Fault(link.where, what)]
    interfaces[place] = {**interfaces[place], **told}
    values["interfaces"] = interfaces
    other = link.ends[1] if end == link.ends[0] else link.ends[0]
    for key in told:
        origins["vms", vm, f"interfaces.{place}.{key}"] = f"the link to {other}"
    return []
