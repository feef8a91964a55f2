"""VMs that are suspended to a file: their guests count on where they were, after a reboot too."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from tests.guests import cache_directory, counter_image, counts
from vmops.core.inventory.model import VM, Disk, Interface

from .lab_helpers import wait_until
from .operator import Operator
from .seat import console_log, guest, pid_of

MEMORY = "/home/ubuntu/vm_images/.vmops/memory-vm1"
ETH1 = Interface("eth1", vlan_id=101)


def counter(operator: Operator) -> VM:
    vm = guest(operator, image=counter_image(cache_directory()))
    vm = replace(vm, interfaces=(ETH1,))
    operator.vms = [(vm, "worker1")]
    operator.write()
    operator.ok("restart", "--force", "--vm", "vm1")
    wait_until(lambda: len(counts(console_log(operator, vm))) > 30, seconds=30)
    return vm


def state(operator: Operator) -> str:
    (item,) = operator.fab("status", "--vm", "vm1", "--format", "json").json
    return str(item["state"])


def files(operator: Operator) -> list[str]:
    found = operator.on("worker1", "ls", "-A", "/home/ubuntu/vm_images/.vmops").split()
    return [name for name in found if "memory" in name]


@pytest.mark.timeout(300)
def test_a_guest_counts_on_after_a_reboot_of_its_worker(operator: Operator) -> None:
    vm = counter(operator)
    before, began = counts(console_log(operator, vm))[-1], time.monotonic()
    assert "vm1 on worker1: suspended" in operator.ok("suspend", "--vm", "vm1").err
    most = before + 19 * (time.monotonic() - began)
    assert operator.qemus("worker1") == {}
    assert operator.taps("worker1") == set()
    assert operator.port("worker1", "tap_1_eth1") is None
    assert operator.on("worker1", "stat", "-c", "%U %a", MEMORY) == "ubuntu 600\n"
    assert state(operator) == "suspended"
    assert "was already suspended" in operator.ok("suspend", "--vm", "vm1").err
    # All that a reboot takes is in /run; a stop is none, and keeps it.
    operator.on("worker1", "rm", "-rf", "/run/vmops")
    assert "its memory is kept" in operator.ok("stop", "--vm", "vm1").err
    operator.ok("resume", "--vm", "vm1")
    wait_until(lambda: len(counts(console_log(operator, vm))) > 3)
    first, *_ = counts(console_log(operator, vm))
    # It printed some lines between that look and the suspension, and none while it was away.
    assert before < first < most + 19
    assert state(operator) == "running"
    assert operator.fab("plan").code == 0
    assert files(operator) == []
    # And once more, by launch, of a VM that had come back already.
    operator.ok("suspend", "--vm", "vm1")
    said = operator.ok("launch", "--vm", "vm1")
    assert "vm1 was suspended: it goes on from its memory" in said.err
    wait_until(lambda: len(counts(console_log(operator, vm))) > 3)
    assert counts(console_log(operator, vm))[0] > first


def test_memory_fits_its_own_machine_only_and_is_given_up_on_request(operator: Operator) -> None:
    vm = counter(operator)
    operator.ok("suspend", "--vm", "vm1")
    operator.vms = [(replace(vm, ram_mb=48), "worker1")]
    operator.write()
    said = operator.fab("launch", "--vm", "vm1")
    assert said.code == 1
    assert "it is suspended, and its memory fits no other machine: ram_mb: 32 -> 48" in said.err
    assert files(operator) == ["memory-vm1"]
    operator.ok("suspend", "--discard", "--vm", "vm1")
    assert state(operator) == "stopped"
    operator.ok("launch", "--vm", "vm1")
    wait_until(lambda: counts(console_log(operator, vm))[:1] == [1], seconds=30)


def test_a_guest_runs_on_where_it_cannot_be_suspended(operator: Operator) -> None:
    vm = counter(operator)
    pid = pid_of(operator, vm)
    folder = "/home/ubuntu/vm_images/.vmops"
    operator.on("worker1", "sh", "-c", f"mkdir -p {folder}; chown ubuntu {folder}")
    # There is room by the look of it, and then the folder takes no file.
    operator.on("worker1", "mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=1", "none", folder)
    try:
        said = operator.fab("suspend", "--vm", "vm1")
        assert said.code == 1
        assert "save memory failed" in said.err
    finally:
        operator.on("worker1", "umount", "-l", folder)
    # Without room nothing is begun.
    operator.on("worker1", "mount", "-t", "tmpfs", "-o", "size=1m", "none", folder)
    try:
        said = operator.fab("suspend", "--vm", "vm1")
        assert "MiB are free in ~/vm_images, and its memory may take 32" in said.err
    finally:
        operator.on("worker1", "umount", "-l", folder)
    assert pid_of(operator, vm) == pid
    assert state(operator) == "running"
    here = counts(console_log(operator, vm))[-1]
    wait_until(lambda: counts(console_log(operator, vm))[-1] > here + 5)
    assert files(operator) == []


def test_a_file_that_is_cut_short_starts_nothing_and_stays(operator: Operator) -> None:
    counter(operator)
    operator.ok("suspend", "--vm", "vm1")
    operator.on("worker1", "cp", MEMORY, f"{MEMORY}.whole")
    operator.on("worker1", "mv", f"{MEMORY}.whole", "/tmp/whole")
    size = int(operator.on("worker1", "stat", "-c", "%s", MEMORY))
    operator.on("worker1", "truncate", "-s", str(size // 2), MEMORY)
    said = operator.fab("launch", "--vm", "vm1")
    assert said.code == 1
    assert "load memory failed" in said.err
    assert operator.qemus("worker1") == {}
    assert operator.taps("worker1") == set()
    assert state(operator) == "suspended"
    operator.on("worker1", "sh", "-c", f"cat /tmp/whole >{MEMORY}; rm /tmp/whole")
    operator.ok("up")
    assert json.loads(operator.ok("status", "--format", "json").out)[0]["state"] == "running"


def test_further_disks_are_there_when_it_is_back(operator: Operator) -> None:
    """QEMU opens them once, for writing, as it does its first one."""
    vm = counter(operator)
    vm = replace(vm, disks=(Disk("data", size_gb=1, format="raw"), Disk("logs", size_gb=1)))
    operator.vms = [(vm, "worker1")]
    operator.write()
    operator.ok("restart", "--force", "--vm", "vm1")
    operator.ok("suspend", "--vm", "vm1")
    operator.ok("resume", "--vm", "vm1")
    assert state(operator) == "running"
    assert operator.fab("plan").code == 0
    operator.ok("destroy", "--yes", "--force", "--vm", "vm1")
    assert files(operator) == []


def test_a_vm_with_an_image_is_suspended_and_comes_back(operator: Operator) -> None:
    """Its disk is the SSH user's alone, and so is the folder: QEMU does not open it again."""
    image = counter_image(cache_directory())
    operator.extra = f"[images.counter]\nfile = {json.dumps(str(image))}"
    vm = replace(guest(operator), qcow_image="", image="counter", interfaces=(ETH1,))
    operator.ok("stop", "--force", "--vm", "vm1")
    operator.vms = [(vm, "worker1")]
    operator.write()
    operator.ok("launch", "--vm", "vm1")
    try:
        wait_until(lambda: len(counts(console_log(operator, vm))) > 10, seconds=30)
        before = counts(console_log(operator, vm))[-1]
        operator.ok("suspend", "--vm", "vm1")
        operator.ok("resume", "--vm", "vm1")
        wait_until(lambda: len(counts(console_log(operator, vm))) > 3)
        assert counts(console_log(operator, vm))[0] > before
        assert operator.fab("plan").code == 0
    finally:
        operator.ok("destroy", "--yes", "--force", "--vm", "vm1")
        operator.on("worker1", "rm", "-rf", "/home/ubuntu/vm_images/.vmops")


def test_a_qemu_that_cannot_read_its_disk_again_runs_on(operator: Operator) -> None:
    vm = counter(operator)
    pid = pid_of(operator, vm)
    operator.on("worker1", "chmod", "600", "/home/ubuntu/vm_images/vm1.qcow2")
    said = operator.fab("suspend", "--vm", "vm1")
    assert said.code == 1
    assert "could not let go of its disks" in said.err
    assert f"able to read {vm.qcow_image}" in said.err
    assert pid_of(operator, vm) == pid
    assert state(operator) == "running"
