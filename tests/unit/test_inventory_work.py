"""How much work it is to read an inventory: counted in lines of Python that run, not in seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any

import pytest

from vmops.core.inventory.hosts_toml import read_hosts_toml
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Settings, Worker


def lines_run(work: Callable[[], object]) -> int:
    """The number of lines that `work` runs, each turn of a loop counted."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def on_their_workers(number: int) -> dict[str, Any]:
    """A worker for each ten VMs, and on each the same vm_ids, ports and disks."""
    return {
        "workers": {f"w{n}": {"address": f"w{n}.test"} for n in range(number // 10)},
        "vms": {
            f"vm{n}": a_vm(n // 10 % 10, n, worker=f"w{n % (number // 10)}") for n in range(number)
        },
    }


def anywhere(number: int) -> dict[str, Any]:
    """VMs that are pinned nowhere, so that each may meet each."""
    return {"vms": {f"vm{n}": a_vm(n, n) for n in range(number)}}


def all_alike(number: int) -> dict[str, Any]:
    """The same of everything, so that everything is a complaint."""
    return {"vms": {f"vm{n}": a_vm(0, 0) for n in range(number)}}


def on_workers_that_are_not_there(number: int) -> dict[str, Any]:
    """A slip in each VM, with as many names that it may have been meant to be."""
    return {
        "workers": {f"worker{n}": {"address": f"w{n}.test"} for n in range(number)},
        "vms": {f"vm{n}": a_vm(n, n, worker=f"wroker{n}") for n in range(number)},
    }


def a_vm(number: int, mac: int, **keys: object) -> dict[str, Any]:
    return {
        "vm_id": 1 + number,
        "ram_mb": 512,
        "cores": 1,
        "vnc_port": 5900 + number,
        "qcow_image": f"/images/{number}",
        "interfaces": [
            {"name": "eth1", "vlan_id": 101, "mac": f"52:54:00:00:{mac // 256:02x}:{mac % 256:02x}"}
        ],
        **keys,
    }


@pytest.mark.parametrize(
    "tree", [on_their_workers, anywhere, all_alike, on_workers_that_are_not_there]
)
def test_twice_the_vms_are_twice_the_work(tree: Callable[[int], dict[str, Any]]) -> None:
    once, twice = (lines_run(partial(read_hosts_toml, tree(number))) for number in (400, 800))
    assert twice < 2.2 * once


def listing(number: int, *, free: int = 0) -> Inventory:
    """A worker for each ten VMs, all pinned but the first `free`."""
    tree = on_their_workers(number)
    vms = [
        VM.from_dict(
            {"name": name} | vm | {"vm_id": 1 + at, "vnc_port": 5900 + at, "qcow_image": name}
        )
        for at, (name, vm) in enumerate(tree["vms"].items())
    ]
    pins = [vm["worker"] for vm in tree["vms"].values()]
    placed = [
        replace(vm, worker=None if at < free else pin)
        for at, (vm, pin) in enumerate(zip(vms, pins, strict=True))
    ]
    return Inventory(
        defaults=Settings(),
        workers={name: Worker(name, **worker) for name, worker in tree["workers"].items()},
        vms={vm.name: vm for vm in placed},
        source="hosts.toml",
    )


def test_twice_the_workers_are_twice_the_work_to_find_their_vms() -> None:
    few, many = listing(400), listing(800)
    once, twice = (lines_run(partial(one.vms_on, list(one.workers))) for one in (few, many))
    assert twice < 2.2 * once


def test_a_worker_has_the_vms_that_may_be_there_in_file_order() -> None:
    listed = listing(100, free=3)
    for worker, vms in listed.vms_on(listed.workers).items():
        assert vms == tuple(vm for vm in listed.vms.values() if vm.worker in (None, worker))
    assert listed.vms_on(["elsewhere"]) == {"elsewhere": tuple(listed.vms.values())[:3]}
