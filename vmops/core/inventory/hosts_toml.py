"""hosts.toml as plain values: every table is read as far as it goes, and every fault is kept.

What reads a section that few files have is imported where one has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from vmops.core.inventory import rules
from vmops.core.inventory.complaints import Fault, KeyPath, did_you_mean, key_path, show
from vmops.core.inventory.conflicts import conflicts, unknown_images
from vmops.core.inventory.families import BUILT_IN, FROM_NAME, read_family, read_layer
from vmops.core.inventory.networks import rules as network_rules
from vmops.core.inventory.networks.engine import ovn_faults, tunnel_ip
from vmops.core.inventory.normal_form import path_from
from vmops.core.inventory.placement.apart import apart_faults
from vmops.core.inventory.rules import Rule
from vmops.core.inventory.tables import (
    REQUIRED_OF_WORKER,
    Values,
    as_table,
    read_strictly,
)

if TYPE_CHECKING:
    from vmops.core.inventory.networks.model import Member

SECTIONS = (
    *("defaults", "workers", "networks", "images", "vm_defaults", "templates", "vms"),
    *("links", "topologies", "ovn"),
)
_IN_WORKER = {key: rule for key, rule in rules.WORKER.items() if key != "name"}
_IN_IMAGE = {key: rule for key, rule in rules.IMAGE.items() if key != "name"}


_LINK_VLANS = (("defaults",), ("defaults", "link_vlans"))


class HostsToml:
    """What could be read. The models can be built of it when `faults` is empty.

    `origins` says of values that a worker's or VM's own table does not write where they came from.
    `unmade` are tables with a fault of their own, so that VMs may be missing which they would make.
    """

    def __init__(self) -> None:
        self.defaults: Values = {}
        self.workers: dict[str, Values] = {}
        self.networks: dict[str, Values] = {}
        self.members: dict[str, list[Member]] = {}
        self.images: dict[str, Values] = {}
        self.vms: dict[str, Values] = {}
        self.topologies: dict[str, Values] = {}
        self.unmade: frozenset[str] = frozenset()
        self.ovn: Values = {}
        self.mesh: str | None = None
        self.faults: list[Fault] = []
        self.origins: dict[tuple[str, str, str], str] = {}


def read_hosts_toml(tree: Mapping[str, object], *, folder: str = "") -> HostsToml:
    """All sections of a parsed file, and everything that is wrong with them.

    Relative paths of files here are taken from `folder`; where that is empty they stay as they are.
    """
    hosts = HostsToml()
    for key in tree:
        if key not in SECTIONS:
            hosts.faults.append(Fault((key,), f"is not a section{did_you_mean(key, SECTIONS)}"))
    defaults, faults = read_strictly(tree.get("defaults", {}), {**rules.SETTINGS, **rules.FLEET})
    for_all = {key: defaults.pop(key) for key in rules.FLEET if key in defaults}
    hosts.mesh = for_all.pop("mesh", None)
    hosts.defaults = _files_from(folder, defaults)
    hosts.faults += [fault.below("defaults") for fault in faults]
    for name, raw in _named_tables(hosts, tree, "workers", rules.WORKER["name"]):
        values, faults = read_strictly(raw, _IN_WORKER, REQUIRED_OF_WORKER)
        hosts.workers[name] = hosts.defaults | _files_from(folder, values)
        for key in hosts.defaults.keys() - values.keys():
            hosts.origins["workers", name, key] = "[defaults]"
        hosts.faults += [fault.below("workers", name) for fault in faults]
    for name, raw in _named_tables(hosts, tree, "images", rules.IMAGE["name"]):
        from vmops.core.inventory.image import contradictions

        values, faults = read_strictly(raw, _IN_IMAGE)
        hosts.images[name] = _files_from(folder, values, rules.IMAGE)
        faults = faults or contradictions(values)
        hosts.faults += [fault.below("images", name) for fault in faults]
    _read_vms(hosts, tree, folder)
    hosts.unmade = frozenset(
        str(fault.path[1]) if len(fault.path) > 1 else ""
        for fault in hosts.faults
        if fault.path[:1] in (("vms",), ("topologies",))
    )
    laid = _read_links(hosts, tree, for_all)
    _read_ovn(hosts, tree)
    _read_networks(hosts, tree, for_all, laid)
    _look_at_ovn(hosts)
    _note_built_in(hosts)
    if hosts.mesh is not None:
        from vmops.core.inventory.networks.mesh import mesh_faults

        hosts.faults += mesh_faults(hosts.networks, _with_ends(hosts), hosts.vms)
    from_name = {path[1] for path, origin in hosts.origins.items() if origin == FROM_NAME}
    hosts.faults += conflicts(
        hosts.workers, hosts.vms, vm_id_from_name=from_name, networks=hosts.networks
    )
    hosts.faults += unknown_images(hosts.vms, hosts.images)
    hosts.faults += apart_faults(hosts.vms, hosts.unmade)
    return hosts


def _note_built_in(hosts: HostsToml) -> None:
    """Whatever laid an interface or a further disk has not laid what nobody says of it."""
    for name, values in hosts.vms.items():
        for key, unsaid in (("interfaces", "model"), ("disks", "format")):
            for index, table in enumerate(values.get(key, ())):
                if unsaid not in table:
                    hosts.origins["vms", name, f"{key}.{index}.{unsaid}"] = BUILT_IN


def _read_links(hosts: HostsToml, tree: Mapping[str, object], for_all: Values) -> dict[str, Values]:
    """Links of topologies and those that are written: each gets a VLAN that nobody else has, or a
    network of OVN: these are given back. A link that is written for a VM of a topology adds its
    interface behind those that it has by that."""
    vlans, engine = for_all.pop("link_vlans", None), for_all.get("engine", rules.VLAN)
    if not hosts.topologies and "links" not in tree:
        return {}
    from vmops.core.inventory.networks import links

    found: list[links.Link] = []
    for name, values in hosts.topologies.items():
        found += links.links_of(name, values, hosts.vms, engine)
    written, faults = links.read_links(tree.get("links", []), engine)
    found += written
    networks = as_table(tree.get("networks", {}))[0]
    taken = links.Taken(links.vlans_of(hosts.vms, networks), networks)
    hosts.faults += faults
    if vlans is None and any(link.engine == rules.VLAN for link in found):
        # One that is there and wrong has been told.
        if not any(fault.path[:2] in _LINK_VLANS for fault in hosts.faults):
            why = "missing: must be given in [defaults], as there are links"
            hosts.faults.append(Fault(("defaults", "link_vlans"), why))
        return {}
    laid = links.lay(found, hosts.vms, vlans or "1-1", taken, hosts.unmade)
    hosts.origins |= laid.origins
    hosts.faults += laid.faults
    return laid.networks


def _read_networks(
    hosts: HostsToml, tree: Mapping[str, object], for_all: Values, laid: Mapping[str, Values]
) -> None:
    """The networks, those of links that are `laid` too, and what they say of the interfaces of VMs:
    these have been read."""
    if "networks" not in tree and not laid and not _names_a_network(hosts.vms):
        return
    from vmops.core.inventory.networks import faults as of_networks
    from vmops.core.inventory.networks.mesh import mtu_in_tunnels
    from vmops.core.inventory.networks.reading import both_ways, join, read_network

    for name, raw in _named_tables(hosts, tree, "networks", network_rules.NETWORK["name"]):
        values, faults = read_network(raw, engine=for_all.get("engine", rules.VLAN))
        hosts.faults += [fault.below("networks", name) for fault in faults]
        own = raw if isinstance(raw, Mapping) else {}
        if "engine" in for_all and "engine" not in own:
            hosts.origins["networks", name, "engine"] = "[defaults]"
        left_out = {"network_node"} if values.get("engine") == rules.OVN else set()
        for key in for_all.keys() - values.keys() - left_out:
            values[key] = for_all[key]
            hosts.origins["networks", name, key] = "[defaults]"
        if hosts.mesh is not None and values.get("engine") != rules.OVN and "mtu" not in values:
            values["mtu"] = mtu_in_tunnels(_with_ends(hosts))
            hosts.origins["networks", name, "mtu"] = "what a tunnel of the mesh carries"
        hosts.networks[name] = values
    for name, values in laid.items():
        hosts.networks[name] = dict(values)
        hosts.origins["networks", name, "engine"] = "a link"
    hosts.faults += of_networks.contradictions(
        hosts.networks, hosts.workers, {fault.path for fault in hosts.faults}
    )
    for name, reached in both_ways(hosts.networks).items():
        if reached:
            hosts.networks[name]["reach"] = reached
    told = {fault.path for fault in hosts.faults if fault.path[:1] == ("vms",)}
    joined = join(hosts.networks, hosts.vms, tuple(hosts.ovn.get("name_servers", ())))
    hosts.members = joined.members
    hosts.origins |= joined.origins
    # An end of a link was looked at before it was one.
    hosts.faults += [fault for fault in joined.faults if fault.path not in told]
    hosts.faults += of_networks.unknown_targets(
        hosts.networks,
        {name: [m.vm for m in found] for name, found in joined.members.items()},
        hosts.unmade,
    )


def _names_a_network(vms: Mapping[str, Values]) -> bool:
    interfaces = (interface for vm in vms.values() for interface in vm.get("interfaces", ()))
    return any("network" in interface for interface in interfaces)


def _read_ovn(hosts: HostsToml, tree: Mapping[str, object]) -> None:
    """OVN's central and its way out."""
    if "ovn" in tree:
        hosts.ovn, faults = read_strictly(
            tree["ovn"], network_rules.CENTRAL, network_rules.NEEDED_OF_CENTRAL
        )
        hosts.faults += [fault.below("ovn") for fault in faults]


