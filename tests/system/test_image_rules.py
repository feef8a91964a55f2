"""Images that QEMU must not be given: it opens them as root, and whatever their headers name."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from tests.guests import BANNER, boot_sector_image, cache_directory
from vmops.core.inventory.model import VM

from .fleet_helpers import put
from .lab_helpers import wait_until
from .operator import Operator, small_vm

FOLDER = "/home/ubuntu/vm_images"
MINE = "img-web1.qcow2"
"""The operator's VM is given this image."""

CREATE = "qemu-img create -q -f qcow2"

BAD = {
    "shadow": (f"{CREATE} -u -F raw -b /etc/shadow {MINE} 1M", "ubuntu cannot open /etc/shadow"),
    "data-file": (
        f"{CREATE} -o data_file={FOLDER}/data.raw {MINE} 1M",
        f"keeps its data in another file, {FOLDER}/data.raw",
    ),
    "nbd": (
        f"{CREATE} -u -F raw -b nbd://127.0.0.1:9/x {MINE} 1M",
        'QEMU would use its "nbd" driver',
    ),
    "json": (
        f'{CREATE} -u -F raw -b \'json:{{"driver":"null-co"}}\' {MINE} 1M',
        'QEMU would use its "json" driver',
    ),
    "raw": (f"truncate -s 1M {MINE}", "is not a qcow2 image"),
    "base-of-root": (
        f"{CREATE} -u -F raw -b /root/base.raw {MINE} 1M",
        "ubuntu cannot open /root/base.raw",
    ),
    "link-of-another": (
        f"sudo -n rm -rf d; mkdir d; truncate -s 1M good; ln -s ../good d/bk;"
        f" sudo -n chown 54321 d; {CREATE} -u -F raw -b {FOLDER}/d/bk {MINE} 1M",
        f"may be replaced by another user of the worker: {FOLDER}/d is neither ubuntu's nor root's",
    ),
    "circle": (
        f"{CREATE} a.qcow2 1M; {CREATE} -u -F qcow2 -b a.qcow2 {MINE} 1M;"
        f" qemu-img rebase -u -F qcow2 -b {MINE} a.qcow2",
        "goes round in a circle",
    ),
    "written-by-all": (f"{CREATE} {MINE} 1M; chmod 666 {MINE}", "by every user of the worker"),
    "of-root": (f"{CREATE} {MINE} 1M; sudo -n chown root {MINE}", "ubuntu cannot write to"),
}


def on_worker(operator: Operator, script: str) -> None:
    script = f"cd {FOLDER} && {{ {script}; }}"
    operator.lab.run("worker1", ["runuser", "-u", "ubuntu", "--", "sh", "-ec", script])


@pytest.fixture
def vm(operator: Operator) -> VM:
    operator.on("worker1", "rm", "-f", f"{FOLDER}/{MINE}")
    return operator.add(replace(small_vm("web1", 11, 101), qcow_image=f"{FOLDER}/{MINE}"))


@pytest.mark.parametrize("kind", BAD)
def test_what_qemu_would_open_as_root_is_refused_before_anything_is_done(
    operator: Operator, vm: VM, kind: str
) -> None:
    script, reason = BAD[kind]
    on_worker(operator, f"sudo -n rm -f {MINE}; {script}")
    said = operator.fab("launch", "--vm", "web1")
    assert said.code == 1
    assert reason in said.err
    assert operator.qemus("worker1") == {}
    assert operator.taps("worker1") == set()
    (change,) = operator.fab("plan", "--vm", "web1", "--format", "json").json
    assert change["action"] == "refused"
    assert reason in change["error"]


def test_boot_doctor_and_restart_hold_to_the_same_rules(operator: Operator, vm: VM) -> None:
    operator.ok("launch", "--vm", "web1")
    pid = operator.qemus("worker1")["web1"]
    on_worker(operator, f"chmod 666 {MINE}")
    for words in (("restart",), ("restart", "--force"), ("up", "--restart")):
        change_of_memory(operator)
        said = operator.fab(*words, "--vm", "web1")
        assert said.code == 1
        assert f"keep them out: chmod o-w {FOLDER}/{MINE}" in said.err
        assert operator.qemus("worker1") == {"web1": pid}
    operator.ok("stop", "--vm", "web1", "--force")
    operator.ok("plug", "--vm", "web1")
    assert operator.fab("boot", "--vm", "web1").code == 1
    assert operator.qemus("worker1") == {}
    doctor = operator.fab("doctor", "--worker", "worker1")
    assert doctor.code == 1
    assert f"{FOLDER}/{MINE} may be written by every user of the worker" in doctor.out


