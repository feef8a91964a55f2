"""Networks of OVN in hosts.toml, and what OVN has of them: for the tests of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from vmops.core.devices.network.logical import Logical, router, rows, share
from vmops.core.facts.network.central import Central
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.model import Worker
from vmops.core.plan.network.serving import Plan
from vmops.core.tools.ovn import Found, Key, Row
from vmops.errors import InventoryError

W1 = Worker("w1", address="10.0.0.1")
W2 = Worker("w2", address="10.0.0.2")
HEAD = """
[ovn]
northbound = "w1"
[workers.w1]
address = "10.0.0.1"
[workers.w2]
address = "10.0.0.2"
"""
BLUE = '[networks.blue]\nengine = "ovn"\nsubnet = "192.168.0.0/24"\n'
GREEN = '[networks.green]\nengine = "ovn"\nsubnet = "192.168.1.0/24"\n'
CHASSIS = {"10.0.0.1": "uuid-of-w1", "10.0.0.2": "uuid-of-w2"}
AT_ONE = {"activation-strategy": None}
"""Of the options of a port that is not on its way."""


def a_vm(name: str, interface: str, worker: str = "w1") -> str:
    return (
        f"[vms.{name}]\nvm_id = {sum(map(ord, name))}\nram_mb = 32\ncores = 1\n"
        f'qcow_image = "/{name}.qcow2"\nworker = "{worker}"\ninterfaces = [{{ name = "eth0",'
        f" {interface} }}]\n"
    )


WEB = a_vm("web", 'network = "blue"')
DB = a_vm("db", 'network = "green"', "w2")


def read(*parts: str, head: str = HEAD) -> Inventory:
    return parse(head + "".join(parts), source="hosts.toml")


def complaints(*parts: str, head: str = HEAD) -> str:
    with pytest.raises(InventoryError) as caught:
        read(*parts, head=head)
    return str(caught.value)


def there(*wanted: Row, marks: Mapping[str, str] | None = None) -> dict[Key, Found]:
    """Rows as the database has them when they have been written."""
    uuids = {row.key: f"uuid of {row.key.network} {row.key.part}" for row in wanted}
    found = {}
    for row in wanted:
        columns: dict[str, Any] = {
            name: {k: v for k, v in value.items() if v is not None}
            if isinstance(value, Mapping)
            else value
            for name, value in row.columns.items()
        }
        columns |= {name: uuids[key] for name, key in row.refers.items()}
        for inner in wanted:
            if inner.inside is not None and inner.inside[0] == row.key:
                column = inner.inside[1]
                columns[column] = (*columns.get(column, ()), uuids[inner.key])
        found[row.key] = Found(row.key, row.table, uuids[row.key], columns)
    return found


def central(*networks: Logical) -> Central:
    wanted = [row for one in networks for row in rows(one, CHASSIS)]
    if any(one.reach for one in networks):
        wanted += router()
    return Central(there(*wanted), CHASSIS, "sum")


def wanted(*parts: str, head: str = HEAD) -> dict[str, Logical]:
    listed = read(*parts, head=head)
    return dict(share(listed, list(listed.networks)).wanted)


BOTH = (BLUE, 'dhcp = true\nreach = ["green"]\n', GREEN, WEB, DB)


def words(found: Plan) -> list[str]:
    assert found.block is not None
    return list(found.block.numbered()[0].commands[0].words())


def changes(plan: Plan) -> dict[str, tuple[str, list[str]]]:
    return {c.network: (c.action, [str(d) for d in c.drift]) for c in plan.changes}