def _look_at_ovn(hosts: HostsToml) -> None:
    """Whether there is what networks need of it, where it could be read; these have been read."""
    if any(fault.path[:1] == ("ovn",) for fault in hosts.faults):
        return
    pinned = ((values.get("worker"), name, values) for name, values in hosts.vms.items())
    hosts.faults += ovn_faults(
        hosts.networks,
        _with_ends(hosts),
        hosts.ovn,
        {worker: name for worker, name, values in pinned if worker and _has_logical_port(values)},
    )


def _with_ends(hosts: HostsToml) -> dict[str, Values]:
    """The workers, each with its end of tunnels."""
    return {name: v | {"tunnel_ip": tunnel_ip(v)} for name, v in hosts.workers.items()}


def _has_logical_port(vm: Values) -> bool:
    return any(interface.get("engine") for interface in vm.get("interfaces", ()))


def _read_vms(hosts: HostsToml, tree: Mapping[str, object], folder: str) -> None:
    vm_defaults, faults = read_layer(("vm_defaults",), tree.get("vm_defaults", {}))
    hosts.faults += faults
    templates = {}
    for name, raw in _named_tables(hosts, tree, "templates", rules.VM["name"]):
        templates[name], faults = read_layer(("templates", name), raw)
        hosts.faults += faults
    made_by: dict[str, KeyPath] = {}
    tables: list[tuple[KeyPath, object]] = [
        (("vms", name), raw) for name, raw in _named_tables(hosts, tree, "vms", rules.VM["name"])
    ]
    for name, raw in _named_tables(hosts, tree, "topologies", network_rules.TOPOLOGY["name"]):
        from vmops.core.inventory.networks.links import read_topology

        values, faults = read_topology(raw)
        hosts.faults += [fault.below("topologies", name) for fault in faults]
        if not faults:
            hosts.topologies[name] = values
            family = {key: values[key] for key in ("template", "count")}
            tables.append((("topologies", name), family))
    for where, raw in tables:
        members, faults = read_family(where, raw, vm_defaults, templates)
        hosts.faults += [fault.below(*where) for fault in faults]
        if where[0] == "topologies":
            from vmops.core.inventory.networks.links import spread

            spread(members, hosts.topologies[str(where[1])], key_path(where))
        for member in members:
            first = made_by.setdefault(member.name, where)
            if first != where:
                said = f"makes a VM {show(member.name)}, and so does {key_path(first)}"
                hosts.faults.append(Fault(where, said))
                continue
            hosts.vms[member.name] = _rooted(folder, member.values)
            for key, origin in member.origins.items():
                hosts.origins["vms", member.name, key] = origin


def _files_from(folder: str, values: Values, known: Mapping[str, Rule] = rules.WORKER) -> Values:
    return {
        key: path_from(folder, value) if known[key].is_file_here else value
        for key, value in values.items()
    }


def _rooted(folder: str, values: Values) -> Values:
    told = values.get("cloud_init")
    if told is None:
        return values
    return values | {"cloud_init": told.rooted(lambda path: path_from(folder, path))}


def _named_tables(
    hosts: HostsToml, tree: Mapping[str, object], section: str, rule: Rule
) -> Iterable[tuple[str, object]]:
    """Name and content of each table of a section, after complaining of a bad name."""
    tables, faults = as_table(tree.get(section, {}))
    for name in tables:
        objection = rule.objection(name)
        if objection is not None:
            faults.append(Fault((name,), f"the name {objection}"))
    hosts.faults += [fault.below(section) for fault in faults]
    return tables.items()
