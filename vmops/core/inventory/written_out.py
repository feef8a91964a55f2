"""An inventory as it is understood: all defaults, templates and counts resolved, each value with
where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from vmops.core.inventory import rules
from vmops.core.inventory.complaints import key_path
from vmops.core.inventory.image import Image
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Settings, Worker, told_to_the_guest

BUILT_IN = "built in"
OWN = ""


class Value(NamedTuple):
    """A value that holds, and where it came from: empty where its own table writes it."""

    key: str
    value: Any
    origin: str


def of_worker(listed: Inventory, worker: Worker) -> tuple[Value, ...]:
    """What is set for a worker; what is left to ssh_config is not there."""
    return tuple(_settings(listed, worker, ("address", *rules.SETTINGS), "workers", worker.name))


def of_image(image: Image) -> tuple[Value, ...]:
    """What an image is; its file with the folder that it was taken from."""
    unset = {field.name: field.default for field in fields(Image)}
    return tuple(
        Value(key, value, BUILT_IN if value == unset[key] else OWN)
        for key in rules.IMAGE
        if key != "name" and (value := getattr(image, key)) is not None
    )


def of_vm(listed: Inventory, vm: VM) -> tuple[Value, ...]:
    """What a VM is; of its interfaces the MACs and TAPs that it will have."""
    values = {**vm.to_dict(), "interfaces": list(_interfaces(vm)), "worker": vm.worker}
    return tuple(
        Value(key, values[key], listed.origins.get(("vms", vm.name, key), OWN))
        for key in rules.VM
        if key != "name"
        and values.get(key) not in (None, [])
        and not (key == "qcow_image" and vm.image is not None)
    )


def _interfaces(vm: VM) -> Iterator[dict[str, Any]]:
    for nic in vm.nics:
        vlan = {} if nic.vlan_id is None else {"vlan_id": nic.vlan_id}
        told = told_to_the_guest(nic.interface)
        yield {"name": nic.name, **vlan, "mac": nic.mac, "model": nic.model, **told}


def _settings(
    listed: Inventory, settings: Settings, keys: Sequence[str], section: str, name: str
) -> Iterator[Value]:
    unset = Settings()
    for key in keys:
        value = getattr(settings, key)
        origin = listed.origins.get((section, name, key), OWN)
        if origin == OWN and value == getattr(unset, key, None):
            origin = BUILT_IN
        if value is not None:
            yield Value(key, value, origin)


def as_toml(listed: Inventory, vms: Sequence[VM]) -> str:
    """The workers and these VMs as a hosts.toml, which means the same as the one that was read."""
    tables = [f"# {listed.source}, as it is understood"]
    defaults = _settings(listed, listed.defaults, tuple(rules.SETTINGS), "defaults", "")
    tables.append(_table("defaults", tuple(defaults)))
    tables += [
        _table(key_path(("workers", name)), of_worker(listed, worker))
        for name, worker in listed.workers.items()
    ]
    tables += [
        _table(key_path(("images", name)), of_image(image)) for name, image in listed.images.items()
    ]
    tables += [_vm_table(listed, vm) for vm in vms]
    return "\n\n".join(tables)


def _vm_table(listed: Inventory, vm: VM) -> str:
    values = {value.key: value for value in of_vm(listed, vm)}
    interfaces = values.pop("interfaces", None)
    tables = [_table(key_path(("vms", vm.name)), tuple(values.values()))]
    for nic, interface, written in zip(
        vm.nics, interfaces.value if interfaces else (), vm.interfaces, strict=True
    ):
        where = interfaces.origin if interfaces else OWN
        lines = [
            Value(key, value, "derived from vm_id" if key == "mac" and not written.mac else where)
            for key, value in interface.items()
        ]
        head = f"[[{key_path(('vms', vm.name, 'interfaces'))}]]{_remark(f'TAP {nic.tap}')}"
        tables.append("\n".join([head, *map(_line, lines)]))
    return "\n".join(tables)


def _table(name: str, values: Sequence[Value]) -> str:
    return "\n".join([f"[{name}]", *map(_line, values)])


def _line(value: Value) -> str:
    return f"{value.key} = {json.dumps(value.value, ensure_ascii=False)}{_remark(value.origin)}"


def _remark(text: str) -> str:
    return f"    # {text}" if text else ""


def as_json(listed: Inventory, vms: Sequence[VM]) -> dict[str, Any]:
    """The same for programs; `from` names the table of each value that is not its own."""
    return {
        "source": listed.source,
        "workers": [
            {"worker": name, **_as_json(of_worker(listed, worker))}
            for name, worker in listed.workers.items()
        ],
        "images": [
            {"image": name, **_as_json(of_image(image))} for name, image in listed.images.items()
        ],
        "vms": [{"vm": vm.name, **_as_json(of_vm(listed, vm))} for vm in vms],
        "error": None,
    }


def _as_json(values: Sequence[Value]) -> Mapping[str, Any]:
    return {
        "values": {value.key: value.value for value in values},
        "from": {value.key: value.origin for value in values if value.origin != OWN},
        "error": None,
    }
