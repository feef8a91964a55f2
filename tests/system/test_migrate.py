"""VMs that are moved to another worker with their disks, and moves that are cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fleet_helpers import held
from .moving import DISKS, FOLDER, WORKERS, listed, moving, place
from .operator import Operator, small_vm

__all__ = ["moving"]

STOPPED = ("migrate", "--vm", "web1", "--to")
MOVE = ("migrate", "--cold", "--vm", "web1", "--force", "--to")


def sums(operator: Operator, worker: str) -> dict[str, str]:
    lines = operator.on(worker, "sh", "-c", f"cd {FOLDER} && sha256sum disk-*").splitlines()
    return {name: digest for digest, name in map(str.split, lines)}


def running(operator: Operator) -> list[str]:
    return [name for worker in WORKERS for name in operator.qemus(worker)]


@pytest.mark.timeout(300)
def test_a_vm_goes_with_its_disks_and_comes_back(moving: Operator) -> None:
    moving.ok("stop", "--force", "--vm", "web1")
    before = sums(moving, "worker1")
    moving.ok("launch", "--vm", "web1")
    said = moving.ok(*MOVE, "worker2")
    assert 'now set worker = "worker2" in vms.web1 of hosts.toml' in said.err
    assert moving.qemus("worker1") == {}
    assert list(moving.qemus("worker2")) == ["web1"]
    assert sums(moving, "worker2") == before
    assert listed(moving, "worker2") == DISKS
    assert listed(moving, "worker1") == ["moving-web1"]
    assert moving.taps("worker1") == set()
    assert moving.port("worker1", "tap_21_eth1") is None
    assert moving.port("worker2", "tap_21_eth1") is not None
    assert "is there already" in moving.ok(*MOVE, "worker2").err

    # hosts.toml still has it on worker1, which starts nothing of it: its tasks go to worker2.
    assert moving.fab("plan").code == 0
    moving.ok("stop", "--vm", "web1", "--force")
    assert moving.qemus("worker2") == {}
    late = moving.fab("-H", moving.address("worker1"), "launch", "--vm", "web1")
    assert late.code == 1
    assert "it was moved from worker1 to worker2" in late.err
    assert "its tasks find it where it is, unless -H" in late.err
    assert "it was moved from worker1 to worker2" in moving.ok("status", "--vm", "web1").err
    place(moving, "worker2")
    moving.ok("up")
    assert moving.fab("plan").code == 0

    # And back, where its name is known from before.
    moving.ok(*MOVE, "worker1")
    place(moving, "worker1")
    assert moving.fab("plan").code == 0
    assert list(moving.qemus("worker1")) == ["web1"]
    assert moving.qemus("worker2") == {}
    assert sums(moving, "worker1") == before
    assert listed(moving, "worker2") == ["moving-web1"]


POINTS = {
    "left": ("worker1", f"{FOLDER}/moving-web1"),
    "arriving": ("worker2", f"{FOLDER}/arrived-*-data.qcow2.part"),
    "taken": ("worker2", f"{FOLDER}/disk-web1-data.qcow2"),
    "started": ("worker2", "/run/vmops/web1/process"),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", POINTS)
def test_a_move_whose_operator_is_killed_goes_on(moving: Operator, point: str) -> None:
    worker, pattern = POINTS[point]
    task = moving.begin(*MOVE, "worker2")
    seen = f"i=0; until ls {pattern} 2>/dev/null; do i=$((i + 1)); [ $i -lt 6000 ] || exit 1; done"
    moving.on(worker, "sh", "-c", seen)
    task.kill()
    task.communicate()
    assert len(running(moving)) <= 1
    # Whoever launches it meanwhile starts it where it may be started, or nowhere.
    place(moving, "worker2")
    moving.fab("launch", "--here", "--vm", "web1")
    place(moving, "worker1")
    status = moving.ok("status", "--vm", "web1")
    assert len(running(moving)) <= 1
    assert running(moving) or "fab migrate --vm web1 --to worker2" in status.err
    moving.ok(*MOVE, "worker2")
    assert moving.qemus("worker1") == {}
    assert list(moving.qemus("worker2")) == ["web1"]
    assert listed(moving, "worker1") == ["moving-web1"]
    assert listed(moving, "worker2") == DISKS


def test_a_move_is_given_up_until_it_is_handed_over(moving: Operator) -> None:
    before = sums(moving, "worker1")
    task = moving.begin(*MOVE, "worker2")
    seen = f"until ls {FOLDER}/moving-web1 2>/dev/null; do :; done"
    moving.on("worker1", "timeout", "60", "sh", "-c", seen)
    task.kill()
    task.communicate()
    said = moving.ok("migrate", "--vm", "web1", "--to", "worker1")
    assert "it stays on worker1" in said.err
    assert list(moving.qemus("worker1")) == ["web1"]
    assert moving.qemus("worker2") == {}
    assert listed(moving, "worker1") == DISKS
    assert listed(moving, "worker2") == []
    moving.ok("stop", "--force", "--vm", "web1")
    assert sums(moving, "worker1") == before


def test_one_that_was_to_come_back_and_is_not_has_still_left(moving: Operator) -> None:
    """A launch on worker1 would begin with new disks otherwise."""
    moving.ok("stop", "--force", "--vm", "web1")
    moving.ok(*STOPPED, "worker2")
    with held(moving, "worker2", "web1"):
        task = moving.begin(*STOPPED, "worker1")
        seen = f"until grep -q expected {FOLDER}/moving-web1; do :; done"
        moving.on("worker1", "timeout", "60", "sh", "-c", seen)
        task.kill()
        task.communicate()
    assert "it stays on worker2" in moving.ok(*STOPPED, "worker2").err
    assert listed(moving, "worker1") == ["moving-web1"]
    late = moving.fab("-H", moving.address("worker1"), "launch", "--vm", "web1")
    assert (late.code, "it was moved from worker1 to worker2" in late.err) == (1, True)
    moving.ok("launch", "--vm", "web1")
    assert list(moving.qemus("worker2")) == ["web1"]


IMAGES = "/home/ubuntu/vm_images"


def guests_disk(operator: Operator, worker: str, name: str = "web1.qcow2") -> str:
    """What its guest has on it, as a sum."""
    read = f"qemu-img convert -O raw {name} /tmp/raw && sha256sum </tmp/raw && rm /tmp/raw"
    return operator.on(worker, "sh", "-c", f"cd {IMAGES} && {read}")


def images_of(operator: Operator, worker: str) -> list[str]:
    return operator.on(worker, "sh", "-c", f"cd {IMAGES} && ls web1* || :").split()


@pytest.fixture
def with_image(operator: Operator) -> Iterator[Operator]:
    """web1 with a qcow_image is on worker1, and does not run."""
    operator.add(small_vm("web1", 23, 101))
    yield operator
    operator.clean_up(WORKERS)
    for worker in WORKERS:
        operator.on(worker, "sh", "-c", f"rm -f {IMAGES}/*web1*")


@pytest.mark.timeout(300)
def test_a_qcow_image_comes_back_and_the_old_one_is_set_aside(with_image: Operator) -> None:
    operator = with_image
    move = ("migrate", "--vm", "web1", "--to")
    first = guests_disk(operator, "worker1")
    operator.ok(*move, "worker2")
    assert images_of(operator, "worker1") == ["web1.qcow2"]
    write = ("qemu-io", "-f", "qcow2", "-c", "write -q -P 9 64k 64k", f"{IMAGES}/web1.qcow2")
    operator.on("worker2", *write)
    second = guests_disk(operator, "worker2")
    assert second != first
    # Its QEMU lets go of it as a user of its own, when it goes live.
    operator.on("worker2", "chmod", "644", f"{IMAGES}/web1.qcow2")
    operator.ok("launch", "--vm", "web1")

    # What stands on the old one keeps it from being set aside, and the VM stays where it is.
    overlay = "create -q -f qcow2 -F qcow2 -b web1.qcow2"
    operator.on("worker1", "sh", "-c", f"cd {IMAGES} && qemu-img {overlay} on-web1.qcow2")
    said = operator.fab(*move, "worker1")
    assert (said.code, f"on-web1.qcow2 may stand on {IMAGES}/web1.qcow2" in said.err) == (1, True)
    assert images_of(operator, "worker1") == ["web1.qcow2"]
    assert list(operator.qemus("worker2")) == ["web1"]
    operator.on("worker1", "rm", f"{IMAGES}/on-web1.qcow2")

    said = operator.ok(*move, "worker1")
    new, old = sorted(images_of(operator, "worker1"))
    assert new == "web1.qcow2"
    assert f"the disk that it had left on worker1 is ~/vm_images/{old} there now" in said.err
    assert list(operator.qemus("worker1")) == ["web1"]
    assert guests_disk(operator, "worker1", old) == first
    pruned = operator.ok("prune", "--worker", "worker1", "--yes", "--format", "json").json
    (kept,) = [each for each in pruned if each["kind"] == "old disk"]
    assert (kept["name"], kept["vm"], kept["removed"]) == (f"~/vm_images/{old}", "web1", False)
    assert images_of(operator, "worker1") == [new, old]
    operator.ok("stop", "--force", "--vm", "web1")
    assert guests_disk(operator, "worker1") == second


def test_nothing_is_begun_that_cannot_end(moving: Operator) -> None:
    """Where the destination has a disk of that name, cannot be asked, or could not start it."""
    pid = moving.qemus("worker1")["web1"]
    moving.on("worker2", "sh", "-c", f"mkdir -p {FOLDER}; touch {FOLDER}/disk-web1-data.qcow2")
    said = moving.fab(*MOVE, "worker2")
    assert (said.code, "worker2 has a disk of it already" in said.err) == (1, True)
    moving.on("worker2", "rm", "-rf", FOLDER)
    text = moving.hosts_toml.read_text()
    other = text.replace("[workers.worker2]", '[workers.worker2]\nbridge = "br-none"')
    moving.hosts_toml.write_text(other)
    said = moving.fab(*MOVE, "worker2")
    assert (said.code, "no bridge br-none" in said.err) == (1, True)
    moving.hosts_toml.write_text(text)
    assert moving.qemus("worker1") == {"web1": pid}
    assert listed(moving, "worker2") == []
    assert listed(moving, "worker1") == DISKS
    moving.ok("stop", "--force", "--vm", "web1")
    moving.on("worker1", "touch", f"{FOLDER}/memory-web1")
    said = moving.fab(*MOVE, "worker2")
    assert (said.code, "it is suspended, and its memory stays" in said.err) == (1, True)
    assert "memory-web1" in listed(moving, "worker1")
