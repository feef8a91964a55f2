"""A VM that boots by UEFI goes to another worker while it runs, with its variables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from vmops.core.inventory.model import Interface

from .moving import FOLDER, WORKERS, listed, place
from .operator import Operator, small_vm
from .test_boot import OVMF, logged

NAME = "disk-vm1-uefi.qcow2"
FILE = f"{FOLDER}/{NAME}"


@pytest.fixture
def mover(operator: Operator) -> Iterator[Operator]:
    remove_disks(operator)  # another test's vm1 has left its own where it was moved to
    yield operator
    operator.clean_up()
    remove_disks(operator)


def remove_disks(operator: Operator) -> None:
    for worker in WORKERS:
        own = f"rm -rf {FOLDER} ~ubuntu/{small_vm('vm1', 1).qcow_image.removeprefix('~/')}"
        operator.on(worker, "sh", "-c", own)


def variables(operator: Operator, worker: str) -> str:
    """The sum of what its firmware reads there."""
    script = f"qemu-img convert -U -O raw {FILE} /tmp/vars && sha256sum </tmp/vars; rm -f /tmp/vars"
    return operator.on(worker, "sh", "-c", script)


@pytest.mark.skipif(not OVMF.exists(), reason="there is no OVMF here")
@pytest.mark.timeout(300)
def test_its_variables_go_along(mover: Operator) -> None:
    cards = (Interface("eth1", vlan_id=101),)
    vm = replace(small_vm("vm1", 1, ram_mb=256), boot="uefi", machine="q35", interfaces=cards)
    mover.add(vm)
    mover.ok("launch", "--vm", "vm1")
    logged(mover, "BdsDxe", seconds=90)
    before = variables(mover, "worker1")
    said = mover.ok("migrate", "--vm", "vm1", "--to", "worker2")
    assert "vm1: runs on worker2, its guest stood still for" in said.err
    assert (mover.qemus("worker1"), list(mover.qemus("worker2"))) == ({}, ["vm1"])
    assert variables(mover, "worker2") == before
    assert NAME not in listed(mover, "worker1")
    place(mover, "worker2")
    assert mover.fab("plan").code == 0
    mover.ok("reset", "--vm", "vm1")
