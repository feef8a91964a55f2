"""The rules of hosts.toml as a JSON schema, for editors that complete and check what is typed.

What cannot be said there (what VMs may not share, the names of workers, what a VM has to get from
its own table or another) is left to the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any

from vmops.core.inventory import rules
from vmops.core.inventory.guest import rules as guest_rules
from vmops.core.inventory.guest.cloud_init import CloudInit, Login
from vmops.core.inventory.image import Image
from vmops.core.inventory.model import VM, Disk, Interface, Settings, Worker
from vmops.core.inventory.networks import rules as network_rules
from vmops.core.inventory.networks.links import NEEDED
from vmops.core.inventory.networks.model import Network
from vmops.core.inventory.rules import Rule
from vmops.core.inventory.tables import (
    REQUIRED_OF_DISK,
    REQUIRED_OF_INTERFACE,
    REQUIRED_OF_USER,
    REQUIRED_OF_WORKER,
)

Schema = dict[str, Any]

_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def schema() -> Schema:
    """The schema of the whole file, of draft 7 as TOML's language servers read it."""
    interface = _table(rules.INTERFACE, Interface, REQUIRED_OF_INTERFACE)
    disk = _table(rules.DISK, Disk, REQUIRED_OF_DISK)
    shared = _table(rules.SHARED, VM)
    vm = _table(_without_name(rules.VM) | dict(rules.SEVERAL), VM)
    told = _table(guest_rules.CLOUD_INIT, CloudInit)
    told["properties"]["users"]["items"] = _table(guest_rules.GUEST_USER, Login, REQUIRED_OF_USER)
    for table in (shared, vm):
        table["properties"]["interfaces"]["items"] = interface
        table["properties"]["disks"]["items"] = disk
        table["properties"]["cloud_init"] |= told
    worker = _table(_without_name(rules.WORKER), Worker, REQUIRED_OF_WORKER)
    image = _table(_without_name(rules.IMAGE), Image) | {
        "oneOf": [{"required": ["file"]}, {"required": ["url", "sha256"]}]
    }
    network = _table(_without_name(network_rules.NETWORK), Network)
    network["properties"]["forward"]["items"] = {
        **_closed({key: _value(rule, MISSING) for key, rule in network_rules.FORWARD.items()}),
        "required": ["port", "to"],
    }
    link = {
        **_closed({key: _value(rule, MISSING) for key, rule in network_rules.LINK.items()}),
        "required": [*network_rules.LINK],
    }
    in_topology = _without_name(network_rules.TOPOLOGY)
    topology = {
        **_closed({key: _value(rule, MISSING) for key, rule in in_topology.items()}),
        "required": [*NEEDED],
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "hosts.toml, the inventory of vmops",
        **_closed(
            {
                "defaults": _table({**rules.SETTINGS, **rules.FLEET}, Settings),
                "workers": _named(rules.WORKER["name"], worker),
                "ovn": _closed(
                    {key: _value(rule, MISSING) for key, rule in network_rules.CENTRAL.items()}
                )
                | {"required": [*network_rules.NEEDED_OF_CENTRAL]},
                "networks": _named(network_rules.NETWORK["name"], network),
                "images": _named(rules.IMAGE["name"], image),
                "vm_defaults": shared,
                "templates": _named(rules.VM["name"], shared),
                "vms": _named(rules.VM["name"], vm),
                "links": {"type": "array", "items": link},
                "topologies": _named(network_rules.TOPOLOGY["name"], topology),
            }
        ),
    }


def _without_name(known: Mapping[str, Rule]) -> dict[str, Rule]:
    return {key: rule for key, rule in known.items() if key != "name"}


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _table(known: Mapping[str, Rule], model: Any, required: Collection[str] = ()) -> Schema:
    defaults = getattr(model, "_field_defaults", None)
    if defaults is None:
        defaults = {field.name: field.default for field in fields(model)}
    return {
        **_closed({key: _value(rule, defaults.get(key, MISSING)) for key, rule in known.items()}),
        **({"required": list(required)} if required else {}),
    }


def _value(rule: Rule, default: object) -> Schema:
    said = {"default": default} if default not in (MISSING, None, (), "") else {}
    return {
        "description": f"must be {rule.text}",
        "type": _TYPES[rule.kind],
        **rule.schema,
        **said,
    }


def _named(rule: Rule, table: Schema) -> Schema:
    return {"type": "object", "propertyNames": dict(rule.schema), "additionalProperties": table}
