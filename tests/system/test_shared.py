"""Disks in a folder that both workers have: a VM goes over without its disks being copied, and the
worker where it is not leaves them alone."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.guests import boot_sector_image, cache_directory
from vmops.core.inventory.model import Disk, Interface

from .operator import Operator, small_vm
from .test_migrate_live import seen

pytestmark = pytest.mark.timeout(300)

IMAGES = "/home/ubuntu/vm_images"
FOLDER = f"{IMAGES}/.vmops"
WORKERS = ("worker1", "worker2")
SIGN = ("sudo", "-u", "ubuntu", "sh", "-c", f"mkdir -p {FOLDER}; touch {FOLDER}/shared-nas")
MOVE = ("migrate", "--cold", "--vm", "web1", "--force", "--to")


@pytest.fixture
def shared(operator: Operator) -> Iterator[Operator]:
    """One folder of this machine is ~/vm_images of both workers, as one of a server would be."""
    folder = tempfile.mkdtemp(prefix="vmops-shared-", dir="/var/lib")
    try:
        for worker in WORKERS:
            operator.on(worker, "mkdir", "-p", IMAGES)
            operator.on(worker, "mount", "--bind", folder, IMAGES)
            operator.on(worker, "mount", "-o", "remount,bind,rw", IMAGES)
        operator.on("worker1", "chown", "ubuntu:", IMAGES)
        file = boot_sector_image(cache_directory())
        operator.extra = f"[images.small]\nfile = {json.dumps(str(file))}\n"
        web1 = replace(
            small_vm("web1", 31),
            qcow_image="",
            image="small",
            disks=(Disk("data", size_gb=1),),
            interfaces=(Interface("eth1", vlan_id=101),),
        )
        operator.add(web1, image=False)
        written = operator.hosts_toml.read_text()
        for worker in WORKERS:
            section = f"[workers.{worker}]\n"
            written = written.replace(section, f'{section}shared_images = "nas"\n')
        operator.hosts_toml.write_text(written)
        yield operator
        for worker in WORKERS:
            for more in ((), ("--elsewhere",)):
                there = ("-H", operator.address(worker))
                operator.fab(*there, "stop", "--vm", "web1", "--force", *more)
    finally:
        for worker in WORKERS:
            operator.on(worker, "sh", "-c", f"umount -l {IMAGES} || :")
        shutil.rmtree(folder)


def pin(operator: Operator, worker: str) -> None:
    text = operator.hosts_toml.read_text()
    other = next(each for each in WORKERS if each != worker)
    operator.hosts_toml.write_text(text.replace(f'worker = "{other}"', f'worker = "{worker}"'))


def inodes(operator: Operator, worker: str) -> str:
    return operator.on(worker, "sh", "-c", f"stat -c '%n %i' {FOLDER}/disk-* {FOLDER}/base-*")


def test_a_vm_goes_over_and_its_disks_stay_where_they_are(shared: Operator) -> None:
    assert "it does not see the shared folder nas" in shared.fab("doctor").err
    unknown = shared.fab("launch", "--vm", "web1")
    assert unknown.code == 1
    assert "it does not see the shared folder nas" in unknown.err
    assert "touch ~/vm_images/.vmops/shared-nas" in unknown.err
    shared.on("worker1", *SIGN)
    shared.ok("launch", "--vm", "web1")
    before = inodes(shared, "worker1")
    assert before == inodes(shared, "worker2")
    shared.ok("image.push", "--worker", "worker2")
    assert inodes(shared, "worker2") == before

    # worker2 sees all of it, and leaves it alone, while it runs and when it does not.
    pin(shared, "worker2")
    for _ in range(2):
        for words in (("launch",), ("destroy", "--force", "--yes"), ("reset-disk", "--yes")):
            there = ("-H", shared.address("worker2"))
            said = shared.fab(*there, words[0], "--vm", "web1", *words[1:])
            assert said.code == 1, said
        assert inodes(shared, "worker2") == before
        removed = shared.fab("image.remove", "--worker", "worker2", "--image", "small", "--yes")
        assert inodes(shared, "worker2") == before, removed
        shared.ok("-H", shared.address("worker1"), "stop", "--vm", "web1", "--elsewhere", "--force")
    there = ("-H", shared.address("worker2"))
    refused = shared.fab(*there, "launch", "--vm", "web1")
    assert "it is at worker1, with which worker2 shares" in refused.err

    pin(shared, "worker1")
    shared.ok("launch", "--vm", "web1")
    said = shared.ok(*MOVE, "worker2")
    assert "MiB sent" not in said.err
    assert list(shared.qemus("worker2")) == ["web1"]
    assert shared.qemus("worker1") == {}
    assert inodes(shared, "worker2") == before
    late = shared.ok("launch", "--vm", "web1")
    assert "web1 on worker2: already runs" in late.out
    pin(shared, "worker2")
    assert shared.fab("plan").code == 0
    shared.ok(*MOVE, "worker1")
    assert list(shared.qemus("worker1")) == ["web1"]
    pin(shared, "worker1")
    shared.ok("destroy", "--vm", "web1", "--force", "--yes")
    left = shared.on("worker1", "ls", "-A", FOLDER).split()
    assert [name for name in left if not name.startswith("base-")] == ["shared-nas"]


def test_two_who_start_it_at_once_on_two_workers_start_it_once(shared: Operator) -> None:
    shared.on("worker1", *SIGN)
    shared.ok("image.push", "--worker", "worker1")
    text = shared.hosts_toml.read_text()
    shared.hosts_toml.write_text(text.replace('worker = "worker1"\n', ""))
    with ThreadPoolExecutor() as pool:
        both = list(
            pool.map(
                lambda worker: shared.fab("-H", shared.address(worker), "launch", "--vm", "web1"),
                WORKERS,
            )
        )
    assert sorted(said.code for said in both) == [0, 1], both
    assert sum(len(shared.qemus(worker)) for worker in WORKERS) == 1
    shared.fab("destroy", "--vm", "web1", "--force", "--yes")


def test_doctor_knows_the_folder_and_whether_it_can_be_used(shared: Operator) -> None:
    """Root of a lab may do all: that it may not read is tried with a fake answer."""

    def told(worker: str) -> dict[str, Any]:
        (report,) = [one for one in shared.fab("doctor", "--format", "json").json
                     if one["worker"] == worker]  # fmt: skip
        (check,) = [one for one in report["checks"] if one["name"] == "shared folder nas"]
        found: dict[str, Any] = check
        return found

    shared.on("worker1", *SIGN)
    assert [told(worker)["ok"] for worker in WORKERS] == [True, True]
    shared.on("worker1", "chown", "root:root", FOLDER)
    assert "where ubuntu may not write" in told("worker2")["found"]
    shared.on("worker1", "chown", "ubuntu:", FOLDER)
    shared.on("worker2", "mount", "-t", "tmpfs", "tmpfs", IMAGES)
    try:
        assert "does not see the shared folder nas" in told("worker2")["found"]
        shared.on("worker2", "chown", "ubuntu:", IMAGES)
        shared.on("worker2", *SIGN)
        said = shared.fab("doctor")
        assert said.code == 1
        assert "it is another folder than that of worker1, which has the same name" in said.err
    finally:
        shared.on("worker2", "umount", IMAGES)
    assert shared.ok("doctor", "--worker", "worker2").code == 0


LIVE = ("migrate", "--vm", "web1", "--to")


def test_one_that_runs_goes_over_and_nothing_is_copied(shared: Operator) -> None:
    shared.on("worker1", *SIGN)
    shared.ok("launch", "--vm", "web1")
    before = inodes(shared, "worker1")
    shown = shared.ok("--dry", *LIVE, "worker2").out
    assert "-incoming defer" in shown
    assert not any(word in shown for word in ("mirror", "qemu-img create", "qemu-img convert"))
    said = shared.ok(*LIVE, "worker2")
    assert "web1: runs on worker2, its guest stood still for" in said.err
    assert (shared.qemus("worker1"), list(shared.qemus("worker2"))) == ({}, ["web1"])
    assert shared.taps("worker1") == set()
    assert shared.port("worker1", "tap_31_eth1") is None
    assert shared.port("worker2", "tap_31_eth1") is not None
    assert inodes(shared, "worker2") == before
    pin(shared, "worker2")
    assert shared.fab("plan").code == 0
    shared.ok(*LIVE, "worker1", "--direct")
    assert (list(shared.qemus("worker1")), shared.qemus("worker2")) == (["web1"], {})


POINTS = (
    ("worker2", "ls /run/vmops/web1/way-ram.sock 2>/dev/null"),
    ("worker1", "ls /run/vmops/web1/way.sock 2>/dev/null"),
    ("worker1", f"grep -q worker2 {FOLDER}/moving-web1"),
)
"""By what a step is known that has been done: a QEMU waits, the way is open, all was sent."""


def test_the_same_command_goes_on_with_a_live_move_that_was_cut(shared: Operator) -> None:
    shared.on("worker1", *SIGN)
    shared.ok("launch", "--vm", "web1")
    pid = shared.qemus("worker1")["web1"]
    for worker, test in POINTS:
        task = shared.begin(*LIVE, "worker2")
        seen(shared, worker, test)
        task.kill()
        task.communicate()
        if worker == "worker2":
            assert shared.qemus("worker1") == {"web1": pid}
            told = shared.ok("status", "--format", "json")
            assert [(row["worker"], row["state"]) for row in told.json] == [("worker1", "running")]
            assert "web1: it is on its way from worker1 to worker2" in told.err
            assert "or back: fab migrate --vm web1 --to worker1" in told.err
            planned = shared.fab("plan")
            assert (planned.code, "runs on worker2" in planned.err) == (0, False), planned
            pin(shared, "worker2")
            for word in ("launch", "resume"):
                refused = shared.fab("-H", shared.address("worker2"), word, "--vm", "web1")
                assert "it is at worker1, with which worker2 shares" in refused.err
            pin(shared, "worker1")
            said = shared.ok(*LIVE, "worker1")
            assert "web1: it stays on worker1" in said.err
            assert (shared.qemus("worker1"), shared.qemus("worker2")) == ({"web1": pid}, {})
            assert shared.taps("worker2") == set()
    shared.ok(*LIVE, "worker2")
    assert (shared.qemus("worker1"), list(shared.qemus("worker2"))) == ({}, ["web1"])
    assert shared.taps("worker1") == set()
    pin(shared, "worker2")
    (status,) = shared.ok("status", "--vm", "web1", "--format", "json").json
    assert (status["state"], status["worker"]) == ("running", "worker2")
