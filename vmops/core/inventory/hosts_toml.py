"""hosts.toml as plain values: every table is read as far as it goes, and every fault is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vmops.core.inventory import rules
from vmops.core.inventory.complaints import Fault, did_you_mean
from vmops.core.inventory.conflicts import conflicts
from vmops.core.inventory.normal_form import path_from
from vmops.core.inventory.rules import Rule
from vmops.core.inventory.tables import (
    REQUIRED_OF_VM,
    REQUIRED_OF_WORKER,
    Values,
    as_table,
    read_interfaces,
    read_strictly,
)

SECTIONS = ("defaults", "workers", "vms")
_IN_WORKER = {key: rule for key, rule in rules.WORKER.items() if key != "name"}
_IN_VM = {key: rule for key, rule in rules.VM.items() if key != "name"}


@dataclass(slots=True)
class HostsToml:
    """What could be read. The models can be built of it when `faults` is empty."""

    defaults: Values = field(default_factory=dict)
    workers: dict[str, Values] = field(default_factory=dict)
    vms: dict[str, Values] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_hosts_toml(tree: Mapping[str, object], *, folder: str = "") -> HostsToml:
    """The three sections of a parsed file, and everything that is wrong with them.

    Relative paths of files here are taken from `folder`; where that is empty they stay as they are.
    """
    hosts = HostsToml()
    for key in tree:
        if key not in SECTIONS:
            hosts.faults.append(Fault((key,), f"is no section{did_you_mean(key, SECTIONS)}"))
    defaults, faults = read_strictly(tree.get("defaults", {}), rules.SETTINGS)
    hosts.defaults = _files_from(folder, defaults)
    hosts.faults += [fault.below("defaults") for fault in faults]
    for name, raw in _named_tables(hosts, tree, "workers", rules.WORKER["name"]):
        values, faults = read_strictly(raw, _IN_WORKER, REQUIRED_OF_WORKER)
        hosts.workers[name] = hosts.defaults | _files_from(folder, values)
        hosts.faults += [fault.below("workers", name) for fault in faults]
    for name, raw in _named_tables(hosts, tree, "vms", rules.VM["name"]):
        hosts.vms[name], faults = _read_vm(raw)
        hosts.faults += [fault.below("vms", name) for fault in faults]
    hosts.faults += conflicts(hosts.workers, hosts.vms)
    return hosts


def _files_from(folder: str, values: Values) -> Values:
    return {
        key: path_from(folder, value) if rules.WORKER[key].is_file_here else value
        for key, value in values.items()
    }


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


def _read_vm(raw: object) -> tuple[Values, list[Fault]]:
    values, faults = read_strictly(raw, _IN_VM, REQUIRED_OF_VM)
    interfaces, of_interfaces = read_interfaces(values.get("interfaces", ()), strictly=True)
    return values | {"interfaces": interfaces}, [*faults, *of_interfaces]
