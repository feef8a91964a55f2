"""An inventory as it is understood: all defaults, templates and counts resolved, each value with
where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from vmops.core.inventory import rules
from vmops.core.inventory.complaints import key_path
from vmops.core.inventory.families import BUILT_IN
from vmops.core.inventory.image import Image
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Nic, Settings, Worker, impairing, told_to_the_guest
from vmops.core.inventory.networks import rules as network_rules
from vmops.core.inventory.networks.model import Network
from vmops.core.inventory.rules import OVN

OWN = ""


class Value(NamedTuple):
    """A value that holds, and where it came from: empty where its own table writes it."""

    key: str
    value: Any
    origin: str


def of_worker(listed: Inventory, worker: Worker) -> tuple[Value, ...]:
    """What is set for a worker; what is left to ssh_config is not there."""
    return tuple(
        _settings(listed, worker, ("address", "encap_ip", *rules.SETTINGS), "workers", worker.name)
    )


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
    interfaces = [_interface(listed, vm, nic) for nic in vm.nics]
    values = {**vm.to_dict(), "interfaces": interfaces, "worker": vm.worker}
    return tuple(
        Value(key, values[key], listed.origins.get(("vms", vm.name, key), OWN))
        for key in rules.VM
        if key != "name"
        and values.get(key) not in (None, [])
        and not (key == "qcow_image" and vm.image is not None)
    )


def of_network(listed: Inventory, network: Network, vms: Sequence[VM]) -> tuple[Value, ...]:
    """What a network is; of its forwards those that lead to one of these VMs."""
    shown = {vm.name for vm in vms}
    values = network.to_dict()
    values["forward"] = [item.to_dict() for item in network.forward if item.vm in shown]
    unset = {field.name: field.default for field in fields(Network)}
    found = {key: values.get(key, unset.get(key)) for key in network_rules.NETWORK}
    return tuple(
        Value(key, value, _origin_of(listed, network, key, value == unset.get(key)))
        for key, value in found.items()
        if key != "name" and value not in (None, (), [])
    )


def _origin_of(listed: Inventory, network: Network, key: str, is_unset: bool) -> str:
    origin = listed.origins.get(("networks", network.name, key), OWN)
    return BUILT_IN if is_unset and origin == OWN else origin


def _interface(listed: Inventory, vm: VM, nic: Nic) -> dict[str, Any]:
    """As it will be: what its network says of it too, and the address of its lease."""
    network = {} if nic.interface.network is None else {"network": nic.interface.network}
    vlan = {} if nic.vlan_id is None else {"vlan_id": nic.vlan_id}
    engine = {"engine": nic.interface.engine} if nic.interface.engine else {}
    trunks = {"trunks": list(nic.interface.trunks)} if nic.interface.trunks else {}
    told = told_to_the_guest(nic.interface)
    if lease := listed.address_of(vm.name, nic):
        told = {"address": lease, **told}
    head = {"name": nic.name, **network, **vlan, **engine, **trunks}
    return {**head, "mac": nic.mac, "model": nic.model, **impairing(nic.interface), **told}


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
    mesh = () if listed.mesh is None else (Value("mesh", listed.mesh, OWN),)
    tables.append(_table("defaults", (*defaults, *mesh)))
    if listed.northbound is not None:
        out = {} if listed.way_out is None else listed.way_out.to_dict()
        tls = {"tls": True} if listed.ovn_tls else {}
        values = {"northbound": listed.northbound, **tls, **out}
        tables.append(_table("ovn", [Value(key, value, OWN) for key, value in values.items()]))
    tables += [
        _table(key_path(("workers", name)), of_worker(listed, worker))
        for name, worker in listed.workers.items()
    ]
    tables += [
        _table(key_path(("networks", name)), of_network(listed, network, vms))
        for name, network in listed.networks.items()
    ]
    tables += [
        _table(key_path(("images", name)), of_image(image)) for name, image in listed.images.items()
    ]
    tables += [_vm_table(listed, vm) for vm in vms]
    return "\n\n".join(tables)


def _vm_table(listed: Inventory, vm: VM) -> str:
    values = {value.key: value for value in of_vm(listed, vm)}
    interfaces, disks = values.pop("interfaces", None), values.pop("disks", None)
    tables = [_table(key_path(("vms", vm.name)), tuple(values.values()))]
    for index, further in enumerate(disks.value if disks else ()):
        assert disks is not None, "there is one"
        lines = [
            Value(
                key,
                value,
                listed.origins.get(("vms", vm.name, f"disks.{index}.{key}"), disks.origin),
            )
            for key, value in further.items()
        ]
        tables.append(_table(f"[{key_path(('vms', vm.name, 'disks'))}]", lines))
    for index, (nic, interface) in enumerate(
        zip(vm.nics, interfaces.value if interfaces else (), strict=True)
    ):
        where = interfaces.origin if interfaces else OWN
        origins = {
            key: listed.origins.get(("vms", vm.name, f"interfaces.{index}.{key}"), where)
            for key in interface
        }
        if not nic.interface.mac:
            origins["mac"] = "derived from vm_id"
        network = listed.networks.get(nic.interface.network or "")
        if nic.interface.network is not None:
            by = "OVN" if nic.port else f"VLAN {nic.vlan_id}"
            laid = listed.origins.get(("vms", vm.name, f"interfaces.{index}.network"))
            origins["network"] = by if laid is None else f"{laid}, by {by}"
        lines = [
            Value(key, value, origins[key])
            for key, value in interface.items()
            if key not in _said_by(network)
        ]
        head = f"[[{key_path(('vms', vm.name, 'interfaces'))}]]{_remark(f'TAP {nic.tap}')}"
        tables.append("\n".join([head, *map(_line, lines)]))
    return "\n".join(tables)


_OF_NETWORK = ("vlan_id", "gateway", "dns", "dhcp", "mtu", "engine")


def _said_by(network: Network | None) -> tuple[str, ...]:
    """Keys of an interface that would be one too many where it names a network."""
    if network is None:
        return ()
    is_bare = network.engine == OVN and network.subnet is None
    return ("vlan_id", "engine") if is_bare else _OF_NETWORK


def _table(name: str, values: Sequence[Value]) -> str:
    return "\n".join([f"[{name}]", *map(_line, values)])


def _line(value: Value) -> str:
    return f"{value.key} = {_toml(value.value)}{_remark(value.origin)}"


def _toml(value: Any) -> str:
    """A value in TOML, which differs from JSON where tables are concerned."""
    if isinstance(value, dict):
        inside = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _remark(text: str) -> str:
    return f"    # {text}" if text else ""


def as_json(listed: Inventory, vms: Sequence[VM]) -> dict[str, Any]:
    """The same for programs; `from` names the table of each value that is not its own."""
    return {
        "source": listed.source,
        "northbound": listed.northbound,
        "mesh": listed.mesh,
        "workers": [
            {"worker": name, **_as_json(of_worker(listed, worker))}
            for name, worker in listed.workers.items()
        ],
        "images": [
            {"image": name, **_as_json(of_image(image))} for name, image in listed.images.items()
        ],
        "networks": [
            {"network": name, **_as_json(of_network(listed, network, vms))}
            for name, network in listed.networks.items()
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
