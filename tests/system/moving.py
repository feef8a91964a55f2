"""A VM with two disks that goes from worker1 to worker2, and what lies there of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.guests import boot_sector_image, cache_directory
from vmops.core.inventory.model import Disk, Interface

from .operator import Operator, small_vm

FOLDER = "/home/ubuntu/vm_images/.vmops"


WORKERS = ("worker1", "worker2")


DISKS = ["disk-web1-data.qcow2", "disk-web1-root.qcow2"]


NOISE = "/tmp/noise"


@pytest.fixture
def moving(operator: Operator) -> Iterator[Operator]:
    """web1 runs on worker1 with two disks, on which something is written; worker2 lacks its
    image."""
    file = boot_sector_image(cache_directory())
    operator.extra = f"[images.small]\nfile = {json.dumps(str(file))}\n"
    web1 = replace(
        small_vm("web1", 21),
        qcow_image="",
        image="small",
        disks=(Disk("data", size_gb=1),),
        interfaces=(Interface("eth1", vlan_id=101),),
    )
    operator.add(web1, image=False)
    operator.ok("launch", "--vm", "web1")
    operator.ok("stop", "--force", "--vm", "web1")
    for name, what in (
        ("root", "write -q -P 7 512k 256k"),
        ("data", f"write -q -s {NOISE} 700M 16M"),
    ):
        file_name = f"{FOLDER}/disk-web1-{name}.qcow2"
        operator.on("worker1", "sh", "-c", f"[ -e {NOISE} ] || head -c 16M /dev/urandom >{NOISE}")
        operator.on("worker1", "qemu-io", "-f", "qcow2", "-c", what, file_name)
    operator.ok("launch", "--vm", "web1")
    yield operator
    for worker in WORKERS:
        operator.vms.append((web1, worker))
    operator.clean_up()
    for worker in WORKERS:
        operator.on(worker, "rm", "-rf", FOLDER)


def listed(operator: Operator, worker: str) -> list[str]:
    """What lies in the folder of images, without images."""
    found = operator.on(worker, "sh", "-c", f"ls -A {FOLDER} 2>/dev/null || :").split()
    return [name for name in found if not name.startswith("base-")]


def place(operator: Operator, worker: str) -> None:
    """Edit hosts.toml as it was told."""
    operator.vms = [(vm, worker) for vm, _ in operator.vms]
    operator.write()
