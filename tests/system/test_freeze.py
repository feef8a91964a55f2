"""Snapshots of a guest whose file systems are frozen meanwhile, by a real agent in a real Linux."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from vmops.core.inventory.model import VM, Disk

from .lab_helpers import wait_until
from .operator import Operator, small_vm
from .test_agent import _status, images

pytestmark = pytest.mark.timeout(600)

FOLDER = "/home/ubuntu/vm_images/.vmops"


@pytest.fixture
def web(operator: Operator, tmp_path: Path) -> Iterator[VM]:
    """A VM whose agent listens, with an ext4 on its further disk at /srv."""
    images(operator)
    disk = Disk("data", size_gb=1)
    vm = replace(small_vm("web1", 1, ram_mb=128), qcow_image="", image="agent", disks=(disk,))
    operator.add(vm, image=False)
    operator.ok("launch", "--vm", "web1")
    wait_until(lambda: bool(_status(operator)["agent"]), seconds=60)
    made = tmp_path / "ext4"
    words = ["mke2fs", "-q", "-t", "ext4", "-F", "-E", "lazy_itable_init=0", str(made), "8M"]
    subprocess.run(words, check=True, timeout=60)
    operator.ok("cp", str(made), "web1:/tmp/ext4")
    inside(operator, "cat /tmp/ext4 >/dev/vdb; mkdir -p /srv; mount -t ext4 /dev/vdb /srv")
    yield vm
    operator.ok("destroy", "--vm", "web1", "--force", "--yes")
    operator.on("worker1", "rm", "-rf", FOLDER)


def inside(operator: Operator, command: str) -> str:
    return operator.ok("exec", "--vm", "web1", "--", "sh", "-c", command).out


def kept(operator: Operator, name: str, *words: str) -> str:
    """What a program says of the file system as that snapshot has it: its last word is a file."""
    disk = f"{FOLDER}/disk-web1-data.qcow2"
    listed = operator.on("worker1", "qemu-img", "snapshot", "-U", "-l", disk)
    (number,) = (line.split()[0] for line in listed.splitlines() if f" {name} " in line)
    where = f"{FOLDER}/kept-{name}"
    convert = ["qemu-img", "convert", "-U", "-l", f"snapshot.id={number}", "-O", "raw"]
    operator.on("worker1", *convert, disk, where)
    return operator.on("worker1", *words, where)


def test_what_is_saved_frozen_is_whole_and_comes_back_thawed(operator: Operator, web: VM) -> None:
    inside(operator, "echo first >/srv/file")
    operator.ok("snapshot.save", "--vm", "web1", "--name", "plain")
    said = operator.ok("snapshot.save", "--vm", "web1", "--name", "whole", "--freeze")
    assert "snapshot whole saved" in said.err
    # The agent of a frozen guest runs no programs.
    inside(operator, "echo second >/srv/file")
    (listed,) = operator.ok("snapshot.list", "--vm", "web1", "--format", "json").json
    assert {one["name"]: one["frozen"] for one in listed["snapshots"]} == {
        "plain": False,
        "whole": True,
    }
    operator.ok("snapshot.revert", "--vm", "web1", "--name", "whole", "--yes")
    assert inside(operator, "cat /srv/file; echo third >/srv/file; sync; cat /srv/file") == (
        "first\nthird\n"
    )
    operator.ok("snapshot.thaw", "--vm", "web1")
    operator.ok("stop", "--vm", "web1", "--force")
    # A journal that has to be replayed is what a power cut leaves.
    assert "needs_recovery" in kept(operator, "plain", "dumpe2fs", "-h")
    assert "needs_recovery" not in kept(operator, "whole", "dumpe2fs", "-h")
    assert kept(operator, "whole", "debugfs", "-R", "cat /file") == "first\n"


def test_a_guest_without_an_agent_is_told_and_not_saved(operator: Operator) -> None:
    images(operator)
    operator.add(replace(small_vm("web2", 2), qcow_image="", image="none"), image=False)
    operator.ok("launch", "--vm", "web2")
    said = operator.fab("snapshot.save", "--vm", "web2", "--name", "one", "--freeze")
    assert said.code == 1
    assert "cannot be frozen, and no snapshot was made: no guest agent answers in it" in said.err
    assert "install qemu-guest-agent" in said.err
    (listed,) = operator.ok("snapshot.list", "--vm", "web2", "--format", "json").json
    assert listed["snapshots"] == []
    operator.ok("snapshot.save", "--vm", "web2", "--name", "one")
    operator.ok("destroy", "--vm", "web2", "--force", "--yes")
    operator.on("worker1", "rm", "-rf", FOLDER)