def change_of_memory(operator: Operator) -> None:
    """What `up --restart` has to restart for."""
    operator.vms = [(replace(vm, ram_mb=vm.ram_mb + 1), worker) for vm, worker in operator.vms]
    operator.write()


def test_doctor_warns_of_an_image_that_everybody_may_read(operator: Operator, vm: VM) -> None:
    image = "/tmp/open.qcow2"
    operator.vms = [(replace(vm, qcow_image=image), "worker1")]
    operator.write()
    on_worker(operator, f"{CREATE} {image} 1M; chmod 644 {image}")
    said = operator.ok("doctor", "--worker", "worker1")
    assert "every user of the worker may read it" in said.out
    on_worker(operator, f"chmod o-r {image}")
    assert "may read it" not in operator.ok("doctor", "--worker", "worker1").out


def test_a_vm_is_not_ended_for_an_image_that_another_has_in_use(operator: Operator, vm: VM) -> None:
    """As its backing file, which QEMU does not share with one that writes."""
    other = operator.add(replace(small_vm("web2", 12), qcow_image=f"{FOLDER}/over.qcow2"))
    on_worker(operator, f"rm -f over.qcow2; {CREATE} base.qcow2 1M")
    on_worker(operator, f"{CREATE} -F qcow2 -b base.qcow2 over.qcow2")
    operator.ok("up")
    running = operator.qemus("worker1")
    moved = replace(vm, qcow_image=f"{FOLDER}/base.qcow2")
    operator.vms = [(moved, "worker1"), (other, "worker1")]
    operator.write()
    held = f"base.qcow2 is in use, perhaps as a backing file, by PID {running['web2']}"
    for words in (("restart",), ("restart", "--force"), ("up", "--restart")):
        said = operator.fab(*words, "--vm", "web1")
        assert said.code == 1
        assert held in said.err
        assert operator.qemus("worker1") == running
    operator.ok("stop", "--vm", "web2", "--force")
    operator.ok("restart", "--vm", "web1", "--force")


def test_a_guest_boots_from_a_virtio_disk_on_the_cpu_that_is_named(operator: Operator) -> None:
    vm = replace(small_vm("fast", 13), cpu="Nehalem,-vmx", disk_model="virtio")
    operator.add(vm, image=False)
    put(operator, "worker1", vm.qcow_image, boot_sector_image(cache_directory()).read_bytes())
    operator.ok("launch", "--vm", "fast")
    wait_until(lambda: BANNER in operator.ok("logs", "--vm", "fast").out)
    assert operator.fab("plan", "--vm", "fast").code == 0
    operator.vms = [(replace(vm, cpu="max"), "worker1")]
    operator.write()
    assert "cpu: Nehalem,-vmx -> max" in operator.fab("plan", "--vm", "fast").out


MOUNT = f"""
mount -t tmpfs -o mode=0755 none /media && mknod -m 0666 /media/fuse c 10 229
mount --bind /media/fuse /dev/fuse
runuser -u ubuntu -- bindfs --no-allow-other {FOLDER} {FOLDER}
"""


@pytest.mark.skipif(shutil.which("bindfs") is None, reason="needs bindfs")
def test_an_image_folder_that_root_may_not_look_into_is_told_before_anything_is_done(
    operator: Operator, vm: VM
) -> None:
    """A FUSE mount of the SSH user's, as sshfs makes one; NFS keeps root out in the same way."""
    on_worker(operator, f"{CREATE} {MINE} 1M")
    operator.on("worker1", "sh", "-c", MOUNT)
    try:
        for words in (("launch",), ("doctor",), ("plan",)):
            where = ("--vm", "web1") if words != ("doctor",) else ("--worker", "worker1")
            said = operator.fab(*words, *where)
            assert f"root may not open {FOLDER}/{MINE}, which ubuntu may" in said.out + said.err
            assert "allow_root" in said.out + said.err
            assert "make room there" not in said.err
        assert operator.fab("launch", "--vm", "web1").code == 1
        assert operator.taps("worker1") == set()
    finally:
        operator.on("worker1", "sh", "-c", f"umount {FOLDER}; umount /dev/fuse; umount -l /media")
    operator.ok("launch", "--vm", "web1")
