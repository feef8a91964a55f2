"""Holding keys and values that somebody gave to the table of rules, without stopping at a fault."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from math import isfinite
from typing import Any, TypeVar, cast

from vmops.core.inventory import rules
from vmops.core.inventory.attachment import attachment_faults
from vmops.core.inventory.complaints import Fault, InvalidValue, did_you_mean, guess, show
from vmops.core.inventory.guest.addresses import address_faults
from vmops.core.inventory.networks.impairment import impairment_faults
from vmops.core.inventory.rules import Rule

Values = dict[str, Any]
Model = TypeVar("Model")

REQUIRED_OF_VM = ("vm_id", "ram_mb", "cores", "qcow_image")
OF_IMAGES = ("image", "disk", "disk_gb")
"""Keys of a VM whose disk is made of an image."""
REQUIRED_OF_WORKER = ("address",)
REQUIRED_OF_INTERFACE = ("name",)
REQUIRED_OF_DISK = ("name", "size_gb")
REQUIRED_OF_USER = ("name",)


def as_table(raw: object) -> tuple[Mapping[str, object], list[Fault]]:
    """`raw` itself when it is a table; else an empty one, and a fault."""
    if isinstance(raw, Mapping) and all(isinstance(key, str) for key in raw):
        return raw, []
    return {}, [Fault((), f"{show(raw)}: must be a table of keys and values")]


def read_known(
    table: Mapping[str, object], known: Mapping[str, Rule], required: Collection[str] = ()
) -> tuple[Values, list[Fault]]:
    """The good values of `known` keys in normal form, and a fault for each bad or missing one."""
    values: Values = {}
    faults = []
    for key, rule in known.items():
        if key not in table:
            if key in required:
                faults.append(Fault((key,), f"missing: must be {rule.text}"))
            continue
        objection = rule.objection(table[key])
        if objection is None:
            values[key] = rule.normalised(table[key])
        else:
            faults.append(Fault((key,), f"{show(table[key])}: {objection}"))
    return values, faults


def read_strictly(
    raw: object, known: Mapping[str, Rule], required: Collection[str] = ()
) -> tuple[Values, list[Fault]]:
    """As `read_known`, and a key that is not known is a fault with a guess.

    A required key that is missing is not complained of when an unknown one was probably meant
    to be it.
    """
    table, not_a_table = as_table(raw)
    if not_a_table:
        return {}, not_a_table
    open_keys = [key for key in known if key not in table]
    unknown = [key for key in table if key not in known]
    meant = {guess(key, open_keys) for key in unknown}
    values, faults = read_known(table, known, [key for key in required if key not in meant])
    strange = [
        Fault((key,), f"{show(table[key])}: is not a key here{did_you_mean(key, open_keys)}")
        for key in unknown
    ]
    return values, [*strange, *faults]


def conform(subject: Any, known: Mapping[str, Rule]) -> None:
    """Give the fields of a frozen model their normal form; InvalidValue has all the faults."""
    values, faults = read_known({key: getattr(subject, key) for key in known}, known)
    if faults:
        raise InvalidValue(subject_of(subject), faults)
    for key, value in values.items():
        object.__setattr__(subject, key, value)


def assembled(model: type[Model], values: Values) -> Model:
    """A frozen model of values that were read from a file, which has been found without a fault.

    They are not held to their rules and compared a second time: with thousands of VMs that is most
    of the time that reading a file takes.
    """
    built = object.__new__(model)
    for key, value in (_defaults_of(cast(Hashable, model)) | values).items():
        object.__setattr__(built, key, value)
    return built


@cache
def _defaults_of(model: Hashable) -> Values:
    return {
        field.name: field.default
        for field in fields(cast(Any, model))
        if field.default is not MISSING
    }


def subject_of(subject: object) -> str:
    """How a message names a model: its class, and its name where it has one."""
    name = getattr(subject, "name", None)
    return type(subject).__name__ + ("" if name is None else f" {show(name)}")


def read_interfaces(raw: tuple[object, ...], *, strictly: bool) -> tuple[list[Values], list[Fault]]:
    """The interfaces of one VM, one for each item of `raw`, whatever is left of it."""
    found = [
        (values, faults or _together(values, strictly=strictly))
        for values, faults in _read_items(
            raw, rules.INTERFACE, REQUIRED_OF_INTERFACE, strictly=strictly
        )
    ]
    return [values for values, _ in found], _faults_below("interfaces", found)


def read_disks(raw: tuple[object, ...], *, strictly: bool) -> tuple[list[Values], list[Fault]]:
    """The further disks of one VM, in the same way."""
    found = _read_items(raw, rules.DISK, REQUIRED_OF_DISK, strictly=strictly)
    return [values for values, _ in found], _faults_below("disks", found)


def _faults_below(key: str, found: list[tuple[Values, list[Fault]]]) -> list[Fault]:
    return [fault.below(key, index) for index, (_, faults) in enumerate(found) for fault in faults]


def _read_items(
    raw: tuple[object, ...], known: Mapping[str, Rule], required: Collection[str], *, strictly: bool
) -> list[tuple[Values, list[Fault]]]:
    items = []
    for item in raw:
        table, faults = as_table(item)
        values: Values = {}
        if not faults and strictly:
            values, faults = read_strictly(table, known, required)
        elif not faults:
            values, faults = read_known(_without_nothing(table), known, required)
        items.append((values, faults))
    return items


def _together(interface: Values, *, strictly: bool) -> list[Fault]:
    """In a file its network says the rest, and looks at the address; see networks/reading.py."""
    impaired = impairment_faults(interface)
    if strictly and "network" in interface:
        return impaired
    return [*address_faults(interface), *attachment_faults(interface), *impaired]


def read_vm_dict(vm_dict: object) -> tuple[Values, list[Fault]]:
    """The fields of a VM from the documented dict or the older one; its interfaces are dicts."""
    raw, faults = as_table(vm_dict)
    if faults:
        return {}, faults
    table = _without_nothing(raw)
    flavor, faults = _read_flavor(table.get("flavor", {}))
    required = [key for key in REQUIRED_OF_VM if not faults or key not in ("ram_mb", "cores")]
    required = [key for key in required if key != "qcow_image" or table.get("image") is None]
    known = {key: rule for key, rule in rules.VM.items() if key != "worker"}
    values, found = read_known({**flavor, **table}, known, ["name", *required])
    interfaces, of_interfaces = read_interfaces(values.pop("interfaces", ()), strictly=False)
    disks, of_disks = read_disks(values.pop("disks", ()), strictly=False)
    read = {**values, "interfaces": interfaces, "disks": disks}
    return read, [*faults, *found, *of_interfaces, *of_disks]


def disk_faults(values: Values, *, own: str = "") -> list[Fault]:
    """What is wrong with how a VM gets its disk, in values that are good each by itself.

    `own` is the qcow_image that a VM with an image may have: its own disk.
    """
    if values.get("image") is None:
        return [
            Fault((key,), f"{show(values[key])}: must be left out, as there is no image")
            for key in OF_IMAGES[1:]
            if values.get(key) is not None
        ]
    if values.get("qcow_image") not in (None, "", own):
        why = f"must be left out, as there is a qcow_image, {show(values['qcow_image'])}"
        return [Fault(("image",), f"{show(values['image'])}: {why}")]
    return []


def card_faults(values: Values) -> list[Fault]:
    """That a VM has more interfaces and further disks than there is room for."""
    count = len(values.get("interfaces", ())) + len(values.get("disks", ()))
    if count <= rules.MAX_CARDS:
        return []
    said = f"must be at most {rules.MAX_CARDS} interfaces and disks together, not {count}"
    return [Fault(("disks",), said)]


def _read_flavor(raw: object) -> tuple[Values, list[Fault]]:
    """The older dict's `flavor` in the documented keys, not yet held to their rules."""
    table, faults = as_table(raw)
    flavor = _without_nothing(table)
    values: Values = {"cores": flavor["cores"]} if "cores" in flavor else {}
    ram_gb = flavor.get("ram_gb")
    if isinstance(ram_gb, int) and not isinstance(ram_gb, bool):
        values["ram_mb"] = ram_gb * 1024
    elif isinstance(ram_gb, float) and isfinite(ram_gb):
        values["ram_mb"] = round(ram_gb * 1024)
    elif ram_gb is not None:
        faults.append(Fault(("ram_gb",), f"{show(ram_gb)}: must be a number of GiB"))
    return values, [fault.below("flavor") for fault in faults]


def _without_nothing(table: Mapping[str, object]) -> dict[str, object]:
    """`table` without the keys whose value is None: in a dict they mean the same as no key."""
    return {key: value for key, value in table.items() if value is not None}
