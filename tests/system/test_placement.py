"""VMs that hosts.toml gives no worker, on three real ones: placed apart, found, never twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests import boot_sector_image, cache_directory
from vmops.lab import Lab

from .fleet_helpers import WORKERS, running
from .operator import Operator

FOLDER = "/home/ubuntu/vm_images/.vmops"

HOSTS = """
[images.small]
file = {image}

[vm_defaults]
ram_mb = 32
cores = 1
image = "small"
interfaces = [{{ name = "eth1", vlan_id = 301 }}]

[vms.web]
count = 3
apart = ["web*"]

[vms.lazy]
autostart = false
"""


@pytest.fixture
def placing(wide_lab: Lab, tmp_path: Path) -> Iterator[Operator]:
    """Three VMs that are to be apart and one that starts by its name, none with a worker."""
    operator = Operator(wide_lab, tmp_path)
    image = boot_sector_image(cache_directory())
    operator.extra = HOSTS.format(image=json.dumps(str(image)))
    operator.write()
    yield operator
    for worker in WORKERS:
        wide_lab.heal(worker)
    operator.clean_up(WORKERS)
    for worker in WORKERS:
        operator.on(worker, "rm", "-rf", FOLDER)


def where(operator: Operator) -> dict[str, str]:
    return {name: worker for worker in WORKERS for name in operator.qemus(worker)}


def test_up_places_apart_starts_once_and_finds_them_again(placing: Operator) -> None:
    planned = placing.fab("plan", "--format", "json")
    assert planned.code == 4
    assert {one["vm"]: one["action"] for one in planned.json} == {
        "web1": "start",
        "web2": "start",
        "web3": "start",
        "lazy": "nothing",
    }
    assert "lazy is left stopped: autostart is false" in planned.err
    for words in (("stop", "--vm", "lazy"), ("destroy", "--vm", "lazy", "--yes")):
        assert "lazy is on no worker: nothing of it was found" in placing.ok(*words).err
    absent = placing.fab("pid", "--vm", "lazy")
    assert (absent.code, "error: lazy is on no worker: nothing" in absent.err) == (1, True)
    said = placing.ok("up")
    at = where(placing)
    assert set(at) == {"web1", "web2", "web3"}
    assert len(set(at.values())) == 3
    for name, worker in at.items():
        assert f"{name} is placed on {worker}: " in said.err
    pids = running(placing)
    again = placing.ok("up", "--format", "json")
    assert {one["vm"]: one["action"] for one in again.json}["web1"] == "nothing"
    assert running(placing) == pids
    place = placing.ok("place", "--vm", "web1", "--format", "json")
    assert place.json == [
        {
            "vm": "web1",
            "worker": at["web1"],
            "why": "it runs there",
            "workers": [],
            "error": None,
        }
    ]
    assert placing.ok("pid", "--vm", "web2").out.split() == [str(pids["web2"])]
    placing.ok("stop", "--vm", "web1", "--timeout", "5")
    assert "web1" not in where(placing)
    assert f"{at['web1']}  its disk is there" in placing.ok("place", "--vm", "web1").out
    placing.ok("launch", "--vm", "web1,lazy")
    assert where(placing) == {**at, "lazy": where(placing)["lazy"]}


def test_a_worker_without_its_bridge_gets_none_and_a_fourth_has_no_place(placing: Operator) -> None:
    text = placing.hosts_toml.read_text()
    head = "[workers.worker2]"
    assert head in text
    text = text.replace(head, f'{head}\nbridge = "br-none"').replace("count = 3", "count = 4")
    placing.hosts_toml.write_text(text)
    shown = placing.fab("place", "--vm", "web*", "--format", "json")
    assert shown.code == 1
    found = {one["vm"]: one for one in shown.json}
    placed = [one["worker"] for one in found.values() if one["worker"]]
    assert sorted(placed) == ["worker1", "worker3"]
    lost = next(one for one in found.values() if not one["worker"])
    why = {one["worker"]: one["why_not"] for one in lost["workers"]}
    assert "no bridge br-none" in why["worker2"]
    assert "they are to be apart" in why["worker1"]
    assert "no worker has a place for it" in lost["error"]
    assert where(placing) == {}


def test_none_is_started_where_it_may_run_on_a_worker_that_cannot_be_asked(
    placing: Operator,
) -> None:
    placing.ok("-H", "worker3", "launch", "--vm", "web1")
    placing.lab.fault("worker3", "reset")
    said = placing.fab("up", "--vm", "web1")
    assert said.code == 3
    assert "it may run on worker3, which could not be asked" in said.err
    assert "fab launch --vm web1 --here" in said.err
    assert {name for worker in WORKERS[:2] for name in placing.qemus(worker)} == set()
    placing.ok("launch", "--vm", "web2", "--here")
    assert where(placing)["web2"] in WORKERS[:2]
    placing.lab.heal("worker3")
    beside = placing.fab("-H", "worker3", "launch", "--vm", "web3")
    assert beside.code == 0, "-H places, beside what it is to be apart from as well"
    placing.ok("stop", "--vm", "web3", "--force")
    refused = placing.fab("launch", "--vm", "web3")
    assert refused.code == 1
    assert "its disk is on worker3, and web1 is there, and they are to be apart" in refused.err
