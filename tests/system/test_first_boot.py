"""First boot: two small Linux guests on two workers are told who they are, and say so.

They do what cloud-init would with the seed, as far as the serial port and the wire can tell.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.guests import cache_directory, seed_image
from vmops.core.inventory.guest.cloud_init import CloudInit, Login
from vmops.core.inventory.model import VM, Interface

from .fleet_helpers import put
from .lab_helpers import wait_until
from .operator import Operator, Said
from .seat import seated

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx0dHR0dHR0dHR0dHR0 ops@laptop"
SECRET = "hunter2-and-more"
BOOT_LIMIT_S = 80


def a_vm(number: int, **more: object) -> VM:
    name = f"seed{number}"
    vm = VM(
        name,
        vm_id=60 + number,
        ram_mb=96,
        cores=1,
        vnc_port=5960 + number,
        qcow_image=f"~/vm_images/{name}.qcow2",
        interfaces=(Interface("eth1", vlan_id=77, address=f"192.168.7.{number}/24"),),
        cloud_init=CloudInit(users=(Login("ops", (KEY,)),)),
    )
    return replace(vm, **more)  # type: ignore[arg-type]


@pytest.fixture
def disk() -> bytes:
    return seed_image(cache_directory()).read_bytes()


@pytest.fixture
def pair(operator: Operator, disk: bytes) -> tuple[VM, VM]:
    """A guest on each worker, with SCSI and with IDE, not launched yet."""
    first = operator.add(a_vm(1, disk_model="virtio"), "worker1", image=False)
    second = operator.add(a_vm(2), "worker2", image=False)
    for vm, worker in ((first, "worker1"), (second, "worker2")):
        put(operator, worker, vm.qcow_image, disk)
    return first, second


def ready(operator: Operator, vms: str, seconds: int = BOOT_LIMIT_S) -> Said:
    return operator.fab("wait", "--vm", vms, "--state", "ready", "--timeout", str(seconds))


def console(operator: Operator, vm: VM) -> str:
    return operator.ok("logs", "--vm", vm.name).out


def change(operator: Operator, vm: VM) -> None:
    operator.vms = [(vm if old.name == vm.name else old, worker) for old, worker in operator.vms]
    operator.write()


def test_guests_are_told_who_they_are_and_reach_each_other(
    operator: Operator, pair: tuple[VM, VM]
) -> None:
    operator.ok("up")
    assert operator.fab("plan").code == 0
    said = ready(operator, "seed*")
    assert said.code == 0, said
    assert f"waiting up to {BOOT_LIMIT_S} s for cloud-init in the guest of seed" in said.err
    assert sorted(line for line in said.err.splitlines() if "ready" in line) == [
        "seed1 on worker1: ready",
        "seed2 on worker2: ready",
    ]
    shown = operator.ok("cloud-init.show", "--vm", "seed*", "--format", "json").json
    for vm, told in zip(pair, shown, strict=True):
        log = console(operator, vm)
        assert f"VMOPS-SEED instance {told['instance_id']}" in log
        assert f"VMOPS-SEED hostname {vm.name}" in log
        assert f"VMOPS-SEED key {KEY}" in log
        assert f"VMOPS-SEED address {vm.nics[0].mac} {vm.interfaces[0].address}" in log
    with seated(operator) as seat:
        seat.sit_down(pair[0])
        seat.type("\rping -c 5 -W 2 192.168.7.2\r")
        seat.wait_for("bytes from 192.168.7.2")
        seat.type("\x1d")
        assert seat.end() == 0

    status = operator.ok("status", "--vm", "seed1", "--format", "json").json
    assert status[0]["drift"] == []
    assert [disk["device"] for disk in status[0]["disks"]] != []
    assert not [disk for disk in status[0]["disks"] if "seed.iso" in str(disk)]


def test_the_seed_is_for_root_and_its_own_qemu_and_goes_with_the_vm(
    operator: Operator, pair: tuple[VM, VM]
) -> None:
    vm, _ = pair
    told = operator.folder / "web.yaml"
    told.write_text(f"#cloud-config\npassword: {SECRET}\n")
    change(operator, replace(vm, cloud_init=CloudInit(user_data=str(told))))
    assert SECRET not in operator.ok("--dry", "launch", "--vm", "seed1").out
    launched = operator.ok("-e", "launch", "--vm", "seed1")
    assert SECRET not in launched.out + launched.err
    seed = "/run/vmops/seed1/seed.iso"
    assert operator.on("worker1", "stat", "-c", "%U %g %a", seed) == "root 1900000061 440\n"
    as_ubuntu = ("runuser", "-u", "ubuntu", "--", "sh", "-c", f"cat {seed} || echo denied")
    assert operator.on("worker1", *as_ubuntu).endswith("denied\n")
    lines = operator.on("worker1", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'")
    assert SECRET not in lines
    assert "seed.iso" in lines
    assert SECRET in operator.ok("cloud-init.show", "--vm", "seed1").out
    operator.ok("stop", "--vm", "seed1", "--force")
    assert "seed1" not in operator.on("worker1", "ls", "-A", "/run/vmops").split()


def test_another_seed_is_told_and_taken_up_by_a_restart(
    operator: Operator, pair: tuple[VM, VM]
) -> None:
    vm, _ = pair
    operator.ok("launch", "--vm", "seed1")
    changed = replace(vm, interfaces=(Interface("eth1", vlan_id=77, address="192.168.7.9/24"),))
    change(operator, changed)
    plan = operator.fab("plan", "--vm", "seed1")
    assert plan.code == 0
    assert re.search(
        r"nothing +cloud_init: seed [0-9a-f]{8} -> seed [0-9a-f]{8} \(at its next start\)", plan.out
    ), plan
    launched = operator.ok("launch", "--vm", "seed1")
    assert "already runs" in launched.out
    assert "to restart it: fab restart --vm seed1" in launched.err
    assert "cloud_init" in operator.ok("status", "--vm", "seed1").out
    operator.ok("restart", "--vm", "seed1", "--force")
    assert operator.fab("plan", "--vm", "seed1").code == 0
    assert ready(operator, "seed1").code == 0
    wait_until(lambda: "192.168.7.9/24" in console(operator, changed))


def test_where_a_restart_fails_the_guest_gets_what_it_had(
    operator: Operator, pair: tuple[VM, VM]
) -> None:
    vm, _ = pair
    operator.ok("launch", "--vm", "seed1")
    before = operator.on("worker1", "cat", "/run/vmops/seed1/seed")
    bad = replace(vm, cpu="no-such-cpu", cloud_init=CloudInit(packages=("vim",)))
    change(operator, bad)
    said = operator.fab("restart", "--vm", "seed1", "--force")
    assert said.code == 1
    assert "it was started again as it had run" in said.err, said
    assert operator.on("worker1", "cat", "/run/vmops/seed1/seed") == before
    assert "seed1" in operator.qemus("worker1")
    change(operator, vm)
    assert operator.fab("plan", "--vm", "seed1").code == 0


@pytest.mark.parametrize(
    ("package", "code", "words"),
    [
        ("package-that-fails", 1, "cloud-init failed in its guest: status: odd"),
        ("package-that-warns", 0, "seed1 is ready, and cloud-init warns: status: odd"),
    ],
)
def test_how_cloud_init_ended_is_told(
    operator: Operator, pair: tuple[VM, VM], package: str, code: int, words: str
) -> None:
    change(operator, replace(pair[0], cloud_init=CloudInit(packages=(package,))))
    operator.ok("launch", "--vm", "seed1")
    said = ready(operator, "seed1")
    assert (said.code, words in said.err) == (code, True), said
    assert "no such package" in said.err


def test_waiting_for_a_guest_that_says_nothing(operator: Operator, pair: tuple[VM, VM]) -> None:
    vm, _ = pair
    silent = replace(vm, cloud_init=None, interfaces=(Interface("eth1", vlan_id=77),))
    change(operator, silent)
    refused = ready(operator, "seed1")
    assert refused.code == 2
    assert "cloud_init = {}" in refused.err
    operator.ok("launch", "--vm", "seed1")
    change(operator, vm)
    late = ready(operator, "seed1")
    assert late.code == 1
    assert "runs without a seed" in late.err
    stopped = ready(operator, "seed2", 1)
    assert stopped.code == 1
    assert "seed2 is not ready after 1 s: it is stopped" in stopped.err


def test_a_missing_file_is_told_before_anything_is_contacted(
    operator: Operator, pair: tuple[VM, VM]
) -> None:
    vm, _ = pair
    change(operator, replace(vm, cloud_init=CloudInit(user_data="no/such.yaml")))
    for words in (["launch", "--vm", "seed1"], ["up"], ["plan"], ["restart", "--vm", "seed1"]):
        said = operator.fab(*words)
        assert said.code == 2, said
        assert "vms.seed1.cloud_init.user_data" in said.err
    assert operator.qemus("worker1") == {}
    assert operator.fab("status", "--vm", "seed1").code == 0
    assert operator.fab("stop", "--vm", "seed1").code == 0
