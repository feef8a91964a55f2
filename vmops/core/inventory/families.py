"""From the tables of hosts.toml to single VMs: defaults, templates, counts, and derived numbers.

Each value that a VM's own table does not write has an origin, in words: where it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vmops.core.images.names import own_disk
from vmops.core.inventory import rules
from vmops.core.inventory.complaints import Fault, KeyPath, did_you_mean, key_path, show
from vmops.core.inventory.guest.addresses import address_faults, counted_up
from vmops.core.inventory.guest.cloud_init import read_cloud_init
from vmops.core.inventory.machine.rules import machine_faults
from vmops.core.inventory.rules import Rule
from vmops.core.inventory.tables import (
    OF_IMAGES,
    Values,
    as_table,
    card_faults,
    disk_faults,
    read_disks,
    read_interfaces,
    read_strictly,
)
from vmops.core.names import derived_vm_id

REQUIRED = ("ram_mb", "cores", "qcow_image")
"""What a VM has to get from somewhere. vm_id is derived where nothing gives it."""

BUILT_IN = "built in"
FROM_NAME = "derived from the name"
NAME_IN_PATH = "{name}"
"""Stands for the VM's name in qcow_image, so that defaults and counts can give each its own."""

_OWN: Mapping[str, Rule] = {
    **{key: rule for key, rule in rules.VM.items() if key != "name"},
    **rules.SEVERAL,
}

Origins = dict[str, str]


class Layer(NamedTuple):
    """A table that gives values to several VMs. `keys` are all that it writes, also bad ones."""

    where: KeyPath
    values: Values
    keys: frozenset[str]


class Member(NamedTuple):
    """One VM, and where its values came from that its own table does not write."""

    name: str
    values: Values
    origins: Origins


def read_layer(where: KeyPath, raw: object) -> tuple[Layer, list[Fault]]:
    """[vm_defaults] or a template, as far as it can be read; the faults are told from the root."""
    values, faults = read_strictly(raw, rules.SHARED)
    faults += _read_lists(values)
    faults += _read_cloud_init(values)
    keys = frozenset(as_table(raw)[0])
    return Layer(where, values, keys), [fault.below(*where) for fault in faults]


def read_family(
    where: KeyPath, raw: object, vm_defaults: Layer, templates: Mapping[str, Layer]
) -> tuple[list[Member], list[Fault]]:
    """The VM or VMs of the table that is at `where`. The faults are told from that table."""
    name = str(where[-1])
    table, _ = as_table(raw)
    template = table.get("template")
    layer = templates.get(template) if isinstance(template, str) else None
    layers = [one for one in (layer, vm_defaults) if one is not None and one.keys]
    is_whole = template is None or layer is not None
    elsewhere = {key for layer in layers for key in layer.keys}
    elsewhere |= {"qcow_image"} if "image" in elsewhere | table.keys() else set()
    required = [key for key in REQUIRED if key not in elsewhere] if is_whole else ()
    values, faults = read_strictly(raw, _OWN, required)
    if isinstance(values.get("template"), str) and layer is None:
        said = f"{show(template)}: is no template{did_you_mean(str(template), templates)}"
        faults.append(Fault(("template",), said))
    faults += _read_lists(values)
    faults += _read_cloud_init(values)
    values.pop("template", None)
    count = values.pop("count", None)
    origins: Origins = {}
    for layer in layers:
        found = layer.values.keys() - table.keys() - origins.keys()
        for key in found - _another_disk(values):
            values[key] = layer.values[key]
            origins[key] = f"[{key_path(layer.where)}]"
    if "qcow_image" in values and "image" not in values:
        for key in OF_IMAGES[1:]:
            if origins.pop(key, None):
                del values[key]
    faults += disk_faults(values)
    values.setdefault("interfaces", [])
    faults += [*card_faults(values), *machine_faults(values)]
    members = [Member(name, values, origins)]
    if count is not None:
        members, uncountable = _counted(where, count, values, origins)
        faults += uncountable
    for member in members:
        if "vm_id" not in table:
            member.values["vm_id"] = derived_vm_id(member.name)
            member.origins["vm_id"] = FROM_NAME
        if "image" in member.values:
            member.values["qcow_image"] = own_disk(member.name)
        elif "qcow_image" in member.values:
            image = member.values["qcow_image"].replace(NAME_IN_PATH, member.name)
            member.values["qcow_image"] = image
    return members, faults


def _read_lists(values: Values) -> list[Fault]:
    """Read what a table has as lists of tables, in their place: the faults."""
    faults: list[Fault] = []
    for key, read in (("interfaces", read_interfaces), ("disks", read_disks)):
        if key in values:
            values[key], found = read(values[key], strictly=True)
            faults += found
    return faults


def _read_cloud_init(values: Values) -> list[Fault]:
    """Put the model in the table's place; it is left out where something is wrong with it."""
    if "cloud_init" not in values:
        return []
    told, faults = read_cloud_init(values.pop("cloud_init"))
    if told is not None:
        values["cloud_init"] = told
    return [fault.below("cloud_init") for fault in faults]


def _another_disk(values: Values) -> set[str]:
    """The other way to a disk: what says one goes without what a layer below says of the other."""
    if "qcow_image" in values:
        return {"image"}
    return {"qcow_image"} if "image" in values else set()


def _counted(
    where: KeyPath, count: int, values: Values, origins: Origins
) -> tuple[list[Member], list[Fault]]:
    """`name1` to `nameN`. Numbers and MACs that are given are those of the first, and count up."""
    members = []
    faults = []
    table = f"[{key_path(where)}]"
    origins = dict.fromkeys(values, table) | origins
    for index in range(count):
        member = Member(f"{where[-1]}{index + 1}", dict(values), dict(origins))
        objections = [
            (("name",), show(member.name), rules.VM["name"].objection(member.name)),
            *_count_up(member, index, f"counted up from {table}"),
        ]
        members.append(member)
        faults += [
            Fault(("count",), f"{count}: gives {member.name} the {key_path(key)} {value}: {why}")
            for key, value, why in objections
            if why is not None
        ]
        if faults:
            break
    return members, faults


def _count_up(member: Member, index: int, origin: str) -> Iterator[tuple[KeyPath, str, str | None]]:
    """Change the values of a member to its own; each with what is wrong with it, or None."""
    for key in ("vm_id", "vnc_port"):
        if key in member.values:
            number = member.values[key] + index
            member.values[key] = number
            member.origins[key] = origin
            yield (key,), str(number), rules.VM[key].objection(number)
    interfaces = []
    for position, interface in enumerate(member.values["interfaces"]):
        if interface.get("mac"):
            mac = _mac(int(interface["mac"].replace(":", ""), 16) + index)
            interface = interface | {"mac": mac}
            yield ("interfaces", position, "mac"), mac, rules.INTERFACE["mac"].objection(mac)
        if interface.get("address"):
            address, why = counted_up(interface["address"], index)
            interface = interface | {"address": address}
            why = why or _objection(interface)
            yield ("interfaces", position, "address"), address, why
        interfaces.append(interface)
    member.values["interfaces"] = interfaces


def _objection(interface: Values) -> str | None:
    """What is wrong with an address that was counted to."""
    rule = rules.INTERFACE["address"].objection(interface["address"])
    if rule is not None or "network" in interface:
        return rule
    return next((fault.said for fault in address_faults(interface)), None)


def _mac(number: int) -> str:
    digits = f"{number:012x}"
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
